"""Streaming from Hugging Face ``datasets``: rows are read from front to back, shuffled within a buffer, and not stored."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from i2i.errors import UserError
from i2i.protocols import Domain
from i2i.randomness import mix
from i2i_data.columns import Column, check_labels, encoded, picture_in
from i2i_data.sides import check_sizes, tensor_of
from i2i_data.transforms import Transform, transformed

BUFFER = 1000
"""Rows that are shuffled among one another, where the recipe does not say."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Rows:
    """A source's rows, pass after pass; with ``only``, (column, value), those that have the value.

    With a ``buffer`` each pass has an order of its own, made by ``datasets`` from the shards' order and so many rows at a time.
    """

    data: Any  # a datasets.IterableDataset, its pictures not decoded
    source: str
    buffer: int | None
    only: tuple[str, str] | None = None

    def passes(self, *seed: int) -> Iterator[Row]:
        """Endless rows, in an order that depends only on *seed*.

        Raises:
            UserError: the source breaks off, or has no such row.
        """
        for turn in itertools.count():
            data = self.data if self.buffer is None else self._shuffled(mix(*seed, turn), self.buffer)
            empty = True
            for row in self._each(data):
                if self._wanted(row):
                    empty = False
                    yield row
            if empty:
                what = f"no row has '{self.only[1]}' in the column '{self.only[0]}'" if self.only else "there are no rows"
                raise UserError(f"{self.source}: {what}. Correct the source or its options.")

    def _shuffled(self, seed: int, buffer: int) -> Any:
        """One shard after the other: several at a time would be read by threads, which are slow to stop."""
        return self.data.shuffle(seed=seed, buffer_size=buffer, max_buffer_input_shards=1)

    def _each(self, data: Any) -> Iterator[Row]:
        """One pass. ``iter`` reads everything in every loader process; plain iteration would divide the shards among them."""
        read = data.iter(batch_size=1)
        while True:
            try:
                batch = next(read, None)
            except Exception as error:  # builders and networks raise nearly everything
                raise UserError(f"{self.source}: the stream broke off ({error}). Check the network or the file.") from error
            if batch is None:
                return
            yield {name: cells[0] for name, cells in batch.items()}

    def _wanted(self, row: Row) -> bool:
        if self.only is None:
            return True
        column, value = self.only
        names = getattr(self.data.features[column], "names", None)
        label = row[column]
        return str(names[label] if names and isinstance(label, int) and label >= 0 else label) == value


@dataclass
class Reader:
    """Rows by their number in an epoch: reading on is cheap, going back starts the epoch again."""

    rows: Rows
    number: int
    """Tells the readers of one data set apart, whose orders must be independent."""
    state: tuple[tuple[int, ...], int, Iterator[Row], Row] | None = None

    def row(self, seed: int, epoch: int, index: int) -> Row:
        key = (seed, epoch)
        state, self.state = self.state, None  # an error on the way ends the stream
        if state is None or state[0] != key or index < state[1]:
            read = self.rows.passes(seed, epoch, self.number)
            state = (key, 0, read, next(read))
        _, at, read, row = state
        for _ in range(index - at):
            row = next(read)
        self.state = (key, index, read, row)
        return row

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "state": None}


@dataclass
class Streamed:
    """Two or more sides that are read from front to back; see ``i2i.protocols.Stream``.

    Paired sides share one reader. ``length`` is the number of samples in an epoch; a source with fewer rows starts again.
    """

    columns: Mapping[str, Column]
    readers: Mapping[str, Reader]
    paired: bool
    transform: Transform
    train: bool
    length: int
    notes: list[str] = field(default_factory=list)
    unsplit: tuple[str, ...] = ()

    @property
    def domains(self) -> Mapping[str, Domain]:
        return {key: self.transform.known(column.domain) for key, column in self.columns.items()}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Sample ``index`` of the first epoch under the seed 0."""
        return self.at(0, 0, index)

    def identities(self) -> Mapping[str, Sequence[str]]:
        """The sources that are the same in every split; rows are not known before they come."""
        return dict.fromkeys(self.columns, self.unsplit)

    def at(self, seed: int, epoch: int, index: int) -> dict[str, Tensor]:
        """Sample ``index`` of an epoch: for each key float32 (C, H, W) in [-1, 1] or int64 ids (1 or 2, H, W)."""
        if not 0 <= index < self.length:
            raise IndexError(index)
        if not self.train:
            seed = epoch = 0
        sides, where = {}, {}
        for key, column in self.columns.items():
            where[key] = f"streamed row {index} of epoch {epoch}, column '{column.name}'"
            cell = self.readers[key].row(seed, epoch, index)[column.name]
            sides[key] = tensor_of(column.domain, column.load(picture_in(cell, where[key])).pixels)
        if not self.paired:
            return {key: transformed([side], self.transform, self.train, where[key])[0] for key, side in sides.items()}
        check_sizes(sides, where)
        first = next(iter(where.values()))
        return dict(zip(sides, transformed(list(sides.values()), self.transform, self.train, first), strict=True))


def reader(
    number: int, data: Any, columns: Sequence[Column], source: str, buffer: int | None, only: tuple[str, str] | None
) -> Reader:
    """A reader of these columns alone.

    Raises:
        UserError: a column is missing or holds no pictures.
    """
    for column in columns:
        data = encoded(data, column.name, source)
    if only is not None:
        check_labels(only[0], data, source)
    needed = dict.fromkeys([*(column.name for column in columns), *(only or ())[:1]])
    return Reader(Rows(data.select_columns(list(needed)), source, buffer, only), number)


def epoch_length(samples: int | None, opened: Mapping[str, Any], source: str, filtered: bool) -> int:
    """The number of samples in an epoch: as declared, or the rows of the larger side if the source knows their number.

    Raises:
        UserError: neither says it.
    """
    if samples is not None:
        return samples
    counts = [_rows_of(data) for data in opened.values()]
    if filtered or None in counts:
        raise UserError(
            f"{source}: streaming does not know how many rows there are{' with such labels' if filtered else ''}, so "
            "nothing says how long an epoch is. Give 'samples', the number of samples in an epoch: dataset.samples: 50000."
        )
    return max(count for count in counts if count is not None)


def _rows_of(data: Any) -> int | None:
    splits = data.info.splits or {}
    known = splits.get(str(data.split)) if data.split is not None else None
    return known.num_examples or None if known is not None else None
