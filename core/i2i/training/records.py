"""What a run writes into its folder, and the guard before it: the loop calls each by its name (``loop.train``)."""

from dataclasses import dataclass
from typing import Self

from rich.console import Console

from i2i.training.checkpoint import Checkpointing
from i2i.training.finite import Guard
from i2i.training.log import Logging
from i2i.training.samples import Sampling
from i2i.training.state import Run


@dataclass
class Records:
    """Every process has them; the first one alone draws grids."""

    guard: Guard
    log: Logging
    grids: Sampling | None
    checkpoints: Checkpointing

    @classmethod
    def of(cls, run: Run, console: Console, grids: Sampling | None) -> Self:
        """Begin the records of a run that has a folder."""
        log = Logging(run, console)
        return cls(Guard(), log, grids, Checkpointing(log.note))
