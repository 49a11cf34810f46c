"""Networks that stop between two layers: when their time is over, or when nobody waits for the result any more."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from i2i.errors import UserError


class GoneError(Exception):
    """Nobody waits for the result."""


class Deadline:
    """One for all networks of a process, as only one of them computes at a time."""

    def __init__(self, *modules: nn.Module) -> None:
        self.end, self.seconds, self.gone = float("inf"), 0.0, False
        for module in modules:
            self.watch(module)

    def watch(self, module: nn.Module) -> None:
        """Each of its layers checks the time before it begins."""
        for part in module.modules():
            part.register_forward_pre_hook(lambda *_: self.check())

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Layers that begin later than *seconds* from now end in a UserError."""
        self.end, self.seconds = time.monotonic() + seconds, seconds
        try:
            yield
        finally:
            self.end = float("inf")

    def check(self) -> None:
        """Goes on, or not.

        Raises:
            GoneError: ``gone`` has been set, by another thread.
            UserError: the time is over.
        """
        if self.gone:
            raise GoneError
        if time.monotonic() > self.end:
            raise UserError(f"the translation took longer than {self.seconds:g} s. Give a smaller picture.")
