"""The events of a run, as plugins and a run's own observers see them, and that no hook is without a test."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor

import i2i_tune
import toy
from i2i.errors import UserError
from i2i.hooks import Hooks, hookimpl
from i2i.recipe import Recipe, load_recipe
from i2i.registry import Registry
from i2i.training.dry_run import dry_run
from i2i.training.running import run_recipe
from i2i.training.state import Run
from i2i.translation.checkpoints import manifest_of


def trained(folder: Path, registry: Registry, *overrides: str, resume: bool = False) -> Run:
    path = folder.with_suffix(".yaml")
    path.write_text(toy.RECIPE)
    return run_recipe(load_recipe(path, overrides, registry), folder, registry, resume=resume, console=Console(quiet=True))


class Diary:
    """Writes down every event of a run, with what must hold by then."""

    def __init__(self) -> None:
        self.events: list[tuple[str, object]] = []

    @hookimpl
    def run_started(self, run: Run) -> None:
        self.events.append(("started", run.step))

    @hookimpl
    def step_ended(self, run: Run) -> None:
        assert run.terms
        assert run.ema is not None
        assert int(run.ema.averaged.n_averaged) == run.step
        self.events.append(("step", run.step))

    @hookimpl
    def numbers_logged(self, run: Run, values: Mapping[str, float]) -> None:
        assert run.out is not None
        assert json.loads((run.out / "metrics.jsonl").read_text().splitlines()[-1]) == values
        self.events.append(("numbers", values["step"]))

    @hookimpl
    def checkpoint_saved(self, run: Run, path: Path) -> None:
        assert manifest_of(path)["step"] == run.step
        self.events.append(("checkpoint", run.step))

    @hookimpl
    def grid_saved(self, run: Run, path: Path, pictures: Mapping[tuple[str, str], tuple[Tensor, Tensor]]) -> None:
        assert path.is_file()
        ((direction, (given, made)),) = pictures.items()
        assert direction == ("a", "b")
        assert given.shape == made.shape == (2, 3, 16, 16)
        self.events.append(("grid", run.step))

    @hookimpl
    def run_ended(self, run: Run) -> None:
        self.events.append(("ended", run.step))


def test_the_events_of_a_run_come_in_order_with_what_they_promise(tmp_path: Path) -> None:
    diary, settings = Diary(), ("train.steps=4", "samples.every=4", "checkpoint.every=2", "log.every=2")
    trained(tmp_path / "run", toy.registry(diary=diary), *settings)
    assert diary.events == [
        *[("grid", 0), ("started", 0)],
        *[("step", 1)],
        *[("step", 2), ("numbers", 2), ("checkpoint", 2)],
        *[("step", 3)],
        *[("step", 4), ("numbers", 4), ("grid", 4), ("checkpoint", 4)],
        *[("ended", 4)],
    ]


def test_a_run_that_is_stopped_is_saved_before_its_last_grid_is_drawn(tmp_path: Path) -> None:
    class Stops(Diary):
        @hookimpl
        def step_ended(self, run: Run) -> None:
            run.stop = run.step == 3

    diary = Stops()
    trained(tmp_path / "run", toy.registry(diary=diary), "samples.every=100", "checkpoint.every=100", "log.every=100")
    assert diary.events == [("grid", 0), ("started", 0), ("checkpoint", 3), ("grid", 3), ("ended", 3)]


class Watching:
    """A plugin that gives every run an observer of its own, and whatever else is asked for."""

    def __init__(self, *more: object) -> None:
        self.given: list[Diary] = []
        self.more = more

    @hookimpl
    def run_assembled(self, run: Run) -> list[object]:
        assert run.out is not None
        assert not (run.out / "recipe.yaml").exists() or run.step > 0
        torch.rand(9)  # no number that the training draws
        self.given.append(Diary())
        return [self.given[-1], *self.more]


def test_an_observer_sees_the_events_of_its_own_run_alone(tmp_path: Path) -> None:
    """A second run begins and ends within the first one."""
    watching = Watching()

    class Nests:
        @hookimpl
        def step_ended(self, run: Run) -> None:
            if run.step == 3 and run.recipe.train.steps == 6:
                trained(tmp_path / "inner", registry, "train.steps=2")

    registry = toy.registry(watching=watching, nests=Nests())
    trained(tmp_path / "outer", registry)
    steps = [[step for event, step in diary.events if event == "step"] for diary in watching.given]
    assert steps == [[1, 2, 3, 4, 5, 6], [1, 2]]


def test_an_observer_that_draws_changes_nothing(tmp_path: Path) -> None:
    watched, plain = trained(tmp_path / "w", toy.registry(w=Watching())), trained(tmp_path / "p", toy.registry())
    for one, other in zip(watched.bare_generator.parameters(), plain.bare_generator.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_resumed_run_has_new_observers_once_it_is_restored(tmp_path: Path) -> None:
    watching = Watching()
    registry = toy.registry(watching=watching)
    trained(tmp_path / "run", registry, "train.steps=2")
    trained(tmp_path / "run", registry, "train.steps=4", resume=True)
    assert watching.given[1].events[0] == ("started", 2)


class Misspelt:
    @hookimpl
    def step_end(self, run: Run) -> None: ...


class Fails:
    @hookimpl
    def run_assembled(self) -> list[object]:
        raise KeyError("depth")


class Refuses:
    @hookimpl
    def run_assembled(self, run: Run) -> list[object]:
        raise UserError("the camera is off")


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        (Watching(Misspelt()), "the plugin 'w' cannot watch the run: Misspelt: there is no hook 'step_end'. Did you mean"),
        (Watching(object()), "the plugin 'w' cannot watch the run: object: it implements no hook"),
        (Fails(), "the plugin 'w' cannot watch the run: KeyError: 'depth'"),
        (Refuses(), "^the camera is off"),
    ],
)
def test_what_cannot_watch_a_run_is_said_before_it_begins(tmp_path: Path, plugin: object, message: str) -> None:
    registry = toy.registry(w=plugin)
    with pytest.raises(UserError, match=message):
        trained(tmp_path / "run", registry)
    recipe = load_recipe(tmp_path / "run.yaml", [], registry)
    with pytest.raises(UserError, match=message):
        dry_run(recipe, tmp_path / "run", registry, False, Console(quiet=True))
    assert not (tmp_path / "run").exists()


def test_an_observer_s_numbers_and_lines_go_where_the_run_s_own_go(tmp_path: Path) -> None:
    class Measures:
        @hookimpl
        def step_ended(self, run: Run) -> None:
            run.record({"own/step": float(run.step)})
            run.note(f"measured {run.step}")

    diary = Diary()
    trained(tmp_path / "run", toy.registry(diary=diary, measures=Measures()), "train.steps=2")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines[0] == {"step": 1, "own/step": 1.0}
    assert [event for event in diary.events if event[0] == "numbers"] == [("numbers", step) for step in (1, 1, 2, 2)]
    assert "measured 2" in (tmp_path / "run" / "log.txt").read_text()


class Chooses:
    def __init__(self, **values: Any) -> None:
        self.values, self.before = values, []

    @hookimpl
    def choose_settings(self, recipe: Recipe, before: Recipe | None) -> Recipe | None:
        self.before.append(before)
        train = recipe.train.model_copy(update=self.values)
        return recipe.model_copy(update={"train": train}) if self.values else None


def test_settings_are_chosen_by_the_first_plugin_that_gives_some(tmp_path: Path) -> None:
    silent, chooses = Chooses(), Chooses(precision="bf16", emulate=True)
    auto = ("train.precision=auto", "train.channels_last=auto", "train.steps=2")
    run = trained(tmp_path / "run", toy.registry(chooses=chooses, silent=silent), *auto)
    assert (run.recipe.train.precision, run.recipe.train.channels_last) == ("bf16", False)
    assert silent.before == chooses.before == [None]
    again = trained(tmp_path / "run", toy.registry(silent=silent), *auto, "train.emulate=true", resume=True)
    assert again.recipe.train.precision == "bf16"
    assert silent.before[1] == run.recipe
    assert trained(tmp_path / "plain", toy.registry(), *auto).recipe.train.precision == "fp32"


def test_a_plugin_that_chooses_comes_before_the_trials(tmp_path: Path) -> None:
    """Whatever their names are: the one that is loaded last would be asked first."""
    registry = toy.registry(chooses=Chooses(precision="bf16", emulate=True), tune=i2i_tune)
    assert trained(tmp_path / "run", registry, "train.precision=auto", "train.steps=2").recipe.train.precision == "bf16"


def test_the_observer_in_the_docs_watches_a_run(tmp_path: Path, root: Path) -> None:
    text = (root / "docs" / "hooks.md").read_text()
    (source,) = re.findall(r"## run_assembled\n.*?```python\n(.*?)```", text, re.DOTALL)
    module = ModuleType("example")
    exec(compile(source, "docs/hooks.md", "exec"), module.__dict__)
    trained(tmp_path / "run", toy.registry(example=module))
    values = [json.loads(line)["l1"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert f"the lowest l1 was {min(values):.4g}" in (tmp_path / "run" / "log.txt").read_text()


def test_every_hook_is_implemented_by_a_test(root: Path) -> None:
    hooks = {name for name in vars(Hooks) if not name.startswith("_")}
    sources = "\n".join(path.read_text() for path in (root / "tests").rglob("*.py"))
    assert hooks - set(re.findall(r"def (\w+)\(", sources)) == set()
