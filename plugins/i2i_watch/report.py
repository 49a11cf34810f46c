"""report.html: one page that shows a run, readable without a network or a server, from its first step on."""

import html
import math
import time
from contextlib import suppress
from pathlib import Path

from i2i.errors import DiskFullError, printable
from i2i.files import write_text
from i2i.hooks import hookimpl
from i2i.training.log import read_metrics
from i2i.training.state import Run
from i2i_watch.grids import Grids, slider
from i2i_watch.page import curves, grouped, page

PAGE = "report.html"
SHARE, LEAST = 0.02, 5.0
"""Of the time, at most, that is spent on the page; and the seconds between two of them, at least."""
AT_ONCE, TAIL = 4, 40
"""Grids that are compressed for a page while the run goes on; lines of the log on it."""


class Report:
    """Writes the page when there are new numbers or grids, as often as ``SHARE`` allows, and at the end."""

    def __init__(self) -> None:
        self.grids = Grids()
        self.due = 0.0

    @hookimpl
    def numbers_logged(self, run: Run) -> None:
        self._refresh(run)

    @hookimpl
    def grid_saved(self, run: Run) -> None:
        self._refresh(run)

    @hookimpl
    def run_ended(self, run: Run) -> None:
        self._write(run, "ended" if run.step >= run.recipe.train.steps else "was stopped; it can be continued")

    @hookimpl
    def run_failed(self, run: Run, error: BaseException) -> None:
        with suppress(OSError, DiskFullError):  # a full disk, which is what failed: the run's own message is the one to see
            self._write(run, "failed", printable(str(error) or type(error).__name__))

    @hookimpl
    def closing_lines(self, run: Run) -> dict[str, str]:
        assert run.out is not None
        return {"report": str(run.out / PAGE)}

    def _refresh(self, run: Run) -> None:
        begun = time.monotonic()
        if run.out is not None and begun >= self.due:
            try:
                self._write(run, "was in progress; reload this page to see more", most=AT_ONCE)
            except (OSError, DiskFullError) as error:  # no reason to end the training, which does not need the page
                run.note(f"warning: {PAGE} cannot be written ({error}); the next one comes at the end")
                self.due = math.inf
                return
            ended = time.monotonic()
            self.due = ended + max(LEAST, (ended - begun) / SHARE)

    def _write(self, run: Run, state: str, failure: str = "", most: int | None = None) -> None:
        assert run.out is not None
        title = f"{run.out.name}: step {run.step} of {run.recipe.train.steps}"
        told = f"Written at {time.strftime('%Y-%m-%d %H:%M:%S')}, when the run {state}."
        epoch, expected = run.recipe.train.epoch, run.recipe.train.steps // run.recipe.samples.every + 2
        shown = render(run.out, title, told, run.recipe.to_yaml(), failure, epoch, self.grids, expected, most)
        write_text(run.out / PAGE, shown)


def render(
    out: Path,
    title: str,
    told: str,
    recipe: str,
    failure: str = "",
    epoch: int | None = None,
    grids: Grids | None = None,
    expected: int = 0,
    most: int | None = None,
) -> str:
    """The page of the run folder *out* as one self-contained string; *told* and *failure* say how the run stands.

    An *epoch* has that number of steps; *grids*, *expected* and *most* are those of :meth:`Grids.of`.
    """
    metrics = read_metrics(out / "metrics.jsonl")
    shown = (grids or Grids()).of(out / "samples", expected, most)
    failed = f'<p class="failed"><b>The run failed.</b> {html.escape(failure)}</p>' if failure else ""
    groups = grouped([metrics])
    body = (
        f'<p class="soft">{html.escape(told)}</p>{failed}{slider(shown, len(list((out / "samples").glob("step-*.png"))))}'
        f"{curves(groups, epoch)}{_folded('Recipe', recipe)}{_folded('The last lines of the log', _tail(out / 'log.txt'))}"
    )
    return page(title, body, groups, epoch=epoch, grids=[{"step": step, "src": source} for step, source in shown])


def _folded(title: str, text: str) -> str:
    return f"<h2>{title}</h2><details><summary>Show</summary><pre>{html.escape(text)}</pre></details>" if text else ""


def _tail(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:] if path.is_file() else []
    return "\n".join(printable(line) for line in lines)
