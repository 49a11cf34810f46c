"""The server's log on standard error: one line for what went wrong, and not more than so many a minute."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from i2i.errors import one_line

PER_MINUTE = 30
NAMES = ("i2i_serve", "uvicorn.error", "asyncio")
"""The loggers that write here."""
SILENT = "python_multipart"
"""It writes a line for every form that is none, of which the client is told."""

_USUAL = ("returned without completing response", "returned without starting response")
"""Answers to clients that went away, or were too slow to take them: the figures count them."""


class Brief(logging.Filter):
    """Turns a record with a traceback into one line, and holds back what is too much."""

    def __init__(self) -> None:
        super().__init__()
        self.minute, self.count = 0, 0

    def filter(self, record: logging.LogRecord) -> bool:
        said = one_line(record.getMessage())
        if any(usual in said for usual in _USUAL):
            return False
        if record.exc_info and record.exc_info[1] is not None:
            said = f"{said}: {type(record.exc_info[1]).__name__}: {one_line(record.exc_info[1])}"
        record.msg, record.args, record.exc_info, record.exc_text = said, (), None, None
        minute = int(time.monotonic() // 60)
        held, self.count = max(0, self.count - PER_MINUTE), self.count if minute == self.minute else 0
        if minute != self.minute and held:
            record.msg = f"{said} ({held} more lines were left out a minute ago)"
        self.minute, self.count = minute, self.count + 1
        return self.count <= PER_MINUTE


@contextmanager
def brief_log() -> Iterator[None]:
    """The log is brief meanwhile."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("i2i serve: %(message)s"))
    handler.addFilter(Brief())
    loggers = [logging.getLogger(name) for name in NAMES]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
    silent = logging.getLogger(SILENT)
    silent.addHandler(logging.NullHandler())
    before, silent.propagate = silent.propagate, False
    try:
        yield
    finally:
        silent.propagate = before
        for logger in loggers:
            logger.removeHandler(handler)
            logger.propagate = True
