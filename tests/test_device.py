"""``--device``: where a run computes. tests/test_gpu.py has what only a GPU can show."""

from pathlib import Path
from typing import Any

import pytest
import torch

import i2i
import terminal
import toy
from i2i.errors import UserError
from i2i.recipe.sections import Train
from i2i.training.processes import make_accelerator
from i2i.translation import precision
from i2i.translation.precision import computing_on, this_device


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    terminal.install(monkeypatch, toy.registry())
    toy.recipe(tmp_path)
    return tmp_path / "toy.yaml"


@pytest.mark.skipif(torch.accelerator.is_available(), reason="is about machines without an accelerator")
def test_a_device_that_is_not_there_is_refused(recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    for device in ("cuda:1", "gpu", "cpu:x", ""):
        for more in ((), ("--dry-run",), ("--processes", "2")):
            assert terminal.call(monkeypatch, "run", recipe, "--out", recipe.parent / "out", "--device", device, *more) == 2
            said = capsys.readouterr().err
            assert said.startswith(f"i2i: the device '{device}' cannot be used (")
            assert said.endswith("There is: cpu.\n")
    with pytest.raises(UserError, match="There is: cpu"):
        i2i.run(recipe, device="cuda:1", out=recipe.parent / "out")
    assert not (recipe.parent / "out").exists()


def test_the_devices_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    with pytest.raises(UserError, match=r"There is: cpu, cuda:0, cuda:1\."):
        precision.device_called("mps")


def test_a_run_takes_the_device_and_then_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: torch.device("meta"))
    assert this_device().type == "meta"
    with computing_on("cpu"):
        assert this_device() == make_accelerator(Train()).device == torch.device("cpu")
        with computing_on("meta"):  # any device that torch knows goes to Accelerate as it is
            assert this_device() == make_accelerator(Train()).device == torch.device("meta")
        with computing_on(None):
            assert this_device().type == "cpu"
    assert this_device().type == "meta"
    with computing_on("cpu"):
        make_accelerator(Train())


def test_one_device_is_not_for_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with computing_on("meta"), pytest.raises(UserError, match="--device meta: each of several processes takes an accelerator"):
        make_accelerator(Train())


def test_the_command_and_python_train_where_they_are_told(recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    out = recipe.parent / "out"
    assert terminal.call(monkeypatch, "run", recipe, "--out", out, "--device", "cpu", "--set", "train.steps=1") == 0
    assert "training on cpu from step 0" in capsys.readouterr().err
    i2i.run(recipe, device="cpu", out=out, resume=True, set={"train.steps": 2})
    assert "training on cpu from step 1" in capsys.readouterr().err
