"""Recognises what parquet, arrow and CSV files, saved data sets and data sets on the hub hold."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from i2i.data import spread
from i2i.errors import UserError, nearest
from i2i.pictures.files import opened_picture
from i2i.pictures.sources import Source
from i2i_data.columns import encoded, picture_in
from i2i_data.hub_source import FORMATS, open_split
from i2i_new.aligned import of_files
from i2i_new.found import COMPARED, Found, command, two_names
from i2i_new.label_files import label_maps

SPLITS = ("val", "test")
KINDS = 50
"""A column with more distinct values than this is not one of labels."""
LABEL_MAPS = 500
"""The largest number of rows of a column that are looked at for label maps."""


def is_table(place: Path) -> bool:
    """Whether a path is one that the data set ``hub`` reads: a table, or a folder that holds one or its metadata."""
    if place.is_file():
        return place.suffix in FORMATS
    names = ["dataset_dict.json", "state.json", "metadata.csv", "metadata.jsonl", "train/metadata.csv", "train/metadata.jsonl"]
    if not place.is_dir():
        return False
    found = any((place / name).is_file() for name in names)
    return found or any(next(place.glob(f"{below}*{end}"), None) for below in ("", "data/") for end in (".parquet", ".arrow"))


def csv_in(folder: Path) -> Path | None:
    """The only CSV file of a folder."""
    files = [file for file in folder.glob("*.csv") if file.name != "metadata.csv"]
    return files[0] if len(files) == 1 else None


def in_table(source: str, chosen: Sequence[str]) -> Found:
    """A table: two columns of pictures, or one column of pictures and one of labels; *chosen* names two of either.

    Raises:
        UserError: it has neither.
    """
    data = open_split(source, "train")
    pictures = {name: cells for name in data.features if (cells := _pictures(data, name, source))}
    if not pictures:
        raise UserError(f"{source}: no column holds pictures. The columns are: {', '.join(data.features)}.")
    splits = ("train", *(split for split in SPLITS if _has(source, split)))
    kinds = {name: values for name in data.features if name not in pictures and (values := _kinds(data, name))}
    if len(chosen) == 2 and not set(chosen) <= set(pictures):
        by = next((name for name, values in kinds.items() if set(chosen) <= set(values)), None)
        if by is None:
            known = [*pictures, *(str(value) for values in kinds.values() for value in values)]
            unknown = next(word for word in chosen if word not in pictures)
            raise UserError(
                f"{source}: '{unknown}' is neither a column of pictures nor a label.{nearest(unknown, known)} Columns of "
                f"pictures: {', '.join(pictures)}. Labels: {'; '.join(_few(values) for values in kinds.values()) or 'none'}."
            )
        return _by_label(source, next(iter(pictures)), by, kinds[by], list(chosen), splits)
    if len(chosen) == 2 and chosen[0] == chosen[1]:
        raise UserError(f"{source}: '{chosen[0]}' is named for both sides. Name a column for each.")
    if len(chosen) == 2 or len(pictures) >= 2:
        return _columns(source, data, pictures, list(chosen) or list(pictures)[:2], splits)
    column = next(iter(pictures))
    if kinds:
        by = min(kinds, key=lambda name: (len(kinds[name]) != 2, list(kinds).index(name)))
        return _by_label(source, column, by, kinds[by], [value for value, _ in Counter(kinds[by]).most_common(2)], splits)
    raise UserError(f"{source}: one column of pictures, '{column}', is one side. Give the table of the other side too.")


def in_two_tables(a: str, b: str) -> Found:
    """The first column of pictures of each of two tables, unpaired."""
    columns, counts = [], []
    for source in (a, b):
        data = open_split(source, "train")
        column = next((name for name in data.features if _pictures(data, name, source)), None)
        if column is None:
            raise UserError(f"{source}: no column holds pictures. The columns are: {', '.join(data.features)}.")
        columns.append(column)
        counts.append(len(data))
    names = two_names(Path(a).stem, Path(b).stem)
    options = {"source": a, "source_b": b, "columns": columns, "paired": False, "names": names}
    splits = ("train", *(split for split in SPLITS if _has(a, split) and _has(b, split)))
    return Found(
        "hub", options, False, (counts[0], counts[1]), ["Unpaired: two tables, whose rows do not belong together."], splits
    )


def _columns(source: str, data: Any, pictures: Mapping[str, Any], two: list[str], splits: tuple[str, ...]) -> Found:
    """Two columns of pictures: the pictures of a row are a pair."""
    rows = {name: [row[name] for row in _rows(pictures[name], COMPARED)] for name in two}
    cells = {name: [picture_in(cell, f"{source}, '{name}'") for cell in found] for name, found in rows.items()}
    measured = of_files(zip(cells[two[0]], cells[two[1]], strict=True))
    why = [f"Paired: '{two[0]}' and '{two[1]}' are columns of pictures, and a row holds one of each{_told(measured)}."]
    options: dict[str, Any] = {"source": source, "columns": two}
    maps = [label_maps(_sources(pictures[name], name, source)) for name in two]
    if bool(maps[0]) != bool(maps[1]):
        found = maps[0] or maps[1]
        assert found is not None
        if maps[1]:
            options["columns"] = two = two[::-1]
        options |= {"labels": "a", **found.options}
        why += found.why
    options["names"] = two_names(*two)
    left = [name for name in pictures if name not in two]
    remarks = [f"Other columns of pictures: {', '.join(left)}. To choose: {command(source, left[0], two[1])}"] if left else []
    counts = (len(data), len(data))
    return Found("hub", options, True, counts, why, splits, labels="labels" in options, remarks=remarks)


def _told(measured: Any) -> str:
    return f"; {measured}" if measured else ""


def _by_label(source: str, column: str, by: str, values: Mapping[str, int], two: list[str], splits: tuple[str, ...]) -> Found:
    """Rows with two labels of one column: unpaired."""
    options = {
        "source": source,
        "columns": [column, column],
        "by": by,
        "values": two,
        "paired": False,
        "names": two_names(*two),
    }
    why = f"Unpaired: '{column}' holds pictures and '{by}' their label; the sides are the rows of '{two[0]}' and of '{two[1]}'."
    left = [value for value in values if value not in two]
    remarks = []
    if left:
        remarks = [f"'{by}' has {len(values)} values: {_few(values)}. To choose others: {command(source, left[0], two[1])}"]
    return Found("hub", options, False, (values[two[0]], values[two[1]]), [why], splits, remarks=remarks)


def _few(values: Mapping[str, int]) -> str:
    told = [f"{value} ({count})" for value, count in islice(values.items(), 12)]
    return ", ".join(told) + (", …" if len(values) > 12 else "")


def _pictures(data: Any, name: str, source: str) -> Any:
    """The column alone, its pictures as files; None if it holds none."""
    try:
        cells = encoded(data, name, source).select_columns([name])
        with opened_picture(picture_in(next(iter(_rows(cells, 1)))[name], name)):
            return cells
    except (UserError, StopIteration):
        return None


def _rows(data: Any, count: int) -> Any:
    return (data[i] for i in spread(len(data), count))


def _sources(cells: Any, name: str, source: str) -> list[Source]:
    return [picture_in(row[name], f"{source}, '{name}'") for row in _rows(cells, LABEL_MAPS)]


def _kinds(data: Any, name: str) -> dict[str, int]:
    """The rows of each label in a column, most first; empty if it is not one of labels."""
    feature = data.features[name]
    names = getattr(feature, "names", None)
    if names is None and getattr(feature, "dtype", "") not in ("string", "large_string", "int64", "int32", "bool"):
        return {}
    labels = [names[label] if names and isinstance(label, int) and label >= 0 else str(label) for label in data[name]]
    counts = dict(Counter(labels).most_common())
    return counts if 2 <= len(counts) <= KINDS and list(counts.values())[1] >= 2 else {}


def _has(source: str, split: str) -> bool:
    if Path(source).is_file():
        return False
    try:
        open_split(source, split)
    except UserError:
        return False
    return True
