"""The text of a recipe's file, or what is wrong with the file."""

import stat
from pathlib import Path

from i2i.errors import UserError, nearest

LARGEST = 10**6
"""Bytes of a recipe. PyYAML reads about a quarter of a million of them in a second, and shipped recipes have 3,000 at most."""


def text_of(path: Path) -> str:
    """The text of a regular file of at most LARGEST bytes, UTF-8 with or without a byte order mark.

    Raises:
        UserError: it is not such a file, or cannot be read.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError
        regular = stat.S_ISREG(path.stat().st_mode)
        raw = _begin_of(path) if regular else b""
    except FileNotFoundError as error:
        folder = path.parent
        near = sorted(p.name for p in folder.glob("*") if p.suffix in (".yaml", ".yml")) if folder.is_dir() else []
        there = f" Recipes in {folder}: {', '.join(near[:10])}." if near else ""
        raise UserError(f"there is no file {path}.{nearest(path.name, near)}{there}") from error
    except IsADirectoryError as error:
        inside = next((str(file) for file in (path / "recipe.yaml",) if file.is_file()), "the path of a YAML file")
        raise UserError(f"{path} is a folder, not a recipe: give {inside}.") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    if not regular:
        raise UserError(f"{path} is not a regular file. Save the recipe as a file.")
    if len(raw) > LARGEST:
        raise UserError(f"{path} is larger than {LARGEST // 10**6} MB, so it is not read. Is it a recipe?")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}:{line}: the file is not UTF-8 text. Save it as UTF-8.") from error


def _begin_of(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LARGEST + 1)
