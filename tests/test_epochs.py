"""Epochs: lengths in a recipe that become steps once the data are there."""

import io
import re
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rich.console import Console

import toy
from i2i.building.epochs import in_steps, steps_of_epoch, with_data
from i2i.errors import UserError
from i2i.recipe import Recipe, Section, Steps, load_recipe
from i2i.recipe.lengths import Epochs
from i2i.recipe.sections import Schedule, Train
from i2i.registry import Registry, hookimpl
from i2i.training.dry_run import dry_run
from i2i.training.running import run_recipe
from i2i.training.state import Run
from i2i_evaluate.section import Evaluate

TEXT = (
    toy.RECIPE.replace("steps: 6", "epochs: 2")
    .replace("samples: {every: 3", "samples: {every: 1 epoch")
    .replace("checkpoint: {every: 2", "checkpoint: {every: 0.4 epochs, keep_every: 2 epochs")
    .replace("seed: 1", "seed: 1, schedule: {name: constant_then_linear, start: 1 epoch, end: 2 epochs, hold: 0.2 epochs}")
    .replace("ema: 0.9", "generator: {groups: {layers: {frozen_until: 0.2 epochs}}}")
)
"""Of ten samples in batches of two: an epoch is five steps."""


@given(st.integers(1, 10**6), st.integers(1, 64), st.integers(1, 8), st.integers(1, 64))
def test_an_epoch_is_the_samples_by_those_of_a_step(samples: int, batch: int, accumulate: int, processes: int) -> None:
    made = steps_of_epoch(samples, Train(batch_size=batch, accumulate=accumulate), processes)
    exact = samples / (batch * accumulate * processes)
    assert made == 1 if exact < 0.5 else abs(made - exact) <= 0.5
    assert made >= 1


@given(st.floats(1e-9, 1e6), st.integers(1, 10**6))
def test_a_length_is_rounded_to_at_least_one_step(count: float, epoch: int) -> None:
    length = Epochs(float(f"{count:.12g}"))
    assert Train.model_validate({"steps": str(length)}).steps == length
    made = in_steps(RECIPE.model_copy(update={"train": Train(epochs=length.number)}), epoch).train
    assert made.steps == max(1, int(length.number * epoch + 0.5))
    assert made.epoch == epoch


RECIPE = Recipe.model_validate({key: {"name": "x"} for key in ("dataset", "generator", "loss")})


def test_every_count_of_steps_may_be_in_epochs(tmp_path: Path) -> None:
    read = toy.recipe(tmp_path, "log.every=1 epoch", "train.schedule.warmup=0.6 epochs", text=TEXT)
    evaluate = Evaluate.model_validate({"every": "3 epochs", "metrics": ["l1"]})
    made = in_steps(read.model_copy(update={"sections": {"evaluate": evaluate}}), 5)
    schedule = made.train.schedule
    assert (made.train.steps, made.samples.every, made.checkpoint.every, made.checkpoint.keep_every) == (10, 5, 2, 10)
    assert (schedule.start, schedule.end, schedule.hold, schedule.warmup) == (5, 10, 1, 3)
    assert (made.train.generator.groups["layers"].frozen_until, made.log.every, made.section("evaluate").every) == (1, 5, 15)
    assert "epochs" not in made.to_yaml()
    assert made.where("train") == read.where("train")


def test_a_section_of_a_plugin_may_count_in_epochs() -> None:
    class Looks(Section):
        at: list[Steps]
        named: dict[str, Steps | None]
        note: str = ""

    looks = Looks.model_validate({"at": ["1 epoch", 7], "named": {"one": "0.1 epochs", "none": None}, "note": "2 epochs"})
    made = in_steps(RECIPE.model_copy(update={"sections": {"looks": looks}}), 20).section("looks")
    assert (made.at, made.named, made.note) == ([20, 7], {"one": 2, "none": None}, "2 epochs")


@pytest.mark.parametrize("overrides", [[], ["samples.every=1e-05 epochs"]])
def test_a_recipe_in_epochs_is_written_and_read_again(overrides: list[str], tmp_path: Path) -> None:
    read = toy.recipe(tmp_path, *overrides, text=TEXT)
    again = tmp_path / "again.yaml"
    again.write_text(read.to_yaml())
    assert load_recipe(again, [], toy.registry()) == read


BOTH = "'steps' and 'epochs' both say how long to train. Give one of them."
BAD = [
    ("epochs: 2, ", "epochs: 2, steps: 5, ", [], f"toy.yaml:5:8: train: {BOTH}"),
    ("", "", ["train.epochs=2", "train.steps=5"], f"train: {BOTH}"),
    ("epochs: 2, ", "epochs: 0, ", [], "toy.yaml:5:17: train.epochs: must be greater than 0.0, not 0."),
    ("every: 1 epoch", "every: 0 epochs", [], "samples.every: must be a whole number, or a length such as '2 epochs', not"),
    ("every: 1 epoch", "every: 1e400 epochs", [], "samples.every: must be a whole number, or a length such as '2 epochs', not"),
    ("every: 1 epoch", "every: 1epoch", [], "toy.yaml:6:18: samples.every: must be a whole number, or a length such as"),
    ("end: 2 epochs", "end: 40", [], "end, 40, must come after its start, 1 epoch, both in steps or both in epochs."),
    ("end: 2 epochs", "end: 0.5 epochs", [], "end, 0.5 epochs, must come after its start, 1 epoch"),
    ("0.2 epochs}}", "always}}", [], "or a length such as '2 epochs', not the text 'always'. Or: must be 'end'"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "overrides", "part"), BAD)
def test_a_bad_length(old: str, new: str, overrides: list[str], part: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        toy.recipe(tmp_path, *overrides, text=TEXT.replace(old, new, 1))
    assert part in str(caught.value)


@pytest.mark.parametrize(("new", "place"), [("", "toy.yaml:5:1"), ("epochs: null, ", "toy.yaml:5:1"), (None, "toy.yaml:1:1")])
def test_a_run_without_a_length_is_refused(new: str | None, place: str, tmp_path: Path) -> None:
    """Whatever only reads a recipe takes it."""
    text = TEXT.replace("epochs: 2, ", new) if new is not None else re.sub("train: .*\n", "", TEXT)
    checked, plugins = toy.recipe(tmp_path, text=text), toy.registry()
    part = f"{place}: train: say how long to train: give 'epochs' or 'steps'."
    with pytest.raises(UserError, match=re.escape(part)):
        dry_run(checked, tmp_path / "out", plugins, False, Console(quiet=True))
    with pytest.raises(UserError, match=re.escape(part)):
        run_recipe(checked, tmp_path / "out", plugins, resume=False, console=Console(quiet=True))
    assert not (tmp_path / "out").exists()


def test_python_refuses_both_and_has_a_default() -> None:
    assert Train().steps == 1000
    assert Train(epochs=3) == Train.model_validate({"steps": "3 epochs"})
    with pytest.raises(ValidationError, match="both say how long"):
        Train(epochs=3, steps=5)


def test_set_replaces_the_other_unit(tmp_path: Path) -> None:
    assert toy.recipe(tmp_path, "train.steps=18", text=TEXT).train.steps == 18
    assert toy.recipe(tmp_path, "train.epochs=3").train.steps == Epochs(3)


def test_what_a_loss_suggests_gives_way_to_the_recipe(tmp_path: Path) -> None:
    class Long(toy.ToyLoss):
        train_defaults: Mapping[str, Any] = {"steps": 77}

    plugins = toy.registry(long=SimpleNamespace(register_losses=hookimpl(lambda: {"long": Long})))
    text = TEXT.replace("loss: {name: toy}", "loss: {name: long}")
    assert toy.recipe(tmp_path, text=text, plugins=plugins).train.steps == Epochs(2)
    assert toy.recipe(tmp_path, text=text.replace("epochs: 2, ", ""), plugins=plugins).train.steps == 77


def test_rounding_may_leave_no_step_between_start_and_end() -> None:
    from i2i.training.optim import rate_factor

    schedule = Schedule(name="constant_then_linear", start=3, end=4).model_copy(update={"end": 3})
    assert [rate_factor(schedule, step, 9) for step in (2, 3, 4)] == [1, 1, 0]


class Listed(toy.Stripes):
    """A data set that counts how often it is made."""

    made = 0

    def __init__(self, *, length: int = 10) -> None:
        super().__init__(length=length)
        type(self).made += 1


def _registry() -> Registry:
    return toy.registry(listed=SimpleNamespace(register_datasets=hookimpl(lambda: {"listed": Listed})))


OWN = TEXT.replace("stripes", "listed")


def _train(folder: Path, *overrides: str, text: str = OWN, resume: bool = False, screen: io.StringIO | None = None) -> Run:
    plugins = _registry()
    checked = toy.recipe(folder, *overrides, text=text, plugins=plugins)
    console = Console(file=screen or io.StringIO(), force_terminal=screen is not None, width=200)
    return run_recipe(checked, folder / "out", plugins, resume=resume, console=console)


def test_a_run_in_epochs_and_its_resume(tmp_path: Path) -> None:
    screen, Listed.made = io.StringIO(), 0
    run = _train(tmp_path, screen=screen)
    assert (run.step, Listed.made) == (10, 2)  # of the run and of the grids
    assert "epoch 2/2, step 10/10" in screen.getvalue()
    log = (tmp_path / "out/log.txt").read_text()
    assert "from step 0; an epoch is 5 steps\n" in log
    assert "  epoch 2/2, step 10/10, 0:00:00 left  " in log
    own = load_recipe(tmp_path / "out/recipe.yaml", [], _registry())
    assert (own.train.steps, own.train.epoch, own.samples.every) == (10, 5, 5)

    # The original recipe, further, with smaller batches: the length of the epoch stays, and so does the schedule.
    further = ("train.epochs=3", "train.batch_size=1")
    plugins, said = _registry(), io.StringIO()
    checked = toy.recipe(tmp_path, *further, text=OWN, plugins=plugins)
    dry_run(checked, tmp_path / "out", plugins, True, Console(file=said, width=200))
    assert "steps: 15; an epoch is 5 steps (train.epoch; the data make 10)" in said.getvalue()
    assert _train(tmp_path, *further, resume=True).step == 15
    changes = [line.partition("changed after step 10: ")[2] for line in (tmp_path / "out/log.txt").read_text().splitlines()]
    assert [line for line in changes if line] == ["train.steps: 10 → 15", "train.batch_size: 2 → 1"]
    (tmp_path / "toy.yaml").write_text((tmp_path / "out/recipe.yaml").read_text().replace("steps: 15", "epochs: 4"))
    again = load_recipe(tmp_path / "toy.yaml", [], plugins)
    assert run_recipe(again, tmp_path / "out", plugins, resume=True, console=Console(quiet=True)).step == 20


def test_other_processes_keep_the_epoch_of_a_run(tmp_path: Path) -> None:
    read = toy.recipe(tmp_path, text=TEXT)
    assert [with_data(read, toy.registry(), n)[0].train.epoch for n in (1, 2, 3, 20)] == [5, 3, 2, 1]
    kept, _ = with_data(read, toy.registry(), 2, 5)
    assert (kept.train.epoch, kept.train.steps) == (5, 10)
