"""Recorded values of the published programs, and how to compare with them.

The folder is ``tests/parity``, or the one that the environment variable I2I_PARITY names. ``cases.json`` lists the
cases; one safetensors file holds the tensors of each. int8 tensors stand for int8 * 2^-e, float16 ones for their
float32 cast.
"""

import json
import os
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

FOLDER = Path(os.environ.get("I2I_PARITY") or Path(__file__).parent / "parity")


def files(kind: str) -> list[str]:
    """The files of every listed case of a kind, to parametrise a test with."""
    listed = json.loads((FOLDER / "cases.json").read_text(encoding="utf-8"))["cases"]
    return [case["file"] for case in listed if case["kind"] == kind]


class Case:
    """One recorded case: its options, tensors, names of parameters, and tolerances."""

    def __init__(self, file: str) -> None:
        with safe_open(str(FOLDER / file), "pt") as stored:
            meta = stored.metadata()
            self.tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - not a dict
        fields = ("options", "state_keys", "param_keys", "noise_params", "rtol")
        self.options, self.state_keys, self.param_keys, self.noise, self.rtol = (
            json.loads(meta.get(field, "{}")) for field in fields
        )
        for name, exponent in json.loads(meta.get("q8", "{}")).items():
            self.tensors[name] = self.tensors[name].float() * 2.0**-exponent
        for name, tensor in self.tensors.items():
            if tensor.dtype == torch.float16:
                self.tensors[name] = tensor.float()

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def state(self, network: str) -> dict[str, Tensor]:
        """The initial state dict of a network, in the names of the published program."""
        return {name: self.tensors[f"{network}.{name}"].clone() for name in self.state_keys[network]}

    def tolerance(self, group: str, stage: str = "all") -> float:
        return float(self.rtol[stage][group])

    def check(self, name: str, actual: Tensor, stage: str = "all", group: str | None = None) -> None:
        """Largest difference against the largest recorded value."""
        expected = self.tensors[name]
        error = (actual.detach().reshape(expected.shape) - expected).abs().max() / expected.abs().max().clamp_min(1e-30)
        limit = self.tolerance(group or name.split(".")[0], stage)
        assert error <= limit, f"{name}: off by {error:.2e}, {limit:.0e} allowed"

    def check_gradients(self, name: str, network: nn.Module, stage: str = "all") -> None:
        """The norm of the gradient of every parameter; those that are pure rounding noise need only be tiny."""
        keys = self.param_keys[name.split(".")[-1]]
        parameters = dict(network.named_parameters())
        expected, limit = self.tensors[name], self.tolerance("grad", stage)
        floor = 1e-3 * expected.max()
        for key, value in zip(keys, expected, strict=True):
            norm = parameters[key].grad.norm().double()
            if key in self.noise.get(name, ()):
                assert norm < 1e-4 * expected.max(), f"{name} {key}: {norm:.1e} is no rounding noise"
                continue
            error = (norm - value).abs() / torch.maximum(value, floor)
            assert error <= limit, f"{name} {key}: off by {error:.2e}, {limit:.0e} allowed"

    def check_updated(self, name: str, network: nn.Module, stage: str, allowed_noise: float) -> None:
        """Mean, mean of absolute values and distance from the initial state of every entry, after an optimizer step."""
        net = name.split(".")[-1]
        noise = {key for vector, keys in self.noise.items() if vector.split(".")[-1] == net for key in keys}
        initial, state = self.state(net), network.state_dict()
        keys = [key for key in self.state_keys[net] if not key.endswith("num_batches_tracked")]
        for key, (mean, absolute, moved) in zip(keys, self.tensors[name], strict=True):
            now = state[key].double()
            if key in noise:
                assert (now.mean() - mean).abs() <= allowed_noise, f"{name} {key}"
                continue
            if noise and key.endswith("running_mean"):  # it follows the noise of a bias before it
                limit = max(self.rtol[stage].get("running_mean_abs", 0.0), allowed_noise)
                assert (now.mean() - mean).abs() <= limit, f"{name} {key}"
                continue
            scale = absolute.clamp_min(1e-30)
            errors = {
                "post_mean": (now.mean() - mean).abs() / scale,
                "post_abs": (now.abs().mean() - absolute).abs() / scale,
                "post_delta": ((now - initial[key]).norm() - moved).abs() / moved.clamp_min(1e-30),
            }
            for group, error in errors.items():
                assert error <= self.tolerance(group, stage), f"{name} {key} {group}: off by {error:.2e}"


def check_sample(values: Tensor, recorded: Tensor, name: str) -> None:
    """Two samples: five standard errors of the difference of their means and of their standard deviations."""
    mean, std, low, high, n = recorded.tolist()
    assert values.numel() == n, name
    if std == 0:
        assert values.min() == low, name
        assert values.max() == high, name
        return
    values = values.double()
    centred = values - values.mean()
    spread = centred.square().mean().sqrt()
    kurtosis = centred.pow(4).mean() / spread**4
    assert abs(values.mean() - mean) < 5 * std * (2 / n) ** 0.5, name
    assert abs(spread - std) < 5 * std * ((kurtosis - 1) / (2 * n)) ** 0.5, name
