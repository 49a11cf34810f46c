"""Before the first step: everything that a run needs is built, rehearsed, read and restored, and nothing is written.

A run then trains; ``--dry-run`` ends one step later.
"""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from i2i.building.epochs import in_steps
from i2i.building.nested import changes
from i2i.data import fingerprint_of
from i2i.errors import UserError
from i2i.protocols import Dataset
from i2i.randomness import undrawn
from i2i.recipe import COMPONENTS, Recipe, load_recipe
from i2i.recipe.at_use import generators_of, in_use
from i2i.recipe.plugin_sections import check_heeded
from i2i.recipe.sections import Start, Train
from i2i.registry import Registry
from i2i.training.assembly import assemble
from i2i.training.checkpoint import restore
from i2i.training.resuming import at_start
from i2i.training.run_folder import RECIPE
from i2i.training.samples import Sampling
from i2i.training.state import Run
from i2i.translation.checkpoints import checkpoints, manifest_of


def ready(
    recipe: Recipe, before: Recipe | None, out: Path, registry: Registry, console: Console, dataset: Dataset | None = None
) -> tuple[Run, Sampling | None, list[str]]:
    """A run with its observers, its grids, and in words what a resume changes, if it was begun with the recipe *before*.

    The first process alone draws grids.

    Raises:
        UserError: something of it cannot work.
    """
    check_heeded(recipe.sections, registry)
    run = assemble(recipe, registry, out, dataset=dataset)
    other_data = [] if before is None else check_data(before, run)
    main = run.accelerator.is_main_process
    with undrawn():  # so that neither weights nor grids change the random numbers of the first step
        if before is None and recipe.train.start is not None:
            _load_start(run)
        sampling = Sampling.of(run) if main else None
        if sampling is not None and before is None:
            sampling.drawn = sampling.draw(run)
    changed: list[str] = []
    if before is not None:
        path = restore(run, settings=before.train.settled())
        if main:
            console.print(f"resuming from {path}", highlight=False)
        changed = [*run.changed, *changed_besides(before, recipe), *other_data]
    with undrawn():
        run.hook = registry.hook_of(run)
    return run, sampling, changed


def check_length(recipe: Recipe) -> None:
    """Refuse a recipe that does not say how long to train; one that is only read for its data or parts need not."""
    if "steps" not in recipe.train.model_fields_set:
        raise UserError(f"{recipe.where('train')}: say how long to train: give 'epochs' or 'steps'.")


def begun_with(recipe: Recipe, out: Path, registry: Registry) -> Recipe:
    """The recipe with which the run in *out* was begun, to be resumed with *recipe*.

    It keeps its components, except for options that may change; its data may have moved (``check_data``).

    Raises:
        UserError: a component is another one.
    """
    before = load_recipe(out / RECIPE, [], registry)
    _check_same_start(before.train, recipe.train)
    recipe = in_steps(recipe, recipe.train.epoch or before.train.epoch or 1)
    free = in_use(generators_of(recipe.components("generator"), registry))
    may_change = tuple(f"generator.{name}{end}" for name in free for end in ".:")
    for part in COMPONENTS:
        found = changes(getattr(before, part), getattr(recipe, part), part)
        different = [line for line in found if not line.startswith(may_change)]
        if different and (part != "dataset" or before.dataset.name != recipe.dataset.name):
            raise _another(out, part, different)
    return before


def _load_start(run: Run) -> None:
    lines = run.hook.load_start(run=run)
    if lines is None:
        raise UserError(f"train.start: no loaded plugin reads the weights of a start. {run.registry.turned_off}".rstrip())
    run.began, run.settings = lines, at_start(run.recipe.train)
    if run.ema is not None:
        run.ema.restore({}, run.bare_generator)


def _check_same_start(before: Train, now: Train) -> None:
    """A resume may repeat where its run began, but cannot begin elsewhere."""
    had, asked = (start.sources if isinstance(start, Start) else {start} - {None} for start in (before.start, now.start))
    if asked and asked != had:
        raise UserError(
            f"train.start: this run began with {' and '.join(map(str, had)) or 'random weights'}, and a resume continues from "
            "its checkpoint. Leave train.start as it was, or start again in another folder with --out."
        )


def check_data(before: Recipe, state: Run) -> list[str]:
    """The data are those that the run was trained on, by their fingerprint where the recipe names another place.

    If the data have changed in place, the run continues, and this says so.

    Raises:
        UserError: the recipe names other data, or ones that have no fingerprint.
    """
    assert state.out is not None
    different, found = changes(before.dataset, state.recipe.dataset, "dataset"), checkpoints(state.out)
    known, now = manifest_of(found[-1]).get("data") if found else None, fingerprint_of(state.parts.dataset)
    if different and (known is None or known != now):
        raise _another(state.out, "dataset", different)
    return ["the files of the data, or how they are read; the resume is not exact"] if known and known != now else []


def _another(out: Path, part: str, different: Sequence[str]) -> UserError:
    return UserError(
        f"{out} was trained with another '{part}' ({'; '.join(different)}). Resume with the run's own recipe, or start "
        "again in another folder with --out."
    )


def changed_besides(before: Recipe, now: Recipe) -> list[str]:
    """What a resume changes of sections that hold no state, of the place of the data, and of how the generator is used."""
    names = ("dataset", "generator", "samples", "checkpoint", "log")
    own = [line for name in names for line in changes(getattr(before, name), getattr(now, name), name)]
    return [*own, *changes(before.sections, now.sections)]
