"""The events of a run, as a plugin sees them, and that no hook is without a test."""

import re
from pathlib import Path

from rich.console import Console

import toy
from i2i.hooks import Hooks
from i2i.recipe import load_recipe
from i2i.registry import hookimpl
from i2i.running import run_recipe
from i2i.state import Run


class Diary:
    """Writes down every event of a run."""

    def __init__(self) -> None:
        self.events: list[tuple[str, object]] = []

    @hookimpl
    def run_started(self, run: Run) -> None:
        self.events.append(("started", run.step))

    @hookimpl
    def step_ended(self, run: Run) -> None:
        assert run.terms
        self.events.append(("step", run.step))

    @hookimpl
    def checkpoint_saved(self, run: Run, path: Path) -> None:
        assert (path / "manifest.json").is_file()
        self.events.append(("checkpoint", path.name))

    @hookimpl
    def grid_saved(self, run: Run, path: Path) -> None:
        assert path.is_file()
        self.events.append(("grid", path.name))

    @hookimpl
    def run_ended(self, run: Run) -> None:
        self.events.append(("ended", run.step))


def test_the_events_of_a_run_come_in_order_with_what_they_promise(tmp_path: Path) -> None:
    (tmp_path / "toy.yaml").write_text(toy.RECIPE)
    registry, diary = toy.registry(), Diary()
    settings = ["train.steps=4", "samples.every=4", "checkpoint.every=2"]
    with registry.subscribed(diary):
        run_recipe(
            load_recipe(tmp_path / "toy.yaml", settings, registry),
            tmp_path / "run",
            registry,
            resume=False,
            console=Console(quiet=True),
        )
    kinds = {kind: [value for event, value in diary.events if event == kind] for kind, _ in diary.events}
    assert kinds == {
        "started": [0],
        "step": [1, 2, 3, 4],
        "checkpoint": ["step-00000002", "step-00000004"],
        "grid": ["step-00000000.png", "step-00000004.png"],
        "ended": [4],
    }
    steps = [event for event in diary.events if event[0] in ("started", "step", "ended")]
    assert steps == [("started", 0), ("step", 1), ("step", 2), ("step", 3), ("step", 4), ("ended", 4)]


def test_every_hook_is_implemented_by_a_test(root: Path) -> None:
    hooks = {name for name in vars(Hooks) if not name.startswith("_")}
    sources = "\n".join(path.read_text() for path in (root / "tests").rglob("*.py"))
    assert hooks - set(re.findall(r"def (\w+)\(", sources)) == set()
