"""Files and folders that appear whole or not at all, and survive a crash once they are there."""

import hashlib
import json
import os
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from i2i.errors import UserError, on_disk

if sys.platform != "win32":
    import fcntl

UNREADABLE = (OSError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError)
"""What a damaged or foreign file of JSON raises while it is read and its values are taken for what they should be."""

PARTIAL = re.compile(r"\.[0-9a-f]{12}\.partial(\.\w+)?")
"""How files and folders are called while they are written. Nobody can know such a name before, and lay a link there."""


@contextmanager
def new_file(path: Path, ending: str = "") -> Iterator[Path]:
    """An empty file beside *path*, which becomes *path* once it is on the disk, or is removed if anything fails.

    ``ending`` is for programs that look at it.

    Raises:
        DiskFullError: naming *path*.
    """
    with on_disk(path), _partial(path, ending, lambda partial: partial.touch(exist_ok=False)) as partial:
        yield partial
        sync(partial)
        partial.replace(path)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """The same for a folder, which takes the place of an older one; what is partial itself is written directly."""
    if PARTIAL.fullmatch(folder.name):
        yield folder
        return
    with on_disk(folder), _partial(folder, "", lambda partial: partial.mkdir(parents=True)) as partial:
        yield partial
        put_in_place(partial, folder)


def write_text(path: Path, text: str, errors: str = "strict") -> None:
    """Write UTF-8 text as a new file."""
    with new_file(path) as partial:
        partial.write_text(text, encoding="utf-8", errors=errors)


def append(path: Path, line: str) -> None:
    """Add a line of UTF-8 text to a file, whole or not at all."""
    with on_disk(path), path.open("ab", buffering=0) as file:
        before = file.seek(0, os.SEEK_END)
        try:
            todo = f"{line}\n".encode()
            while todo:
                todo = todo[file.write(todo) :]
        except OSError:
            file.truncate(before)
            raise


def read_bounded(path: Path, most: int) -> bytes:
    """The whole file.

    Raises:
        UserError: it has more than *most* bytes.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise UserError(f"{path}: the file is larger than {most // 2**20} MiB, the limit for such a file.")
    return content


def read_json(path: Path, most: int = 2**28) -> Any:
    """What a JSON file that may be a stranger's holds.

    Raises:
        ValueError: it is not JSON, is nested too deeply, or has more than *most* bytes.
        OSError: it cannot be read.
    """
    return parsed_json(read_bounded(path, most))


def parsed_json(content: str | bytes) -> Any:
    """What a JSON text holds.

    Raises:
        ValueError: it is not JSON, is nested too deeply, or has a number of more digits than Python reads.
    """
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error}") from error
    except ValueError as error:  # of int(); UnicodeDecodeError too
        raise ValueError("a number in it has too many digits" if "digits" in str(error) else str(error)) from error


def sync(path: Path) -> None:
    """Wait until a file or a folder's list of names has reached the disk."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def partial_path(place: Path) -> Path:
    """Where a folder is written before it gets its name."""
    return place.with_name(f".{place.name}.partial")


def partial_of(folder: Path) -> Path:
    """An empty folder at its ``partial_path``; what an earlier attempt has left there is gone."""
    partial = partial_path(folder)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    return partial


def present(folder: Path) -> Path:
    """The folder, or what it was before, where the process ended between the two renames of a replacement."""
    return _aside(folder) if not folder.exists() and _aside(folder).exists() else folder


def put_in_place(partial: Path, folder: Path) -> None:
    """Give a finished folder its name; an older one of that name is kept until then."""
    for path in (*partial.rglob("*"), partial):
        sync(path)
    previous = _aside(folder)
    if folder.exists():
        shutil.rmtree(previous, ignore_errors=True)
        folder.rename(previous)
    try:
        partial.rename(folder)
    except OSError:
        if previous.exists():
            previous.rename(folder)
        raise
    sync(folder.parent)
    shutil.rmtree(previous, ignore_errors=True)


def remove_partials(folder: Path) -> None:
    """Remove what killed processes have left half written below *folder*, which is that of a run."""
    for path in list(folder.rglob(".*.partial*")):
        if path.suffix == ".partial" or PARTIAL.fullmatch(path.name):
            _remove_left(path)


def check_name(path: Path) -> None:
    """Refuse a path that safetensors cannot open.

    Raises:
        UserError: it is not UTF-8.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{path}: this name is not UTF-8, so weights cannot be read from there. Rename it.") from error


def sha256(path: Path) -> str:
    """The hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _partial(place: Path, ending: str, make: Callable[[Path], None]) -> Iterator[Path]:
    """A new temporary file or folder beside *place*, locked so that no other process takes it for left over."""
    _clear(place.parent.absolute())
    while True:
        partial = place.with_name(f".{secrets.token_hex(6)}.partial{ending}")
        make(partial)
        lock = _lock(partial, wait=True)
        if partial.exists():  # nobody was quicker to find it unlocked
            break
    try:
        yield partial
    finally:
        _remove(partial)
        if lock is not None:
            os.close(lock)


@cache
def _clear(folder: Path) -> None:
    """Once in a process: remove what killed ones have left in a folder."""
    for path in list(folder.glob(".*.partial*")):
        if PARTIAL.fullmatch(path.name) and not path.is_symlink():
            _remove_left(path)


def _remove_left(path: Path) -> None:
    with suppress(OSError):
        if (lock := _lock(path)) is not None:
            _remove(path)
            os.close(lock)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _lock(path: Path, wait: bool = False) -> int | None:
    """A handle that keeps other processes from removing a partial; None where there are no locks, or another one has it."""
    if sys.platform == "win32":
        return None
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.previous")
