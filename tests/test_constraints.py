"""What the loop calls of networks and losses: ``constrain`` after a step of the optimizer, ``begin`` before a step."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

import strangers
import toy
from i2i.adapters import per_direction, per_domain
from i2i.protocols import Batch, Discriminator, Domain, Images, Terms
from i2i.recipe import load_recipe
from i2i.registry import Registry, default_registry, hookimpl
from i2i.training.running import run_recipe
from i2i.training.state import Run
from i2i_watch.replay import replay


class Bounded(nn.Module):
    """A weight that any step of its optimizer throws out of [-0.01, 0.01]."""

    def __init__(self) -> None:
        super().__init__()
        self.rho = nn.Parameter(torch.zeros(()))
        self.calls = 0

    def constrain(self) -> None:
        assert not torch.is_grad_enabled()
        self.calls += 1
        self.rho.clamp_(-0.01, 0.01)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.rho


class Net(toy.ToyNet):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels)
        self.bounded = Bounded()

    def forward(self, x: Tensor) -> Tensor:
        return self.bounded(super().forward(x))  # type: ignore[no-any-return]


class Judge(nn.Module):
    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(in_channels, 4, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 3, 1, 1), Bounded())

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # type: ignore[no-any-return]


class Bounds:
    """The plugin, which also looks at the weights when observers do."""

    def __init__(self) -> None:
        self.seen: list[dict[str, float]] = []

    @hookimpl
    def register_generators(self) -> dict[str, Any]:
        return {"bounded": per_direction(Net)}

    @hookimpl
    def register_discriminators(self) -> dict[str, Any]:
        return {"bounded": per_domain(Judge)}

    @hookimpl
    def step_ended(self, run: Run) -> None:
        assert run.ema is not None
        assert run.discriminator is not None
        networks = {"generator": run.bare_generator, "average": run.ema.averaged, "discriminator": run.discriminator}
        self.seen.append({name: max(map(abs, weights(network))) for name, network in networks.items()})


def weights(network: nn.Module) -> list[float]:
    return [float(part.rho.detach()) for part in network.modules() if isinstance(part, Bounded)]


TEXT = toy.RECIPE.replace("{name: toy}", "{name: bounded}", 1).replace("{name: judge}", "{name: bounded}")
FAST = ("train.generator.lr=0.5", "train.discriminator.lr=0.5")


@pytest.mark.parametrize("accumulate", [1, 2])
def test_weights_are_within_their_bounds_wherever_they_are_seen(tmp_path: Path, accumulate: int) -> None:
    plugin = Bounds()
    registry = Registry(plugins={"toys": toy, "bounds": plugin})
    run = toy.trained(tmp_path, "train.steps=4", f"train.accumulate={accumulate}", *FAST, text=TEXT, plugins=registry)
    assert len(plugin.seen) == 4
    for seen in plugin.seen:
        assert max(seen.values()) == pytest.approx(0.01)  # at a bound: Adam's first steps are as large as its rate
    for network in (run.bare_generator, run.discriminator):
        assert network is not None
        assert {part.calls for part in network.modules() if isinstance(part, Bounded)} == {4}


def test_a_replay_keeps_them_too(tmp_path: Path) -> None:
    registry = Registry(plugins={"toys": toy, "bounds": Bounds()})
    toy.trained(tmp_path, *FAST, text=TEXT, plugins=registry)
    from rich.console import Console

    again = replay(tmp_path / "out", 5, registry, Console(quiet=True))
    assert max(map(abs, weights(again.bare_generator))) == pytest.approx(0.01)


class Timed(toy.ToyLoss):
    """Its weight falls from 1 to 0 in the course of the run."""

    def __init__(self, *, domains: Mapping[str, Domain]) -> None:
        super().__init__(domains=domains)
        self.begun: list[tuple[int, int]] = []

    def begin(self, step: int, steps: int) -> None:
        self.begun.append((step, steps))

    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        step, steps = self.begun[-1]  # there is always one
        return {name: term * (1 - step / steps) for name, term in super().generator_terms(D, batch, images).items()}


class Time:
    @hookimpl
    def register_losses(self) -> dict[str, Any]:
        return {"timed": Timed}


@pytest.mark.parametrize("loss", ["{name: timed}", "[{name: timed}, {name: toy}]"])
def test_a_loss_knows_the_time(loss: str, tmp_path: Path) -> None:
    registry = Registry(plugins={"toys": toy, "time": Time()})
    text = toy.RECIPE.replace("loss: {name: toy}", f"loss: {loss}")
    run = toy.trained(tmp_path, "train.accumulate=2", "train.steps=4", text=text, plugins=registry)
    (timed,) = (part for part in run.loss.modules() if isinstance(part, Timed))
    rehearsed = [(0, 4), (1, 4), (3, 4)]  # the first, a middle and the last step
    assert timed.begun == [*rehearsed, (0, 4), (1, 4), (2, 4), (3, 4)]
    resumed = toy.trained(tmp_path, "train.accumulate=2", "train.steps=6", text=text, plugins=registry, resume=True)
    (timed,) = (part for part in resumed.loss.modules() if isinstance(part, Timed))
    assert timed.begun == [(0, 6), (2, 6), (5, 6), (4, 6), (5, 6)]


@pytest.mark.slow
def test_an_outside_package_keeps_its_shares_in_bounds(tmp_path: Path) -> None:
    """Its recipe's learning rate throws them out in every step; the average, which is saved, is in bounds too."""
    (tmp_path / "site").mkdir()
    with strangers.installed(tmp_path / "site", "bounded"):
        registry = default_registry()
        recipe = load_recipe("bounded:bounded", ["samples.count=1"], registry)
        run = run_recipe(recipe, tmp_path / "out", registry, resume=False, console=Console(quiet=True))
        shares = [weight.detach() for name, weight in run.generator.named_parameters() if name.endswith("rho")]
        averaged = [weight.detach() for name, weight in run.model.named_parameters() if name.endswith("rho")]
    assert len(shares) == len(averaged) == 4
    assert all(float(weight.min()) >= 0 and float(weight.max()) <= 1 for weight in (*shares, *averaged))
    assert any(bool(weight.eq(1).any()) for weight in shares)  # at the bound
