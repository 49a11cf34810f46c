"""``i2i replay``: repeat one step of a run to examine it, without writing anything."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from i2i.errors import UserError
from i2i.recipe import Recipe, load_recipe
from i2i.recipe.sections import Train
from i2i.registry import Registry
from i2i.training.assembly import assemble
from i2i.training.checkpoint import restore
from i2i.training.loop import train
from i2i.training.resuming import Settings, at_start, going_on
from i2i.training.state import Run
from i2i.translation.checkpoints import checkpoints, read_manifest, step_of
from i2i.translation.state_files import load_state
from i2i_evaluate.foreign import check_components


def replay(out: Path, step: int, registry: Registry, console: Console) -> Run:
    """Go from the newest checkpoint before *step* (or from the start) through that step, and print its terms and norms.

    Everything random is what it was in the run, and so are the settings, which a resume may have changed since. So the numbers
    are the run's own, bit by bit, on the same machine.

    Raises:
        UserError: there is no run in *out*, it is a stranger's and names files, it does not have that step, or several
            processes trained it.
    """
    if not (out / "recipe.yaml").is_file():
        raise UserError(f"{out} holds no run. Give a run folder.")
    recipe = load_recipe(out / "recipe.yaml", [], registry)
    check_components(recipe, registry, out)
    if not 1 <= step <= recipe.train.steps:
        raise UserError(f"step {step}: the run has only the steps 1 to {recipe.train.steps}.")
    found = checkpoints(out)
    start = next((path for path in reversed(found) if step_of(path) < step), None)
    if found and (processes := read_manifest(found[-1])["processes"]) > 1:
        raise UserError(f"{out} was trained by {processes} processes, but a replay has only one: its samples would differ.")
    if start is not None:
        console.print(f"from {start}", highlight=False)
    run = _through(recipe, _settings(found, recipe), start, step, registry, out)
    console.print(f"step {step}: {run.drawn_at(step)}", highlight=False)
    norms = {f"gradient_norm_{player}": norm for player, norm in run.norms.items()}
    for name, value in {**run.terms, **norms}.items():
        console.print(f"  {name:<28} {float(value):.8g}", highlight=False)
    return run


def _settings(found: Sequence[Path], recipe: Recipe) -> Settings:
    """The settings over the course of the run: up to the newest checkpoint those that it records, then the recipe's."""
    now = recipe.train.settled()
    if not found:
        return at_start(now)
    return going_on(load_state(found[-1], ["settings"]).get("settings", at_start(now)), now, step_of(found[-1]))


def _through(recipe: Recipe, settings: Settings, start: Path | None, step: int, registry: Registry, out: Path) -> Run:
    """The run after *step*, from a checkpoint or the start; where its settings changed it is resumed, as it was then."""
    run: Run | None = None
    for train_as, end in _pieces(settings, step_of(start) if start else 0, step):
        before = run.state_dict() if run else None
        run = assemble(recipe.model_copy(update={"train": train_as}), registry, out)
        if before is not None:
            run.load_state_dict(before)
        elif start is not None:
            restore(run, start)
        run.watched = True
        train(run, run.batches(), until=end)
    assert run is not None
    return run


def _pieces(settings: Settings, at: int, step: int) -> list[tuple[Train, int]]:
    """The settings that held between *at* and *step*, each with the step up to which they did."""
    ends = [*(since for since, _ in settings[1:]), step]
    held = zip(settings, ends, strict=True)
    return [(Train.model_validate(dumped), min(end, step)) for (since, dumped), end in held if since < step and end > at]
