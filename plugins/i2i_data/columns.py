"""Columns of pictures: what a cell holds, and how it is read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from i2i.errors import UserError
from i2i.pictures.reading import read
from i2i.pictures.sources import Blob, Loaded, Source
from i2i.protocols import Domain
from i2i_data.ids import wanted, with_instances


@dataclass(frozen=True)
class Column:
    """One side's column, and the domain of its pictures."""

    name: str
    domain: Domain

    def load(self, source: Source) -> Loaded:
        return read(source, self.domain) if self.domain.kind == "image" else with_instances(source, self.domain)


def picture_in(cell: Any, where: str) -> Source:
    """The picture file in a cell that was not decoded.

    Raises:
        UserError: there is none.
    """
    if not isinstance(cell, dict) or (cell.get("bytes") is None and not cell.get("path")):
        raise UserError(f"{where}: the cell is empty. Remove the row.")
    if cell["bytes"] is not None:
        return Blob(cell["bytes"], where)
    if "://" not in cell["path"]:
        return Path(cell["path"])
    import fsspec  # type: ignore[import-untyped]

    try:
        with fsspec.open(cell["path"], "rb") as file:
            return Blob(file.read(), f"{where} ({cell['path']})")
    except Exception as error:  # file systems of all kinds raise all kinds of errors
        raise UserError(f"{where}: {cell['path']} cannot be read ({error}). Check the network.") from error


def encoded(data: Any, column: str, source: str) -> Any:
    """The data with a column of pictures whose cells are dicts of bytes and path.

    Raises:
        UserError: there is no such column, or it holds no pictures.
    """
    from datasets import Image, Value  # type: ignore[import-untyped]

    if data.features is None:
        raise UserError(
            f"{source}: the columns of this source are not known in streaming. Leave 'streaming' out, or pack it as parquet."
        )
    wanted(column, list(data.features), "column", source)
    feature = data.features[column]
    kind = getattr(feature, "dtype", None)
    if isinstance(feature, Image) or (isinstance(feature, Value) and kind in ("string", "binary", "large_binary")):
        return data.cast_column(column, Image(decode=False))
    if isinstance(feature, dict) and {"bytes", "path"} <= set(feature):
        return data
    images = [name for name, other in data.features.items() if isinstance(other, Image)]
    there = f" Columns of pictures: {', '.join(images)}." if images else ""
    raise UserError(f"{source}: the column '{column}' holds {feature}, not pictures.{there}")


def check_labels(column: str, data: Any, source: str) -> None:
    """Raises UserError if there is no such column, or if it holds pictures, which ``datasets`` would decode itself."""
    from datasets import ClassLabel, Value

    wanted(column, list(data.features), "column", source)
    if not isinstance(data.features[column], ClassLabel | Value):
        raise UserError(f"{source}: the column '{column}' holds pictures, not labels. Name a column of labels in 'by'.")
