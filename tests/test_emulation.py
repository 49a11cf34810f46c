"""Precisions for which a device has no instructions: refused, insisted on, never tried; and trials that take too long."""

import importlib.util
import io
import runpy
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

import terminal
import toy
from i2i.errors import UserError
from i2i.protocols import Translation
from i2i.registry import Registry, hookimpl
from i2i.training.dry_run import dry_run
from i2i.translation import precision
from i2i.translation.loading import load
from i2i_tune import probing
from i2i_tune.probing import probed
from toy import recipe, trained

CPU = torch.device("cpu")
REFUSED = r"this processor has no instructions for bf16 .* Use fp32, or insist with "


def _asks() -> Any:
    """The function as it is, and not as conftest.py has it for the other tests."""
    spec = importlib.util.find_spec("i2i.translation.precision")
    assert spec is not None
    assert spec.origin is not None
    return runpy.run_path(spec.origin)["in_hardware"]


@pytest.mark.parametrize(
    ("able", "bf16", "fp16"),
    [
        ({"avx2": True, "avx512_f": False, "avx512_bf16": False, "amx_bf16": False, "avx512_fp16": False}, False, False),
        ({"avx2": True, "avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, False, False),
        ({"avx512_bf16": True}, True, False),
        ({"amx_bf16": True, "avx512_fp16": True}, True, True),
        ({"neon": True, "bf16": True, "fp16_arith": True}, True, True),
        ({"neon": True}, False, False),
        ({}, False, False),
    ],
)
def test_a_processor_is_asked(able: dict[str, bool], bf16: bool, fp16: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    in_hardware = _asks()
    assert [in_hardware(name, CPU) for name in ("fp32", "bf16", "fp16")] == [True, bf16, fp16]
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not in_hardware("bf16", CPU)


@pytest.mark.parametrize("able", [True, False])
def test_a_gpu_is_asked_by_its_compute_capability(able: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: asked.append(including_emulation) or able)
    in_hardware = _asks()
    assert in_hardware("bf16", torch.device("cuda")) == able
    assert asked == [False]
    assert in_hardware("fp16", torch.device("cuda"))


@pytest.fixture
def _old(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor without 16 bits."""
    monkeypatch.setattr("i2i.translation.precision.in_hardware", lambda precision, device: precision == "fp32")


@pytest.mark.usefixtures("_old")
def test_a_run_refuses_what_would_be_emulated_and_can_be_told_to(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"train\.precision: {REFUSED}train\.emulate: true"):
        trained(tmp_path, "train.precision=bf16")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match=REFUSED):
        dry_run(recipe(tmp_path, "train.precision=bf16"), tmp_path / "out", toy.registry(), False, Console(quiet=True))
    assert trained(tmp_path, "train.precision=bf16", "train.emulate=true").step == 6
    with pytest.raises(UserError, match=REFUSED):
        trained(tmp_path, "train.precision=bf16", "train.steps=8", resume=True)
    assert trained(tmp_path, "train.precision=fp32", "train.steps=8", resume=True).step == 8


@pytest.mark.parametrize("name", ["bf16", "fp16"])
def test_a_translation_refuses_what_would_be_emulated_and_can_be_told_to(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(tmp_path)
    monkeypatch.setattr("i2i.translation.precision.in_hardware", lambda precision, device: precision == "fp32")
    with pytest.raises(UserError, match=rf"precision: this processor has no instructions for {name} .*insist with --emulate"):
        load(tmp_path / "out", "cpu", precision=name, registry=toy.registry())  # type: ignore[arg-type]
    insisting = load(tmp_path / "out", "cpu", precision=name, emulate=True, registry=toy.registry())  # type: ignore[arg-type]
    assert torch.isfinite(insisting.translate(torch.zeros(3, 16, 16), to="negative")).all()
    monkeypatch.setattr("i2i.translation.loading.default_registry", toy.registry)
    monkeypatch.setattr("i2i_serve.server.listening", lambda host, port: nullcontext())
    for command in (
        ["translate", str(tmp_path / "out"), "x.png", "--out", str(tmp_path / "made")],
        ["serve", str(tmp_path / "out")],
    ):
        assert terminal.call(monkeypatch, *command, "--precision", name, "--device", "cpu") == 2
        assert f"has no instructions for {name}" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "made").exists()


@pytest.mark.usefixtures("_old")
@pytest.mark.parametrize(
    "command",
    ["training --precision bf16", "training --plain-precision bf16", "scaling --precision bf16", "inference --backends x bf16"],
)
def test_benchmarks_refuse_what_would_be_emulated(command: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, *arguments = command.replace("x bf16", "x|bf16").split()
    monkeypatch.syspath_prepend(root / "benchmarks")
    monkeypatch.setattr(sys, "argv", [name, *(argument.replace("|", " ") for argument in arguments)])
    with pytest.raises(SystemExit, match=rf"--precision: {REFUSED}--emulate"):
        runpy.run_path(str(root / "benchmarks" / f"{name}.py"), run_name="__main__")


@pytest.mark.usefixtures("_old")
def test_auto_never_tries_it_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "_cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(probing, "Trial", None)
    chosen = probed(recipe(tmp_path, "train.precision=auto", "train.steps=200"), toy.registry(), None, Console(quiet=True))
    assert chosen.train.precision == "fp32"


class Slow(nn.Module):
    """A chain of convolutions that counts its calls, and has the clock go on by so many seconds with each one in 16 bits."""

    exposes: frozenset[str] = frozenset()
    divisor = 1
    calls = {"half": 0, "whole": 0}  # noqa: RUF012
    clock = 0.0

    def __init__(self, *, domains: Any, directions: Any) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(3, 3, 1) for _ in range(20))

    def forward(self, x: Tensor, source: str, *targets: str) -> Translation:
        for layer in self.layers:
            half = torch.is_autocast_enabled("cpu")
            Slow.calls["half" if half else "whole"] += 1
            Slow.clock += 100.0 if half else 1.0
            x = layer(x)
        return Translation(dict.fromkeys(targets, x.tanh()))


class Plugin:
    @hookimpl
    def register_generators(self) -> dict[str, Any]:
        return {"slow": Slow}


def test_a_trial_whose_first_step_takes_too_long_ends_in_its_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty layers take a second each, and in bf16 a hundred: after the first of them the trial is over."""
    monkeypatch.setattr(probing, "_cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(probing.time, "perf_counter", lambda: Slow.clock)
    registry = Registry({"toys": toy, "slow": Plugin()})
    overrides = ("train.precision=auto", "train.steps=200", "generator={name: slow}")
    said = io.StringIO()
    chosen = probed(recipe(tmp_path, *overrides, plugins=registry), registry, None, Console(file=said, width=200))
    assert chosen.train.precision == "fp32"
    assert "precision bf16: its first step takes more than 3 times as long, not taken" in said.getvalue()
    assert Slow.calls["half"] == 1
    assert Slow.calls["whole"] >= 20


def test_what_is_far_behind_in_a_step_is_not_measured_further() -> None:
    class Taking:
        def __init__(self, each: float) -> None:
            self.each, self.steps = each, 0

        def seconds(self, steps: int) -> float:
            self.steps += steps
            return self.each * steps

    default, slow, near = Taking(1.0), Taking(3.5), Taking(1.5)
    assert probing.faster(default, slow) == pytest.approx(1 / 3.5)  # type: ignore[arg-type]
    assert slow.steps == 1
    assert probing.faster(default, near) == pytest.approx(1 / 1.5)  # type: ignore[arg-type]
    assert near.steps == 1 + probing.ROUNDS * probing.STEPS


def test_this_machine_s_answer_is_a_plain_one() -> None:
    assert precision.this_device().type in ("cpu", "cuda", "mps", "xpu")
    assert _asks()("bf16", CPU) in (True, False)
