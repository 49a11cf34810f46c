"""How a run is asked to stop, and how processes end with the one that started them."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread, Timer
from types import FrameType

if sys.platform == "linux":
    import fcntl

LAUNCHED = "I2I_LAUNCHED"
"""Environment variable of a process that ``launch`` has started; its value is the file by which the processes meet."""

INTERRUPTED = 130
"""The exit code of a run that was asked to stop."""

GRACE = 30.0
"""Seconds in which a run that is asked to end by SIGTERM or SIGHUP must have saved."""

_LOADER_PATIENCE = 60.0
"""Seconds that a loader process goes on after SIGTERM. Longer than any step: what is under way still needs its data."""


def launched_processes() -> int:
    """The number of processes that a launcher, ours or another, says it started; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def stops_when_asked(ask: Callable[[], None], grace: float) -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP *ask* the run to end after the step in progress.

    A second Ctrl-C ends it at once, and so does the end of the *grace* time after one of the others, on which ``launch``
    keeps an eye itself.
    """
    interrupted = False
    limit = _daemon(Timer(grace, _end_late, [grace]))

    def stop(number: int, _frame: FrameType | None) -> None:
        nonlocal interrupted
        if number == signal.SIGINT and interrupted:
            raise KeyboardInterrupt
        interrupted = interrupted or number == signal.SIGINT
        if number != signal.SIGINT and limit.ident is None and LAUNCHED not in os.environ:
            limit.start()
        ask()

    try:
        with on_signals(stop):
            yield
    finally:
        limit.cancel()


@contextmanager
def on_signals(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Within it, *handler* is called for what asks a program to end. SIGHUP stays ignored where it is, as under nohup."""
    asking = [signal.SIGINT, signal.SIGTERM]
    hangup = getattr(signal, "SIGHUP", None)  # Windows has none
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
        asking.append(hangup)
    try:
        before = {number: signal.signal(number, handler) for number in asking}
    except ValueError:  # not in the main thread: signals are not ours to handle
        yield
        return
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def end_with_launcher() -> None:
    """In a process that ``launch`` has started: end at once when the launcher has ended, however that came about.

    The launcher alone holds the other end of standard input, so that it closes with it. A thread waits for that; where the
    kernel can say it by a signal (SIGIO, which ends a process on Linux), this also reaches one that is in a long call of
    native code or on its way out.
    """
    if LAUNCHED in os.environ:
        if sys.platform == "linux":
            fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
            fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)
        Thread(target=_ends_with, args=[lambda: os.read(0, 1)], daemon=True).start()


def loader_started(_number: int) -> None:
    """In a process that loads data: end with the one that trains, and leave the signals that ask it to stop to that one.

    A signal for the whole group or terminal reaches the loaders as well, and the step in progress needs their data.
    """
    from multiprocessing import parent_process  # loaded here anyway, and not for every `--help`

    parent = parent_process()
    assert parent is not None
    Thread(target=_ends_with, args=[parent.join], daemon=True).start()

    def later(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGTERM:  # it may be the trainer itself that wants to be rid of a loader that hangs
            _daemon(Timer(_LOADER_PATIENCE, os._exit, [0])).start()

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), later)


def _ends_with(closed: Callable[[], object]) -> None:
    closed()
    os._exit(1)


def _end_late(grace: float) -> None:
    print(out_of_time(grace), file=sys.stderr, flush=True)
    os._exit(1)


def out_of_time(grace: float) -> str:
    """The message of a run that is ended before it has saved."""
    return (
        f"i2i: the run did not save within {grace:g} s (--grace) and was ended. Go on from its last checkpoint with --resume."
    )


def _daemon(timer: Timer) -> Timer:
    timer.daemon = True
    return timer
