"""A process for each thing that is timed, so that it shares neither memory nor threads with the others."""

from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

PAUSE = 0.2
"""Seconds until another process's threads have stopped waiting busily."""


def started(work: Callable[..., None], *given: Any) -> Connection:
    """This side's end of a pipe to a new process, which does ``work(*given, its end)``."""
    context = get_context("spawn")
    end, other = context.Pipe()
    context.Process(target=work, args=(*given, other), daemon=True).start()
    other.close()
    return end


def asked(end: Connection) -> float:
    """Let the process at the other end run once, and return its seconds."""
    end.send("go")
    seconds: float = end.recv()
    return seconds
