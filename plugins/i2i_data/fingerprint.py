"""Identifies data in any location: the names and sizes of files below a common folder, and how samples are made of them."""

import os
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

SIZES = 1000
"""The number of files of a side whose sizes are compared: on a network disk each takes a while."""


def fingerprint(*parts: Any) -> str:
    """A hash of values and data classes in which paths count by their names below their common folder."""
    return sha256(repr([_described(part) for part in parts]).encode()).hexdigest()


def _described(value: Any) -> Any:
    """The value in plain terms, the same on every machine."""
    if hasattr(value, "described"):
        return _described(value.described())
    if is_dataclass(value):
        compared = {field.name: _described(getattr(value, field.name)) for field in fields(value) if field.compare}
        return type(value).__name__, compared
    if isinstance(value, Path):
        return _files([value])
    if isinstance(value, list | tuple):
        return _files(value) if value and isinstance(value[0], Path) else [_described(item) for item in value]
    if isinstance(value, dict):
        return {key: _described(item) for key, item in value.items()}
    return repr(value)


def _files(files: Sequence[Path]) -> Any:
    base = os.path.commonpath([file.parent.absolute() for file in files])
    names = [file.absolute().relative_to(base).as_posix() for file in files]
    return names, [file.stat().st_size for file in files[:: -(-len(files) // SIZES)]]
