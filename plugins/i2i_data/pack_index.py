"""The index of a packed split: which shards there are, and how many samples and bytes each holds. It is written last."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from i2i.errors import UserError
from i2i.files import UNREADABLE, read_json, sync, write_text

MARK = {"i2i": "shard"}
"""In the metadata of every shard: it belongs to a pack, which is whole only with its index."""

LONGEST = 200
"""Bytes of a name; file systems take 255, and temporary names are longer."""

_NAME = re.compile(r"\w[\w.-]*")
_SHARD = re.compile(r"(?P<group>.+)-\d+-of-\d+\.parquet")


def plain_name(name: str, what: str) -> str:
    """The name, if it is a plain file name without folders.

    Raises:
        UserError: it is not.
    """
    if not _NAME.fullmatch(name) or len(name.encode()) > LONGEST:
        raise UserError(
            f"{what}: '{name}' is not a name for a file. Use letters, digits, '_', '-' and '.', at most {LONGEST} bytes."
        )
    return name


def index_of(folder: Path, split: str) -> Path:
    """Where a split's index is."""
    return folder / f"{split}.index.json"


def write_index(folder: Path, split: str, shards: Sequence[Path]) -> None:
    """Count the contents of the shards, which have been written."""
    parts: list[dict[str, Any]] = [
        {"name": shard.name, "samples": _samples(shard), "bytes": shard.stat().st_size} for shard in shards
    ]
    total = {what: sum(part[what] for part in parts) for what in ("samples", "bytes")}
    index = {"i2i": "pack", "split": split, **total, "shards": parts}
    write_text(index_of(folder, split), json.dumps(index, indent=1) + "\n")
    sync(folder)


def check_packs(folder: Path) -> None:
    """Check every pack in a folder of parquet files against its index. Other files are left alone.

    Raises:
        UserError: a pack has no index, or one of its shards is missing or has changed.
    """
    listed = {name for path in sorted(folder.glob("*.index.json")) for name in _check(folder, path)}
    unlisted: dict[str, Path] = {}
    for path in sorted(folder.glob("*.parquet")):
        if path.name not in listed and (found := _SHARD.fullmatch(path.name)):
            unlisted.setdefault(found["group"], path)
    for split, path in unlisted.items():
        if _is_marked(path):
            raise UserError(
                f"{folder}: the pack of the split '{split}' is not complete: {index_of(folder, split).name}, which is written "
                f"last, is missing. Remove {split}-*.parquet and pack it again."
            )


def _check(folder: Path, path: Path) -> list[str]:
    """The names of the shards of a complete pack; empty if the file is not an index of ours."""
    try:
        index: Any = read_json(path)
        if not isinstance(index, dict) or index.get("i2i") != "pack":
            return []
        expected = {str(part["name"]): (int(part["samples"]), int(part["bytes"])) for part in index["shards"]}
    except UNREADABLE as error:
        raise UserError(f"{path}: it cannot be read ({type(error).__name__}: {error}). Copy the pack again.") from error
    for name in expected:
        plain_name(name, str(path))
    missing = [name for name in expected if not (folder / name).is_file()]
    if missing:
        raise UserError(
            f"{folder}: {len(missing)} of {len(expected)} shards are missing, the first is {missing[0]}. Copy the pack again."
        )
    for name, (samples, size) in expected.items():
        if (there := (folder / name).stat().st_size) != size:
            raise UserError(f"{folder / name}: it has {there} bytes, not {size}. Copy the pack again.")
        if (there := _samples(folder / name)) != samples:
            raise UserError(f"{folder / name}: it has {there} samples, not {samples}. Copy the pack again.")
    return list(expected)


def _samples(shard: Path) -> int:
    import pyarrow.parquet  # type: ignore[import-untyped]

    try:
        return int(pyarrow.parquet.read_metadata(shard).num_rows)
    except (OSError, pyarrow.ArrowException) as error:
        raise UserError(f"{shard}: it is not a parquet file ({error}). Copy the pack again.") from error


def _is_marked(shard: Path) -> bool:
    import pyarrow.parquet

    try:
        metadata = pyarrow.parquet.read_schema(shard).metadata or {}
    except (OSError, pyarrow.ArrowException):  # reading it will say what is wrong
        return False
    return all(metadata.get(key.encode()) == value.encode() for key, value in MARK.items())
