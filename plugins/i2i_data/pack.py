"""``i2i data pack``: a recipe's pictures as parquet shards with the files embedded, as Hugging Face ``datasets`` has them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track

from i2i.building.parts import build_dataset
from i2i.errors import DiskFullError, UserError
from i2i.files import new_file
from i2i.inspectable import Inspectable, parallel
from i2i.pictures.reading import read
from i2i.pictures.sources import Blob
from i2i.protocols import Dataset, Domain, Preparation
from i2i.recipe import Recipe
from i2i.registry import Registry
from i2i_data.pack_index import MARK, index_of, plain_name, write_index

_GROUP = 64
"""Rows in memory at a time."""


def pack(recipe: Recipe, registry: Registry, out: Path, rows: int, console: Console) -> str:
    """Write the data set's pictures below *out*, *rows* in each shard, and return the recipe line that reads them back.

    Pairs become one table with the columns imageA and imageB, or the domains' keys where there are not a and b; unpaired
    sides one table each. A table's index comes last: what
    an interrupted pack leaves has none, and is not read.

    Raises:
        UserError: the data set cannot show its single pictures, one cannot be read, there are such shards already, or the split
            is not a name for a file.
    """
    dataset = build_dataset(recipe.dataset, registry)
    if not isinstance(dataset, Inspectable):
        raise UserError(f"dataset '{recipe.dataset.name}' cannot be packed: it has no 'inventory' of single pictures.")
    split = plain_name(str(recipe.dataset.options.get("split", "train")), "dataset.split")
    tables = {out / plain_name(key, "domains"): {"image": key} for key in dataset.domains}
    written: list[Path] = []
    try:
        for folder, columns in ({out: _columns(dataset)} if dataset.paired else tables).items():
            _write(dataset, columns, folder, split, rows, console, written)
    except DiskFullError:  # so that the same command can be given again
        for path in written:
            path.unlink(missing_ok=True)
        raise
    return _reading_line(dataset, out, split, _reads(dataset, dataset.domains))


def _write(
    dataset: Inspectable,
    columns: Mapping[str, str],
    folder: Path,
    split: str,
    rows: int,
    console: Console,
    written: list[Path],
) -> None:
    """One table: column -> domain key. What it writes is added to *written* before."""
    if folder.is_dir() and any(folder.glob(f"{split}-*.parquet")):
        left = "" if index_of(folder, split).exists() else f", or remove {split}-*.parquet if a pack was interrupted here"
        raise UserError(f"{folder}: there are shards of the split '{split}' already. Choose another folder{left}.")
    folder.mkdir(parents=True, exist_ok=True)
    names = dataset.inventory()
    count = len(names[next(iter(columns.values()))])
    shards = -(-count // rows)

    def row(index: int) -> dict[str, Any]:
        cells = {c: (dataset.encoded(key, index), Path(names[key][index]).name) for c, key in columns.items()}
        return {column: {"bytes": data, "path": name} for column, (data, name) in cells.items()}

    title, paths = f"{folder} ({split})", [folder / f"{split}-{shard:05d}-of-{shards:05d}.parquet" for shard in range(shards)]
    index_of(folder, split).unlink(missing_ok=True)
    written += [*paths, index_of(folder, split)]
    for shard, path in enumerate(track(paths, title, console=console, disable=not console.is_terminal)):
        with new_file(path) as partial:
            write_shard(partial, list(columns), parallel(row, range(shard * rows, min(count, (shard + 1) * rows))))
    write_index(folder, split, paths)


def write_shard(path: Path, columns: list[str], rows: Any) -> None:
    import pyarrow  # type: ignore[import-untyped]
    import pyarrow.parquet  # type: ignore[import-untyped]

    picture = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
    features = {"info": {"features": {column: {"_type": "Image"} for column in columns}}}
    schema = pyarrow.schema(dict.fromkeys(columns, picture), metadata={"huggingface": json.dumps(features), **MARK})
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        group: list[dict[str, Any]] = []
        for row in rows:
            group.append(row)
            if len(group) == _GROUP:
                writer.write_table(pyarrow.Table.from_pylist(group, schema))
                group = []
        if group:
            writer.write_table(pyarrow.Table.from_pylist(group, schema))


def _columns(dataset: Dataset) -> dict[str, str]:
    """Column -> domain key."""
    return {"imageA": "a", "imageB": "b"} if set(dataset.domains) == {"a", "b"} else {key: key for key in dataset.domains}


def _reading_line(dataset: Dataset, out: Path, split: str, reads: list[str]) -> str:
    """A line for a recipe."""
    options = [f"source: {out}"]
    if dataset.paired and "imageA" in _columns(dataset):
        options += ["columns: [imageA, imageB]"]
    elif dataset.paired:
        options += [f"domains: {{{', '.join(f'{key}: {key}' for key in dataset.domains)}}}"]
    elif set(dataset.domains) == {"a", "b"}:
        options = [f"source: {out / 'a'}", f"source_b: {out / 'b'}", "columns: [image, image]", "paired: false"]
    else:
        own = ", ".join(f"{key}: {{source: {out / key}}}" for key in dataset.domains)
        options += [f"domains: {{{own}}}", "paired: false"]
    options += [f"split: {split}", *_labels(dataset.domains), *reads]
    return f"dataset: {{name: hub, {', '.join(options)}}}"


def _labels(domains: Mapping[str, Domain]) -> list[str]:
    """Packed label maps hold ids, even if the files did not."""
    for key, domain in domains.items():
        if domain.kind == "labels":
            return [f"labels: {key}", f"classes: {domain.label_count}", *(["instances: true"] if domain.instances else [])]
    return []


def _reads(dataset: Inspectable, domains: Mapping[str, Domain]) -> list[str]:
    """The options for reading packed images, where they differ from the defaults of ``hub``.

    What a data set packs is the file, or what it has made of it: whether its preparation is still to be done, reading a
    picture tells.
    """
    options: list[tuple[str, str]] = []
    for key, domain in domains.items():
        made, told = domain.preparation, [f"channels: {domain.channels}"] if domain.channels != 3 else []
        if domain.kind == "image" and made != Preparation() and _is_file(dataset, key, domain):
            told += [f"alpha: {made.alpha}"] if made.alpha != "white" else []
            told += [f"range: [{made.range[0]:g}, {made.range[1]:g}]"] if made.range else []
        options += [(key, ", ".join(told))] if told and domain.kind == "image" else []
    if set(domains) == {"a", "b"}:
        return [f"read_{key}: {{{told}}}" for key, told in options]
    every = ", ".join(f"{key}: {{{told}}}" for key, told in options)
    return [f"read: {{{every}}}"] if every else []


def _is_file(dataset: Inspectable, key: str, domain: Domain) -> bool:
    try:
        return torch.equal(read(Blob(dataset.encoded(key, 0), key), domain).pixels, dataset.raw(key, 0)[0])
    except UserError:
        return False
