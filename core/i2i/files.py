"""Files and folders that appear whole or not at all, and survive a crash once they are there."""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from i2i.errors import UserError


@contextmanager
def new_file(path: Path, ending: str = ".partial") -> Iterator[Path]:
    """A temporary name next to *path*; the file becomes *path* once it is on the disk, or is removed if anything fails.

    Nobody can know the name before, and lay a link there. ``ending`` is for programs that look at it.
    """
    partial = path.with_name(f".{secrets.token_hex(6)}{ending}")
    try:
        yield partial
        sync(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """The same for a folder, which is there already, and takes the place of an older one."""
    partial = partial_of(folder)
    try:
        yield partial
        put_in_place(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_text(path: Path, text: str, errors: str = "strict") -> None:
    """Write UTF-8 text as a new file."""
    with new_file(path) as partial, partial.open("x", encoding="utf-8", errors=errors) as file:
        file.write(text)


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
    """Remove what a killed process has left half written below *folder*; no process may be using it."""
    for path in list(folder.rglob(".*.partial")):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """The hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.previous")
