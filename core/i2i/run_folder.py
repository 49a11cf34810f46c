"""The folder of a run: that it can be written, holds what it should, and belongs to one run at a time."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from i2i.errors import UserError

LOCK, RECIPE = ".lock", "recipe.yaml"

_PATIENCE = 1.0
"""Seconds: a run that has just ended may still be letting go."""


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Keep other runs out of the folder; the lock goes with the process, however it ends.

    Take it before looking at what the folder holds. What was made for it is removed again if no run begins.

    Raises:
        UserError: another run is at work there.
    """
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    out.mkdir(parents=True, exist_ok=True)
    path = out / LOCK
    new = not path.exists()
    lock = FileLock(path)
    try:
        lock.acquire(timeout=_PATIENCE)
    except Timeout as error:
        raise UserError(f"{out}: another run is at work in this folder. Wait for it, or choose another with --out.") from error
    try:
        yield
    finally:
        if new and not (out / RECIPE).exists():
            path.unlink(missing_ok=True)
        lock.release()
        for folder in made:
            with suppress(OSError):  # it is not empty
                folder.rmdir()


def is_locked(out: Path) -> bool:
    """Whether a process is training into the folder now."""
    lock = out / LOCK
    if not lock.exists():
        return False
    try:
        with FileLock(lock).acquire(timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # a folder that cannot be written to
        return False


def check_place(out: Path) -> None:
    """The folder can be written, or made.

    Raises:
        UserError: it is a file, or there is no permission or no room.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file. Choose another folder with --out.")
    parent = out
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise UserError(f"{out} cannot be written: no permission in {parent}. Choose another folder with --out.")
    free = shutil.disk_usage(parent).free
    if free < 100 * 2**20:
        raise UserError(f"{out}: only {free // 2**20} MiB are free there. Make room or choose another folder with --out.")


def check_content(out: Path, resume: bool) -> None:
    """The folder, which is locked, holds a run exactly if one is to be resumed.

    Raises:
        UserError: otherwise, saying how to resume or choose another folder.
    """
    holds_run = (out / RECIPE).exists()
    if holds_run and not resume:
        raise UserError(f"{out} already holds a run. Continue it with --resume, or choose another folder with --out.")
    if resume and not holds_run:
        raise UserError(f"{out} holds no run to resume. Leave out --resume to start one, or name its folder with --out.")
    if not holds_run and any(path.name != LOCK for path in out.iterdir()):
        raise UserError(f"{out} holds other files. Choose an empty or a new folder with --out.")
