"""``hub``: any source of Hugging Face ``datasets``: a hub name, a folder, parquet or arrow files, pictures with metadata."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from i2i.errors import UserError
from i2i.protocols import Domain
from i2i_data.hub_source import open_split
from i2i_data.ids import Color, Table, counted, encoded_ids, label_domain, read_ids, wanted, with_instances
from i2i_data.label_maps import Byte
from i2i_data.reading import probe, read_image
from i2i_data.sides import Corrupt, Names, Side, TwoSides, image_domain, two_sides
from i2i_data.sources import READ, Blob, Loaded, Read, Source, content
from i2i_data.transforms import PUBLISHED, Transform


@dataclass(frozen=True)
class ColumnSide:
    """One column of pictures; ``rows`` are those of its table that belong to the side."""

    domain: Domain
    data: Any  # a datasets.Dataset with this one column, not decoded
    column: str
    rows: Sequence[int]
    read: Read
    table: Table | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def name(self, index: int) -> str:
        return f"row {self.rows[index]}, column '{self.column}'"

    def source(self, index: int) -> Source:
        """The picture file in a cell."""
        where = self.name(index)
        cell = self.data[self.rows[index]][self.column]
        if not isinstance(cell, dict) or (cell.get("bytes") is None and not cell.get("path")):
            raise UserError(f"{where}: the cell is empty. Remove the row.")
        if cell["bytes"] is None:
            return Path(cell["path"])
        return Blob(cell["bytes"], where)

    def load(self, index: int) -> Loaded:
        source = self.source(index)
        if self.table is None:
            return read_image(source, self.read)
        return Loaded(with_instances(read_ids(source, self.table, self.domain), None, self.domain, source))

    def probe(self, index: int) -> tuple[str, ...]:
        return probe(self.source(index))

    def encoded(self, index: int) -> bytes:
        return content(self.source(index)) if self.table is None else encoded_ids(self.load(index).pixels)

    def take(self, indices: Sequence[int]) -> "ColumnSide":
        return replace(self, rows=[self.rows[i] for i in indices])


def hub(
    *,
    source: str,
    source_b: str | None = None,
    columns: tuple[str, str] = ("imageA", "imageB"),
    paired: bool = True,
    by: str | None = None,
    values: tuple[str, str] | None = None,
    split: str = "train",
    split_b: str | None = None,
    config: str | None = None,
    cache: str | None = None,
    labels: Literal["a", "b"] | None = None,
    classes: Annotated[int, Field(ge=1, le=65535)] | list[str] | None = None,
    colors: list[tuple[Byte, Byte, Byte]] | None = None,
    offset: int = 0,
    dont_care: list[int] | None = None,
    instances: bool = False,
    names: Names = ("a", "b"),
    read_a: Read = READ,
    read_b: Read = READ,
    transform: Transform = PUBLISHED,
    corrupt: Corrupt = "keep",
) -> TwoSides:
    """Two ``columns`` of one source, or with ``source_b`` (or ``split_b``) one of each of two sources, which are unpaired.

    A source is a name on the hub, a folder, or parquet or arrow files. With ``by``, a column of labels, and its two
    ``values``, the rows of the two sides come from one column of pictures, unpaired. ``labels`` is the side whose pictures are
    label maps; what their numbers mean is said as for the data set ``labels``. Set HF_HUB_OFFLINE=1 where there is no network.
    """
    if paired and (source_b is not None or split_b is not None or by is not None):
        raise UserError("two sources, or two values of one column, hold no pairs: set paired to false.")
    if (by is None) != (values is None):
        raise UserError("'by' names a column of labels and 'values' the labels of the two sides: give both or neither.")
    first = open_split(source, split, config, cache)
    second = first
    if source_b is not None or split_b is not None:
        second = open_split(source_b or source, split_b or split, config, cache)
    opened = {"a": first, "b": second}
    sides: dict[str, Side] = {}
    for i, (key, read) in enumerate((("a", read_a), ("b", read_b))):
        table = None
        domain = image_domain(names[i], read)
        if labels == key:
            table, domain = _meaning(names[i], classes, colors, offset, dont_care, instances)
        data = opened[key]
        rows = range(len(data)) if by is None or values is None else _rows(data, by, values[i], source)
        wanted(columns[i], data.column_names, "column", source if key == "a" else source_b or source)
        sides[key] = ColumnSide(domain, _encoded_column(data, columns[i], source), columns[i], rows, read, table)
    return two_sides(sides["a"], sides["b"], paired=paired, transform=transform, split=split, corrupt=corrupt)


def _meaning(
    name: str,
    classes: int | list[str] | None,
    colors: list[Color] | None,
    offset: int,
    dont_care: list[int] | None,
    instances: bool,
) -> tuple[Table, Domain]:
    count, named = counted(classes, colors)
    table = Table(count, offset, tuple(dont_care or ()), tuple(colors or ()))
    return table, label_domain(name, table, named, colors or [], instances)


def _rows(data: Any, by: str, value: str, source: str) -> list[int]:
    """The rows whose label, its name or its number as text, is *value*."""
    wanted(by, data.column_names, "column", source)
    names = getattr(data.features[by], "names", None)
    labels = [names[label] if names and isinstance(label, int) and label >= 0 else str(label) for label in data[by]]
    wanted(value, sorted(set(labels)), f"value in the column '{by}'", source)
    return [row for row, label in enumerate(labels) if label == value]


def _encoded_column(data: Any, column: str, source: str) -> Any:
    """The column alone, each cell a dict of bytes and path."""
    from datasets import Image, Value  # type: ignore[import-untyped]

    feature = data.features[column]
    single = data.select_columns([column])
    kind = getattr(feature, "dtype", None)
    if isinstance(feature, Image) or (isinstance(feature, Value) and kind in ("string", "binary", "large_binary")):
        return single.cast_column(column, Image(decode=False))
    if isinstance(feature, dict) and {"bytes", "path"} <= set(feature):
        return single
    images = [name for name, other in data.features.items() if isinstance(other, Image)]
    there = f" Columns of pictures: {', '.join(images)}." if images else ""
    raise UserError(f"{source}: the column '{column}' holds no pictures but {feature}.{there}")
