"""``hub``: any source of Hugging Face ``datasets``: its name on the hub, a folder, or parquet, arrow or csv files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from i2i.errors import UserError
from i2i.pictures.reading import probe
from i2i.pictures.sources import Loaded, Source, content
from i2i.protocols import Domain
from i2i_data.columns import Column, check_labels, encoded, picture_in
from i2i_data.fitting import fits
from i2i_data.holdout import those_of
from i2i_data.hub_source import on_hub, open_split, place_of
from i2i_data.hub_stream import BUFFER, Streamed, epoch_length, reader
from i2i_data.ids import Color, Table, counted, encoded_ids, label_domain, wanted
from i2i_data.label_maps import Classes, Colors, DontCare, Offset
from i2i_data.sides import Corrupt, Names, Side, Sides, check_domains, image_domain, joined_sides, log
from i2i_data.sizes import Size, size_of
from i2i_data.sources import READ, Reading, Readings
from i2i_data.transforms import PUBLISHED, Transform, Varied

TWO = ("imageA", "imageB")
"""The columns of pairs, as ``i2i data pack`` writes them."""


@dataclass(frozen=True)
class ColumnSide:
    """One column of pictures; ``rows`` are those of its table, the one at ``place``, that belong to the side."""

    column: Column
    data: Any  # a datasets.Dataset with this one column, not decoded
    rows: Sequence[int]
    place: str

    @property
    def domain(self) -> Domain:
        return self.column.domain

    def __len__(self) -> int:
        return len(self.rows)

    def name(self, index: int) -> str:
        return f"row {self.rows[index]}, column '{self.column.name}'"

    def identity(self, index: int) -> str:
        return f"{self.place}: {self.name(index)}"

    def described(self) -> Any:
        """The rows and the sizes of a hundred pictures, for a fingerprint."""
        some = range(0, len(self), -(-len(self) // 100))
        return self.column, self.rows, [len(content(self.source(index))) for index in some]

    def source(self, index: int) -> Source:
        """The picture file in a cell."""
        return picture_in(self.data[self.rows[index]][self.column.name], self.name(index))

    def load(self, index: int) -> Loaded:
        return self.column.load(self.source(index))

    def size(self, index: int) -> Size:
        return size_of(self.source(index), lambda: self.load(index).pixels)

    def probe(self, index: int) -> tuple[str, ...]:
        return probe(self.source(index))

    def encoded(self, index: int) -> bytes:
        return content(self.source(index)) if self.domain.kind == "image" else encoded_ids(self.load(index).pixels)

    def take(self, indices: Sequence[int]) -> "ColumnSide":
        return replace(self, rows=[self.rows[i] for i in indices])


class Part(BaseModel):
    """Where the pictures of one domain are."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    column: str = "image"
    """The column of its pictures."""
    value: str | None = None
    """Only the rows that have this value in the column 'by'."""
    source: str | None = None
    """A source of its own."""
    split: str | None = None
    """A split of its own."""


Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, lt=1)]


@fits
def hub(
    *,
    source: Annotated[str, Field(description="A name on the hub, a folder, or parquet, arrow or csv files.")],
    domains: Annotated[
        dict[str, str | Part] | None,
        Field(description="Any number of domains: the key of each, which is its name, and its column, or more."),
    ] = None,
    source_b: Annotated[str | None, Field(description="Another source for the side b, unpaired.")] = None,
    columns: Annotated[tuple[str, str], Field(description="The columns of the two sides.")] = TWO,
    paired: Annotated[bool, Field(description="The pictures of a row are aligned.")] = True,
    by: Annotated[str | None, Field(description="A column of labels that separates the two sides.")] = None,
    values: Annotated[tuple[str, str] | None, Field(description="The values of that column for a and for b.")] = None,
    split: Annotated[str, Field(description="The source's split; only train is varied at random.")] = "train",
    holdout: Annotated[
        Share | None,
        Field(description="The fraction of the rows of train held out for val and test, for a source without them."),
    ] = None,
    split_b: Annotated[str | None, Field(description="Another split for the side b, unpaired.")] = None,
    config: Annotated[str | None, Field(description="The source's configuration, where it has several.")] = None,
    cache: Annotated[str | None, Field(description="The folder for downloads. Default: that of the package datasets.")] = None,
    labels: Annotated[str | None, Field(description="The side (a or b) or the domain whose pictures are label maps.")] = None,
    classes: Classes = None,
    colors: Colors = None,
    offset: Offset = 0,
    dont_care: DontCare = None,
    instances: Annotated[bool, Field(description="Maps hold instance numbers too.")] = False,
    names: Names = ("a", "b"),
    read: Readings = None,
    read_a: Reading = READ,
    read_b: Reading = READ,
    transform: Varied = PUBLISHED,
    corrupt: Corrupt = "keep",
    streaming: Annotated[bool, Field(description="Read without storing.")] = False,
    shuffle_buffer: Annotated[
        Count | None, Field(description="Rows of a stream that are shuffled at a time. Default: 1000.")
    ] = None,
    samples: Annotated[
        Count | None,
        Field(
            description="Samples in an epoch, if a stream does not know its length.",
            validation_alias=AliasChoices("samples", "length"),  # its name in the recipes of older runs
        ),
    ] = None,
) -> Sides | Streamed:
    """Two ``columns`` of one source, or with ``source_b`` (or ``split_b``) one of each of two sources, which are unpaired.

    With ``by`` and ``values`` the rows of the two sides come from one column of pictures, unpaired. ``domains`` says all of
    this of any number of domains. What the numbers of label maps mean is said as for the data set ``labels``. Set
    HF_HUB_OFFLINE=1 where there is no network.
    """
    if domains is not None:
        for_two = {"source_b": source_b, "columns": columns != TWO, "values": values, "split_b": split_b}
        for_two |= {"names": names != ("a", "b"), "read_a": read_a != READ, "read_b": read_b != READ}
        parts = {key: Part(column=part) if isinstance(part, str) else part for key, part in domains.items()}
        check_domains(parts, read, for_two)
        named, reads = {key: key for key in parts}, {key: (read or {}).get(key, READ) for key in parts}
    else:
        if read:
            raise UserError("'read' goes with 'domains'. For two sides give read_a and read_b.")
        value_a, value_b = values or (None, None)
        b = Part(column=columns[1], value=value_b, source=source_b, split=split_b)
        parts = {"a": Part(column=columns[0], value=value_a), "b": b}
        named, reads = dict(zip("ab", names, strict=True)), {"a": read_a, "b": read_b}
    apart = any(part.value is not None or part.source is not None or part.split is not None for part in parts.values())
    if paired and (apart or by is not None):
        raise UserError("two sources, or two values of one column, hold no pairs: set paired to false.")
    told = "'value' of each domain" if domains is not None else "'values'"
    if any((by is None) != (part.value is None) for part in parts.values()):
        raise UserError(f"'by' names a column of labels and {told} the labels of the sides: give both or neither.")
    if labels is not None:
        wanted(labels, list(parts), "domain", "labels")
    _check_streaming(streaming, shuffle_buffer, samples, corrupt)
    if holdout is not None:
        _check_holdout(holdout, split, streaming, [part.split for part in parts.values()])
    sources = {key: part.source or source for key, part in parts.items()}
    splits = {key: part.split or (split if holdout is None else "train") for key, part in parts.items()}
    once: dict[tuple[str, str], Any] = {}
    opened, described = {}, {}
    for key, part in parts.items():
        place = sources[key], splits[key]
        opened[key] = once[place] = once[place] if place in once else open_split(*place, config, cache, streaming)
        domain = image_domain(named[key], reads[key])
        if labels == key:
            domain = _meaning(named[key], classes, colors, offset, dont_care, instances)
        described[key] = Column(part.column, domain)
    only = {key: (by, part.value) for key, part in parts.items() if by is not None and part.value is not None}
    places = {key: place_of(sources[key], splits[key]) for key in parts}
    whole = tuple(dict.fromkeys(place for key, (place, all_) in places.items() if all_ or parts[key].split or holdout))
    if streaming:
        streamed = _streamed(described, opened, sources, only, paired, transform, split, shuffle_buffer or BUFFER, samples)
        return replace(streamed, unsplit=whole)
    sides: dict[str, Side] = {}
    for key, column in described.items():
        data = opened[key]
        rows: Sequence[int] = _rows(data, *only[key], sources[key]) if key in only else range(len(data))
        if holdout is not None:
            rows = those_of(split, holdout, rows, str, f"{len(rows)} rows of {sources[key]}")
        cells = encoded(data, column.name, sources[key]).select_columns([column.name])
        sides[key] = ColumnSide(column, cells, rows, places[key][0])
    return joined_sides(sides, paired=paired, transform=transform, split=split, corrupt=corrupt, unsplit=whole)


vars(hub)["on_hub"] = on_hub


def _check_holdout(share: float, split: str, streaming: bool, own: Sequence[str | None]) -> None:
    if streaming:
        raise UserError("holdout: a stream is not divided by rows. Leave 'streaming' or 'holdout' out.")
    if split not in ("train", "val", "test") or any(own):
        raise UserError(f"holdout: {share} divides the split 'train', for train, val and test. Leave other splits out.")


def _check_streaming(streaming: bool, shuffle_buffer: int | None, samples: int | None, corrupt: Corrupt) -> None:
    if not streaming and (shuffle_buffer is not None or samples is not None):
        raise UserError("shuffle_buffer and samples belong to streaming: set streaming to true, or leave them out.")
    if streaming and corrupt != "keep":
        raise UserError(f"corrupt: {corrupt} would read everything before training, which a stream cannot. Leave it out.")


def _streamed(
    columns: Mapping[str, Column],
    opened: Mapping[str, Any],
    sources: Mapping[str, str],
    only: Mapping[str, tuple[str, str]],
    paired: bool,
    transform: Transform,
    split: str,
    buffer: int,
    samples: int | None,
) -> Streamed:
    train = split.lower().startswith("train")
    kept = buffer if train and buffer > 1 else None
    first = next(iter(columns))
    if paired:
        readers = dict.fromkeys(columns, reader(0, opened[first], list(columns.values()), sources[first], kept, None))
    else:
        each = enumerate(columns.items())
        readers = {key: reader(i, opened[key], [column], sources[key], kept, only.get(key)) for i, (key, column) in each}
    count = epoch_length(samples, opened, sources[first], bool(only))
    notes = [f"streaming: shuffled among {buffer} rows at a time; a resume reads its epoch's rows again up to its place"]
    for note in notes if train else ():
        log.warning(note)
    return Streamed(columns, readers, paired, transform, train, count, notes)


def _meaning(
    name: str,
    classes: int | list[str] | None,
    colors: list[Color] | None,
    offset: int,
    dont_care: list[int] | None,
    instances: bool,
) -> Domain:
    count, named = counted(classes, colors)
    table = Table(count, offset, tuple(dont_care or ()), tuple(colors or ()))
    return label_domain(name, table, named, colors or [], instances)


def _rows(data: Any, by: str, value: str, source: str) -> list[int]:
    """The rows whose label, its name or its number as text, is *value*."""
    check_labels(by, data, source)
    names = getattr(data.features[by], "names", None)
    labels = [names[label] if names and isinstance(label, int) and label >= 0 else str(label) for label in data[by]]
    wanted(value, sorted(set(labels)), f"value in the column '{by}'", source)
    return [row for row, label in enumerate(labels) if label == value]
