"""Settings left to ``auto``: what is tried, taken, remembered and given up."""

import io
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import nn

import i2i_tune
import toy
from i2i.errors import UserError
from i2i.protocols import Domain, Translation
from i2i.recipe import Recipe, load_recipe
from i2i.registry import Registry, hookimpl
from i2i.training.loop import accumulated_step
from i2i.training.running import run_recipe
from i2i.training.state import Run
from i2i_tune import probing
from i2i_tune.probing import probed
from toy import recipe

AUTO = ("train.precision=auto", "train.channels_last=auto", "train.compile=auto", "train.threads=auto", "train.steps=200")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(probing, "_cache", lambda: tmp_path / "cache")
    return tmp_path / "cache"


def probe(chosen: Recipe) -> tuple[dict[str, Any], str]:
    """The settings that come out, and what was said."""
    said = io.StringIO()
    train = probed(chosen, toy.registry(), None, Console(file=said, width=200)).train
    return {name: getattr(train, name) for name in ("threads", "precision", "channels_last", "compile")}, said.getvalue()


def ratios(monkeypatch: pytest.MonkeyPatch, **found: float) -> None:
    """Let the measured ratios be these, by what the challenger has; all else is half as fast."""

    def faster(one: probing.Trial, other: probing.Trial) -> float:
        train = other.recipe.train
        if train.precision == "bf16":
            return found.get("bf16", 0.5)
        return found.get("last", 0.5) if train.channels_last else found.get("threads", 0.5)

    monkeypatch.setattr(probing, "faster", faster)


def test_what_is_faster_and_sound_is_taken_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ratios(monkeypatch, bf16=1.5)
    settings, said = probe(recipe(tmp_path, *AUTO))
    assert settings == {"threads": None, "precision": "bf16", "channels_last": False, "compile": False}
    assert "precision bf16: 1.50 times as fast, taken" in said
    assert "channels_last True: 0.50 times as fast, not taken" in said


def test_a_gain_that_may_be_chance_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ratios(monkeypatch, bf16=1.04, last=1.04)
    assert probe(recipe(tmp_path, *AUTO))[0]["precision"] == "fp32"


def test_fewer_threads_are_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ratios(monkeypatch, threads=2.0)
    torch.set_num_threads(4)
    settings, said = probe(recipe(tmp_path, "train.steps=200"))
    assert "threads 2: 2.00" in said
    assert "threads 1: 2.00" in said
    assert settings["threads"] == 1
    assert torch.get_num_threads() == 4


def test_losses_that_differ_are_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ratios(monkeypatch, bf16=3.0)
    monkeypatch.setattr(probing, "TOLERANCE", 0.0)
    settings, said = probe(recipe(tmp_path, *AUTO))
    assert settings["precision"] == "fp32"
    assert "not taken, as its losses differ" in said


def test_what_was_found_is_remembered_for_the_same_components_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    ratios(monkeypatch, bf16=1.5)
    probe(recipe(tmp_path, *AUTO))
    ratios(monkeypatch)  # now bf16 would lose
    settings, said = probe(recipe(tmp_path, *AUTO, "train.seed=9", "train.steps=300"))
    assert settings["precision"] == "bf16"
    assert said.startswith("settings measured earlier on this machine: ")
    assert probe(recipe(tmp_path, *AUTO, "generator.width=5"))[0]["precision"] == "fp32"
    for file in cache.iterdir():
        file.write_text("{")
    assert probe(recipe(tmp_path, *AUTO))[0]["precision"] == "fp32"


@pytest.mark.parametrize("slow", ["fp32", "bf16"])
def test_the_measurement_is_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: str) -> None:
    """What takes longer by the clock is measured as slower, and left."""

    def delayed(state: Run, batches: Any) -> Any:
        time.sleep(0.05 if state.recipe.train.precision == slow else 0)
        return accumulated_step(state, batches)

    monkeypatch.setattr(probing, "accumulated_step", delayed)
    settings, said = probe(recipe(tmp_path, "train.precision=auto", "train.steps=200"))
    ratio = float(said.split("precision bf16: ")[1].split(" times as fast")[0])
    assert (ratio > 1.5) == (slow == "fp32")
    assert settings["precision"] == ("bf16" if slow == "fp32" else "fp32")


def test_short_runs_and_explicit_values_are_not_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "Trial", None)
    plain = {"threads": None, "precision": "fp32", "channels_last": False, "compile": False}
    assert probe(recipe(tmp_path, *AUTO, "train.steps=199"))[0] == plain
    assert probe(recipe(tmp_path, "train.steps=200", "train.threads=1"))[0] == {**plain, "threads": 1}
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert probe(recipe(tmp_path, *AUTO))[0] == plain


def test_a_candidate_that_breaks_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Poor(probing.Trial):
        def __init__(self, recipe: Recipe, registry: Registry, *rest: Any) -> None:
            if recipe.train.precision == "bf16":
                raise torch.OutOfMemoryError("the card is full\nand more")
            super().__init__(recipe, registry, *rest)

    monkeypatch.setattr(probing, "Trial", Poor)
    ratios(monkeypatch)
    settings, said = probe(recipe(tmp_path, *AUTO))
    assert settings["precision"] == "fp32"
    assert "precision bf16 does not work here: OutOfMemoryError: the card is full\n" in said


def trained(folder: Path, name: str, *overrides: str, resume: bool = False) -> Run:
    return toy.trained(folder, *overrides, out=name, plugins=toy.registry(tune=i2i_tune), resume=resume)


def test_trials_leave_no_trace_in_the_run_and_a_resume_keeps_the_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "LEAST_STEPS", 1)
    ratios(monkeypatch)
    usual = trained(tmp_path, "usual")
    tried = trained(tmp_path, "tried", "train.precision=auto")
    for one, other in zip(usual.bare_generator.parameters(), tried.bare_generator.parameters(), strict=True):
        assert torch.equal(one, other)
    ratios(monkeypatch, bf16=9.0)
    trained(tmp_path, "half", "train.precision=auto", "generator.width=6")
    assert load_recipe(tmp_path / "half" / "recipe.yaml", [], toy.registry()).train.precision == "bf16"
    ratios(monkeypatch)
    more = trained(tmp_path, "half", "train.precision=auto", "generator.width=6", "train.steps=8", resume=True)
    assert more.recipe.train.precision == "bf16"


def test_a_compiler_that_fails_does_not_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: nn.Module, **_: object) -> None:
        raise RuntimeError("no compiler\nat all")

    monkeypatch.setattr(nn.Module, "compile", fails)
    settings, said = probe(recipe(tmp_path, "train.compile=true"))
    assert settings["compile"] is False
    assert said == "torch.compile fails here, so the run continues without it: RuntimeError: no compiler\n"
    assert trained(tmp_path, "run", "train.compile=true").step == 6


class Normed(nn.Module):
    """A generator with torch's own instance norm."""

    exposes: frozenset[str] = frozenset()
    divisor = 1

    def __init__(self, *, domains: dict[str, Domain], directions: Any) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.InstanceNorm2d(3), nn.Tanh())

    def forward(self, x: torch.Tensor, source: str, target: str) -> Translation:
        return Translation({target: self.layers(x)})


class Plugin:
    @hookimpl
    def register_generators(self) -> dict[str, Any]:
        return {"normed": Normed}


def test_the_layout_that_breaks_torch_s_instance_norm_is_refused_and_not_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry({"toys": toy, "normed": Plugin()})
    path = tmp_path / "normed.yaml"
    path.write_text(toy.RECIPE.replace("generator: {name: toy}", "generator: {name: normed}"))
    chosen = load_recipe(path, ["train.channels_last=true"], registry)
    with pytest.raises(UserError, match="has torch's InstanceNorm2d, whose gradients are wrong"):
        run_recipe(chosen, tmp_path / "out", registry, resume=False, console=Console(quiet=True))
    left_open = load_recipe(path, ["train.channels_last=auto", "train.steps=200"], registry)
    assert probed(left_open, registry, None, Console(quiet=True)).train.channels_last is False


def test_a_dry_run_keeps_what_the_run_had_for_auto(tmp_path: Path) -> None:
    had = recipe(tmp_path, "train.channels_last=true", "train.precision=bf16")
    asked = recipe(tmp_path, "train.channels_last=auto", "train.precision=auto")
    kept, new = asked.settled(had).train, asked.settled().train
    assert (kept.channels_last, kept.precision) == (True, "bf16")
    assert (new.channels_last, new.precision) == (False, "fp32")
