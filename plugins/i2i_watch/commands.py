"""``i2i runs``: the runs in a folder, their progress, and whether they are running. ``i2i replay``: repeat a step of a run."""

import json as json_module
from pathlib import Path
from typing import Annotated, Any

import typer

from i2i.command_options import Json
from i2i.errors import UserError, printable
from i2i.recipe.nodes import read
from i2i.training.run_folder import is_locked
from i2i.translation.checkpoints import kept, step_of


def runs(
    folder: Annotated[Path, typer.Argument(help="The folder that holds the run folders.")] = Path("runs"),
    json: Json = False,
) -> None:
    """List runs with their state, steps and components."""
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder. Give the folder that holds the run folders.")
    found = [summary(path.parent) for path in folder.glob("*/recipe.yaml") if path.is_file()]
    found.sort(key=lambda run: run["changed"], reverse=True)
    if json:
        print(json_module.dumps(found, indent=2, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("run", "state", "step", "generator", "loss", "data", box=None)
    for run in found:
        table.add_row(run["run"], run["state"], f"{run['step']}/{run['steps']}", run["generator"], run["loss"], run["dataset"])
    console = Console(highlight=False, markup=False)
    console.print(table if found else f"No runs in {folder}.")


def replay(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    step: Annotated[int, typer.Argument(min=1, help="The step to repeat.")],
) -> None:
    """Repeat one step of a run. Its losses and gradients are printed; nothing is written."""
    from rich.console import Console

    from i2i.registry import default_registry
    from i2i_watch.replay import replay as again

    again(run, step, default_registry(), Console())


def summary(out: Path) -> dict[str, Any]:
    """What is known about a run without loading it: ``running``, ``finished`` or ``stopped``, steps, components."""
    recipe = _recipe(out / "recipe.yaml")
    train = recipe.get("train")
    steps = train.get("steps", 0) if isinstance(train, dict) else 0
    step = max([last_step(out / "metrics.jsonl"), *map(step_of, kept(out))])  # a run that was ended saves between two lines
    steps = steps if type(steps) is int else 0
    state = "running" if is_locked(out) else "finished" if step >= steps else "stopped"
    changed = max((path.stat().st_mtime for path in out.iterdir() if path.is_file()), default=0.0)
    names = {kind: _names(recipe.get(kind)) for kind in ("generator", "loss", "dataset")}
    return {"run": str(out), "state": state, "step": step, "steps": steps, **names, "changed": changed}


def last_step(metrics: Path) -> int:
    """The step of the last complete line, or 0."""
    for line in reversed(metrics.read_text(encoding="utf-8", errors="replace").splitlines() if metrics.is_file() else []):
        try:
            return int(json_module.loads(line)["step"])
        except (ArithmeticError, ValueError, KeyError, TypeError, RecursionError):  # cut off by a crash, or a stranger's
            continue
    return 0


def _recipe(path: Path) -> dict[str, Any]:
    """The recipe as written; empty if it cannot be read."""
    try:
        return dict(read(path).plain())
    except UserError:
        return {}


def _names(slot: Any) -> str:
    """The names of a recipe's components, however they are written."""
    if isinstance(slot, dict) and "name" in slot:
        return printable(str(slot["name"]))
    parts = slot if isinstance(slot, list) else list(slot.values()) if isinstance(slot, dict) else []
    return printable(" + ".join(str(part.get("name")) for part in parts if isinstance(part, dict)))
