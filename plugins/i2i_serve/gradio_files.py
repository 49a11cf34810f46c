"""The folder of what Gradio's clients upload and get: bounded, and removed when the server ends, or else at the next start."""

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from i2i.errors import UserError

PREFIX = "i2i-gradio-"
KEPT_BYTES, KEPT_FILES = 2**30, 2000
"""Uploads and results are kept up to this size and number; then the oldest go."""
EVERY = 50
"""The folder is looked through after so many new files."""

_LOCK = ".lock"
_YOUNG = 60
"""Seconds in which a new folder may still have nobody who holds its lock."""


def settings(folder: Path) -> dict[str, str]:
    """What Gradio reads from the environment: files go into *folder*, and nothing is looked up elsewhere."""
    return {
        "GRADIO_TEMP_DIR": str(folder),
        "GRADIO_EXAMPLES_CACHE": str(folder / "examples"),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_OFFLINE": "1",
    }


class Files:
    """Uploads and results in *folder*; nothing outside it is read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.new = 0

    def own(self, path: Any) -> Path:
        """The place of a file in the folder, links resolved.

        Raises:
            UserError: *path* is not an absolute path, or it leads out of the folder.
        """
        try:
            if not isinstance(path, str) or not Path(path).is_absolute():
                raise ValueError(path)
            file = Path(path).resolve()
            inside = file.is_relative_to(self.folder)
            with suppress(FileNotFoundError, NotADirectoryError):  # uploads go after a while
                _ = inside and file.stat()
        except (ValueError, OSError) as error:  # no file can be called so
            told = "a picture is an uploaded file. Upload it first, and name the path that the upload answers."
            raise UserError(told) from error
        if not inside:
            raise UserError(f"{Path(path).name}: only uploaded files can be translated. Upload it first.")
        return file

    def place(self) -> Path:
        """A new folder for results."""
        self.added()
        folder = self.folder / "results" / secrets.token_hex(16)
        folder.mkdir(parents=True)
        return folder

    def added(self) -> None:
        """A file is about to be added: every so often the oldest go."""
        self.new += 1
        if self.new >= EVERY:
            self.new = 0
            self.prune()

    def prune(self) -> None:
        """Delete the oldest files until the rest is few and small enough, and folders that are empty then."""
        files = [path for path in self.folder.rglob("*") if path.is_file() and path.name != _LOCK]
        aged = sorted(((path.stat(), path) for path in files), key=lambda pair: pair[0].st_mtime)
        total, count = sum(stat.st_size for stat, _ in aged), len(aged)
        for stat, path in aged:
            if total <= KEPT_BYTES and count <= KEPT_FILES:
                break
            path.unlink(missing_ok=True)
            total, count = total - stat.st_size, count - 1
            with suppress(OSError):  # others are in it
                path.parent.rmdir()


@contextmanager
def served_folder() -> Iterator[Path]:
    """A temporary folder that goes at the end; those of servers that were killed go now."""
    remove_abandoned(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name, FileLock(Path(name) / _LOCK):
        yield Path(name).resolve()


def remove_abandoned(place: Path) -> None:
    """Remove this account's folders in *place* whose lock nobody holds."""
    for folder in place.glob(f"{PREFIX}*"):
        with suppress(OSError, Timeout):
            stat = folder.lstat()
            if folder.is_symlink() or stat.st_uid != os.getuid() or time.time() - stat.st_mtime < _YOUNG:
                continue
            with FileLock(folder / _LOCK, timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
