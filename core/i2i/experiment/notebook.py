"""What a notebook shows while a run trains: a bar, the numbers, and the newest grid of samples."""

import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from html import escape
from pathlib import Path
from typing import Any

from i2i.hooks import hookimpl
from i2i.training.log import epoch_of, totals
from i2i.training.state import Run

PAUSE = 0.5
"""Seconds between two updates of the bar."""


def in_notebook() -> bool:
    """Whether this runs in a notebook's kernel; IPython is not imported to find out."""
    module: Any = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None and hasattr(module, "get_ipython") else None
    return hasattr(shell, "kernel")


class Live:
    """Watches a run. The bar and the grid are two outputs of the cell, each replaced in place."""

    def __init__(self) -> None:
        self.bar: Any = None
        self.grid: Any = None
        self.losses = ""
        self.since, self.first, self.shown = 0.0, 0, 0.0

    @hookimpl
    def run_started(self, run: Run) -> None:
        self.since, self.first = time.monotonic(), run.step
        self._show(run)

    @hookimpl
    def step_ended(self, run: Run) -> None:
        if time.monotonic() - self.shown > PAUSE:
            self._show(run)

    @hookimpl
    def numbers_logged(self, run: Run, values: Mapping[str, float]) -> None:
        if known := {name: values[name] for name in run.terms if name in values}:
            self.losses = totals(known)

    @hookimpl
    def grid_saved(self, path: Path) -> None:
        from IPython.display import Image, display

        picture = Image(data=path.read_bytes(), format="png")  # type: ignore[no-untyped-call]
        if self.grid is None:
            self.bar = self.bar or display(_html("the first grid"), display_id=True)  # type: ignore[no-untyped-call]
            self.grid = display(picture, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self.grid.update(picture)

    @hookimpl
    def run_ended(self, run: Run) -> None:
        self._show(run)

    def _show(self, run: Run) -> None:
        from IPython.display import display

        self.shown, steps = time.monotonic(), run.recipe.train.steps
        made = run.step - self.first
        left = (self.shown - self.since) / made * (steps - run.step) if made else 0
        told = f"{epoch_of(run)}, step {run.step}/{steps}{f', {timedelta(seconds=round(left))} left' if left else ''}"
        told += f" &nbsp; {escape(self.losses)}"
        content = _html(f'<progress value="{run.step}" max="{steps}" style="width: 20em"></progress> {told}')
        if self.bar is None:
            self.bar = display(content, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self.bar.update(content)


def _html(text: str) -> Any:
    from IPython.display import HTML

    return HTML(text)  # type: ignore[no-untyped-call]
