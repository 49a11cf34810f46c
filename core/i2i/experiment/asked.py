"""What ``train`` was asked for: how many steps in all, and in which folder."""

import re
from pathlib import Path
from typing import Any

from i2i.errors import UserError
from i2i.experiment.own import PLUGIN
from i2i.stopping import launched_processes
from i2i.training.run_folder import RECIPE


def steps_in_all(epochs: Any, steps: Any, *, made: int, goal: int | None, epoch: int) -> int:
    """The length of the whole run: *epochs* of *epoch* steps, or *steps*, besides those *made*; without either, the *goal*.

    Raises:
        UserError: both are given, or one is no such number, or there is nothing to go on to.
    """
    if epochs is not None and steps is not None:
        raise UserError("train: give epochs or steps, not both.")
    if steps is None and epochs is None:
        if goal is None or goal <= made:
            raise UserError("train: say for how long: train(epochs=100) or train(steps=1000).")
        return goal
    if steps is None:
        return made + max(1, int(_positive("epochs", epochs) * epoch + 0.5))
    if _positive("steps", steps) != int(steps):
        raise UserError(f"train: steps must be a whole number, not {steps!r}.")
    return made + int(steps)


def given_folder(out: Path, begun: bool) -> Path:
    """The folder that was given for a run, which is not to be resumed; *begun* if this experiment wrote into it.

    Raises:
        UserError: it holds a run.
    """
    if (out / RECIPE).is_file():
        told = "was stopped before its first checkpoint. Choose" if begun else "already holds a run. Continue it with "
        other = "" if begun else f"i2i.Experiment.load({str(out)!r}), or choose"
        raise UserError(f"{out} {told}{other} another folder with out=….")
    return out


def new_folder(name: str) -> Path:
    """``runs/NAME``, or with a number if there is one already.

    Raises:
        UserError: several processes would each choose one.
    """
    if launched_processes() > 1:
        raise UserError("several processes train in one folder: give it to all of them, out='runs/mine'.")
    base, number = Path("runs") / re.sub(r"[^\w.-]+", "-", name.replace(f"{PLUGIN}:", "")), 2
    free = base
    while free.exists():
        free, number = base.with_name(f"{base.name}-{number}"), number + 1
    return free


def _positive(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 10**9:
        raise UserError(f"train: {name} must be a number above 0 and below a billion, not {value!r}.")
    return value
