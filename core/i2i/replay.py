"""``i2i replay``: one step of a run again, for a close look, with nothing written."""

from pathlib import Path

from rich.console import Console

from i2i.checkpoint import checkpoints, restore, step_of
from i2i.errors import UserError
from i2i.health import drawn_at
from i2i.recipe import load_recipe
from i2i.registry import Registry
from i2i.state import Run, assemble
from i2i.train import train


def replay(out: Path, step: int, registry: Registry, console: Console) -> Run:
    """Go from the newest checkpoint before *step* (or from the start) through that step, and print its terms and norms.

    Everything random is what it was in the run, so the numbers are the run's own, bit by bit, on the same machine.

    Raises:
        UserError: there is no run in *out*, or the step is not one of it.
    """
    if not (out / "recipe.yaml").is_file():
        raise UserError(f"{out} holds no run. Give a run folder.")
    recipe = load_recipe(out / "recipe.yaml", [], registry)
    if not 1 <= step <= recipe.train.steps:
        raise UserError(f"step {step}: the run has the steps 1 to {recipe.train.steps}.")
    recipe = recipe.model_copy(update={"log": recipe.log.model_copy(update={"every": 1})})  # norms at every step
    run = assemble(recipe, registry, out)
    before = [path for path in checkpoints(out) if step_of(path) < step]
    if before:
        console.print(f"from {restore(run, before[-1])}", highlight=False)
    run.recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={"steps": step})})
    train(run, run.batches())
    console.print(f"step {step}: {drawn_at(run, step)}", highlight=False)
    norms = {f"gradient_norm_{player}": norm for player, norm in run.norms.items()}
    for name, value in {**run.terms, **norms}.items():
        console.print(f"  {name:<28} {float(value):.8g}", highlight=False)
    return run
