"""The order of all that happens in a run, beside the table in docs/hooks.md that promises it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from torch import Tensor

import toy
from i2i.adapters import per_direction, per_domain
from i2i.recipe import Recipe
from i2i.registry import Registry, hookimpl
from i2i.training.ema import Ema
from i2i.training.finite import Guard
from i2i.training.optim import CountedSchedule
from i2i.training.state import Run
from i2i.training.tracking import Tracking
from i2i_watch.replay import replay

STEP = ["begin", "resting", "constrain generator", "constrain discriminator", "rates", "rates", "EMA", "NaN", "step_ended"]
NAMES = (
    "choose_settings|run_assembled|run_started|begin|resting|constrain|rates|EMA|NaN|step_ended|trackers|numbers_logged|"
    "grid_saved|checkpoint_saved|run_ended"
)


class Everything:
    """A plugin with every hook of a run, and components with every method that the loop calls."""

    def __init__(self) -> None:
        self.order: list[str] = []
        order = self.order

        class Timed(toy.ToyLoss):
            def begin(self, step: int, steps: int) -> None:
                order.append("begin")

            def resting(self, step: int) -> tuple[str, ...]:
                order.append("resting")
                return ()

        class Net(toy.ToyNet):
            def constrain(self) -> None:
                order.append("constrain generator")

        class Judge(toy.ToyJudge):
            def constrain(self) -> None:
                order.append("constrain discriminator")

        self.generator, self.discriminator, self.loss = per_direction(Net), per_domain(Judge, features=True), Timed

    @hookimpl
    def register_generators(self) -> dict[str, Any]:
        return {"net": self.generator}

    @hookimpl
    def register_discriminators(self) -> dict[str, Any]:
        return {"bounded": self.discriminator}

    @hookimpl
    def register_losses(self) -> dict[str, Any]:
        return {"timed": self.loss}

    @hookimpl
    def choose_settings(self, recipe: Recipe) -> None:
        self.order.append("choose_settings")

    @hookimpl
    def run_assembled(self, run: Run) -> None:
        self.order.append("run_assembled")

    @hookimpl
    def run_started(self, run: Run) -> None:
        self.order.append("run_started")

    @hookimpl
    def step_ended(self, run: Run) -> None:
        self.order.append("step_ended")

    @hookimpl
    def numbers_logged(self, run: Run, values: Mapping[str, float]) -> None:
        self.order.append("numbers_logged")

    @hookimpl
    def grid_saved(self, run: Run, path: Path, pictures: Mapping[tuple[str, str], tuple[Tensor, Tensor]]) -> None:
        self.order.append("grid_saved")

    @hookimpl
    def checkpoint_saved(self, run: Run, path: Path) -> None:
        self.order.append("checkpoint_saved")

    @hookimpl
    def run_ended(self, run: Run) -> None:
        self.order.append("run_ended")


@pytest.fixture
def everything(monkeypatch: pytest.MonkeyPatch) -> Everything:
    """The plugin; what the loop does between the events is written down too."""
    plugin = Everything()

    def noted(kind: type, method: str, name: str) -> None:
        real = getattr(kind, method)

        def call(*given: Any, **named: Any) -> Any:
            plugin.order.append(name)
            return real(*given, **named)

        monkeypatch.setattr(kind, method, call)

    noted(CountedSchedule, "step", "rates")
    noted(Ema, "update", "EMA")
    noted(Guard, "step_ended", "NaN")
    noted(Guard, "run_ended", "NaN at the end")
    noted(Tracking, "log", "trackers")
    noted(Tracking, "finish", "trackers closed")
    return plugin


def train(folder: Path, everything: Everything, *overrides: str) -> Registry:
    """From ``run_assembled`` on, as the rehearsal before it calls ``begin``, ``resting`` and ``constrain`` too."""
    registry, order = toy.registry(everything=everything), everything.order
    components = ("generator.name=net", "discriminator.name=bounded", "loss.name=timed")
    toy.trained(folder, "train.steps=2", *components, *overrides, plugins=registry)
    assert order[0] == "choose_settings"
    del order[1 : order.index("run_assembled")]
    return registry


def test_everything_happens_in_the_order_of_the_docs(tmp_path: Path, root: Path, everything: Everything) -> None:
    train(tmp_path, everything, "log.every=1", "samples.every=1", "checkpoint.every=1")
    start, end = (
        ["choose_settings", "run_assembled", "grid_saved", "run_started"],
        ["NaN at the end", "run_ended", "trackers closed"],
    )
    step = [*STEP, "trackers", "numbers_logged", "grid_saved", "checkpoint_saved"]
    assert everything.order == [*start, *step, *step, *end]
    table = (root / "docs" / "hooks.md").read_text().split("## The events of a run")[1].split("\n\nAn event")[0]
    said = [word for row in table.splitlines()[4:] for word in re.findall(NAMES, row.split("|")[2])]
    assert said == [*start, *dict.fromkeys(name.split()[0] for name in step), "NaN", "run_ended", "trackers"]


def test_what_was_not_done_at_the_last_step_is_done_at_the_end(tmp_path: Path, everything: Everything) -> None:
    train(tmp_path, everything, "log.every=9", "samples.every=9", "checkpoint.every=9")
    last = len(everything.order) - 1 - everything.order[::-1].index("step_ended")
    numbers = ["trackers", "numbers_logged"]
    assert everything.order[last + 1 :] == [
        *numbers,
        "NaN at the end",
        "checkpoint_saved",
        "grid_saved",
        "run_ended",
        "trackers closed",
    ]


def test_a_replay_has_no_other_events_than_the_docs_say(tmp_path: Path, everything: Everything) -> None:
    registry = train(tmp_path, everything, "checkpoint.every=1")
    everything.order.clear()
    replay(tmp_path / "out", 2, registry, Console(quiet=True))
    events = [name for name in everything.order if name in {*vars(Everything)}]
    assert events == ["run_started", "step_ended", "run_ended"]
