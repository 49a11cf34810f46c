"""The folder of a run: that it can be written, holds what it should, and belongs to one run at a time."""

import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from i2i.errors import UserError
from i2i.files import PARTIAL, check_name

if TYPE_CHECKING:
    from accelerate import Accelerator

LOCK, MARK, RECIPE = ".lock", ".lock-mark", "recipe.yaml"

_PATIENCE, _NETWORK_PATIENCE = 1.0, 10.0
"""Seconds: a run that has just ended may still be letting go, and what was written may take a while to be seen elsewhere."""


def folder_of(recipe: Path, out: Path | None, resume: bool) -> Path:
    """The folder for a run: *out*, or ``runs/NAME``, or to resume a run from its own recipe that run's folder.

    A plugin's recipe, ``PLUGIN:NAME``, goes to ``runs/PLUGIN-NAME``.
    """
    own = recipe.name == RECIPE and any((recipe.parent / name).exists() for name in (LOCK, "checkpoints"))
    return out or (recipe.parent if resume and own else Path("runs") / recipe.stem.replace(":", "-"))


@contextmanager
def locked(out: Path, process: int = 0) -> Iterator[None]:
    """Keep other runs out of the folder as long as this process lives, however it ends.

    Take it before looking at what the folder holds. Each *process* of a run has a lock of its own, and the first one makes
    sure that all are free: a run cannot begin while one of an earlier run is still going. What was made for the lock is
    removed again if no run begins.

    Raises:
        UserError: another run is using it.
    """
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    out.mkdir(parents=True, exist_ok=True)
    path = out / (f"{LOCK}-{process}" if process else LOCK)
    new = not path.exists()
    lock = FileLock(path)
    try:
        lock.acquire(timeout=_PATIENCE)
        if process == 0 and any(_held(other, _PATIENCE) for other in out.glob(f"{LOCK}-*")):
            lock.release()
            raise Timeout(str(path))
    except Timeout as error:
        raise busy(out) from error
    try:
        yield
    finally:
        if new and not (out / RECIPE).exists():
            for mine in out.glob(f"{LOCK}*") if process == 0 else [path]:
                mine.unlink(missing_ok=True)
        lock.release()
        for folder in made:
            with suppress(OSError):  # it is not empty
                folder.rmdir()


def busy(out: Path) -> UserError:
    """The message if another run is using the folder."""
    return UserError(f"{out}: another run is using this folder. Wait until it ends, or choose another with --out.")


def is_locked(out: Path) -> bool:
    """Whether a process is training into the folder now."""
    return any(_held(lock) for lock in out.glob(f"{LOCK}*"))


def _held(lock: Path, patience: float = 0) -> bool:
    try:
        with FileLock(lock).acquire(timeout=patience):
            return False
    except Timeout:
        return True
    except OSError:  # a folder that cannot be written to
        return False


def check_shared(out: Path, accelerator: "Accelerator") -> None:
    """Every process sees the folder that the first one has locked; all of them call this.

    Raises:
        UserError: one does not, as several nodes have each a folder of that name.
    """
    if accelerator.num_processes == 1:
        return
    from accelerate.utils import broadcast_object_list, gather_object

    token = [secrets.token_hex(8)]
    if accelerator.is_main_process:
        (out / MARK).write_text(token[0], encoding="utf-8")
    broadcast_object_list(token)
    seen = _appears(out / MARK, token[0])
    blind = sorted({node for node, sees in gather_object([(socket.gethostname(), seen)]) if not sees})
    if accelerator.is_main_process:
        (out / MARK).unlink()
    if blind:
        raise UserError(
            f"{out}: {', '.join(blind)} does not see the run folder of the first process. All nodes need the same "
            "folder: with --out, name one on a disk that they share."
        )


def _appears(mark: Path, text: str) -> bool:
    """Whether the file is there with that text, or soon: a network's disk may take a while."""
    until = time.monotonic() + _NETWORK_PATIENCE
    while True:
        with suppress(OSError):
            if mark.read_text(encoding="utf-8") == text:
                return True
        if time.monotonic() > until:
            return False
        time.sleep(0.1)


def check_place(out: Path) -> None:
    """Check that the folder can be written or created.

    Raises:
        UserError: it is a file, its name is not UTF-8, or there is no permission or disk space.
    """
    check_name(out)
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file. Choose another folder with --out.")
    parent = out
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise UserError(f"{out} cannot be written: no permission in {parent}. Choose another folder with --out.")
    free = shutil.disk_usage(parent).free
    if free < 100 * 2**20:
        raise UserError(f"{out}: only {free // 2**20} MiB are free. Free some space, or choose another folder with --out.")


def check_content(out: Path, resume: bool) -> None:
    """Check that the folder holds a run if and only if one is resumed. To write there, lock it first.

    Raises:
        UserError: otherwise, saying how to resume or choose another folder.
    """
    holds_run = (out / RECIPE).is_file()
    if holds_run and not resume:
        raise UserError(f"{out} already holds a run. Continue it with --resume, or choose another folder with --out.")
    if resume and not holds_run:
        raise UserError(f"{out} holds no run to resume. Leave out --resume to start one, or name its folder with --out.")
    names = [path.name for path in out.iterdir()] if out.exists() else []
    if not holds_run and any(not name.startswith(LOCK) and not PARTIAL.fullmatch(name) for name in names):
        raise UserError(f"{out} holds other files. Choose an empty or a new folder with --out.")
