"""Watches runs: warnings, a page, grids for trackers; lists runs, and repeats a step of a run."""

from typing import TYPE_CHECKING

from i2i.hooks import hookimpl

if TYPE_CHECKING:
    from i2i.training.state import Run


@hookimpl
def run_assembled(run: "Run") -> list[object]:
    if not run.accelerator.is_main_process:
        return []
    from i2i_watch.health import Health
    from i2i_watch.report import Report
    from i2i_watch.tracked import TrackedGrids

    return [Health(), TrackedGrids(), Report()]
