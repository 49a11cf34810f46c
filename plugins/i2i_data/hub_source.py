"""Opens a source of Hugging Face ``datasets``, and fails within seconds if there is no network."""

import contextlib
import glob
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from i2i.errors import UserError, first_line, nearest
from i2i.hub import is_offline, unreachable
from i2i_data.pack_index import check_packs

FORMATS = {".parquet": "parquet", ".arrow": "arrow", ".csv": "csv"}


def open_split(source: str, split: str, config: str | None = None, cache: str | None = None, streaming: bool = False) -> Any:
    """One split of a source as a ``datasets.Dataset``, or with *streaming* as an ``IterableDataset``.

    Raises:
        UserError: there is no such source, split or network; a file is broken.
    """
    import datasets  # type: ignore[import-untyped]

    path = Path(source).expanduser()
    options: dict[str, Any] = {"streaming": streaming, **({"cache_dir": cache} if cache else {})}
    with _quiet(datasets), _in_words(source, split):
        if (path / "dataset_dict.json").is_file():
            return _of(_saved(datasets, path, streaming), source, split)
        if (path / "state.json").is_file():
            return _saved(datasets, path, streaming)
        if path.is_dir():
            _check_folder(path)
            if "[" in split or "+" in split:  # a part of a split, or several
                return datasets.load_dataset(str(path), config, split=split, **options)
            return _of(datasets.load_dataset(str(path), config, **options), source, split)
        files = _data_files(source)
        if files:
            for folder in sorted({Path(file).parent for file in files}):
                check_packs(folder)
            part = split if "[" in split else "train"  # files have no other split
            opened = datasets.load_dataset(FORMATS[Path(files[0]).suffix], data_files=files, split=part, **options)
            return _located(opened, Path(files[0])) if files[0].endswith(".csv") else opened
        _check_name(source, path)
        check_network(source)
        return datasets.load_dataset(source, config, split=split, **options)


def place_of(source: str, split: str) -> tuple[str, bool]:
    """An identity for the rows of a split of a source, and whether they are the same in every split."""
    path = Path(source).expanduser()
    one = (path / "state.json").is_file() or (not path.is_dir() and bool(_data_files(source)))
    return (source, True) if one and "[" not in split else (f"{source}, {split}", False)


def _saved(datasets: Any, path: Path, streaming: bool) -> Any:
    """What ``save_to_disk`` wrote: one data set, or one for each split."""
    opened = datasets.load_from_disk(str(path))
    if not streaming:
        return opened
    if isinstance(opened, datasets.Dataset):
        return opened.to_iterable_dataset()
    return {name: split.to_iterable_dataset() for name, split in opened.items()}


def _data_files(source: str) -> list[str]:
    """The parquet, arrow or csv files that a path or glob names."""
    files = sorted(glob.glob(str(Path(source).expanduser()), recursive=True))  # noqa: PTH207 - absolute patterns too
    kinds = {Path(file).suffix for file in files}
    if files and (len(kinds) != 1 or not kinds <= set(FORMATS)):
        raise UserError(f"{source}: give files of one kind, all .parquet, .arrow or .csv, not {', '.join(sorted(kinds))}.")
    return files


def _located(opened: Any, table: Path) -> Any:
    """Paths in a CSV file are relative to its folder; where there is no such file, a cell stays as it is."""
    features = opened.features or {}  # a stream does not know them, and is refused for that
    text = [name for name, feature in features.items() if getattr(feature, "dtype", "") in ("string", "large_string")]
    for name in text:
        cells = [cell and _beside(table, cell) for cell in opened[name]]
        opened = opened.remove_columns([name]).add_column(name, cells)
    return opened


def _beside(table: Path, cell: str) -> str:
    path = str(table.parent / cell)
    return path if os.path.isfile(path) else cell  # noqa: PTH113 - a Path fails on text that is too long for one


def _check_folder(path: Path) -> None:
    if not any(path.iterdir()):
        raise UserError(f"{path}: the folder is empty. Give one with parquet or arrow files, or pictures.")
    check_packs(path)


def on_hub(options: Mapping[str, Any]) -> list[str]:
    """The names on the hub among the sources in a recipe's options, as far as this machine knows.

    A name looks like a relative path (``data/pairs``), which may be missing only here. So what counts is that something from
    there lies in the hub's cache: ``datasets`` puts the card there.
    """
    parts = options.get("domains")
    own = [part.get("source") for part in parts.values() if isinstance(part, Mapping)] if isinstance(parts, Mapping) else []
    sources = dict.fromkeys(filter(None, [options.get("source"), options.get("source_b"), *own]))
    return [source for source in sources if isinstance(source, str) and _is_name(source)]


def _is_name(source: str) -> bool:
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    path = Path(source).expanduser()
    if path.exists() or _is_path(source, path):
        return False
    return (Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=source, repo_type="dataset")).is_dir()


def _is_path(source: str, path: Path) -> bool:
    local = path.is_absolute() or source.startswith((".", "~")) or source.count("/") > 1 or path.suffix in FORMATS
    return local or glob.has_magic(source) or not source


def _check_name(source: str, path: Path) -> None:
    """A text that looks like a path and does not exist is not a name on the hub."""
    if _is_path(source, path):
        raise UserError(f"{source or 'source'}: there is no such file or folder. Check the path.")


def _of(opened: Any, source: str, split: str) -> Any:
    """The split of a DatasetDict; ``datasets`` calls files named val "validation"."""
    if split == "val" and split not in opened and "validation" in opened:
        split = "validation"
    if split not in opened:
        raise UserError(f"{source}: no split '{split}'.{nearest(split, list(opened))} There are: {', '.join(opened)}.")
    return opened[split]


def check_network(source: str) -> None:
    """Refuse at once when the hub cannot be reached; what is cached needs no network.

    Raises:
        UserError: there is no connection within seconds.
    """
    if is_offline():
        return
    if why := unreachable():
        raise UserError(f"{source}: {_UNREACHABLE} The reason: {why}.")


_UNREACHABLE = (
    "the Hugging Face hub cannot be reached, and this is not a local path. Connect to the network; or, if the data set was "
    "loaded on this machine before, set HF_HUB_OFFLINE=1 to use that copy; or give the path of a local folder or parquet file."
)


@contextlib.contextmanager
def _in_words(source: str, split: str) -> Iterator[None]:
    """What ``datasets`` raises, as one sentence."""
    try:
        yield
    except (ConnectionError, TimeoutError) as error:
        raise UserError(f"{source}: {_UNREACHABLE}") from error
    except UserError:
        raise
    except Exception as error:  # builders raise nearly everything on broken files
        cause = error.__cause__ or error
        reason = first_line(cause)
        raise UserError(f"{source}: the split '{split}' cannot be loaded: {reason} Check source, config and split.") from error


@contextlib.contextmanager
def _quiet(datasets: Any) -> Iterator[None]:
    """Without the bars of ``datasets``, which would cut through the progress bar of a run."""
    shown = datasets.utils.logging.is_progress_bar_enabled()
    datasets.utils.logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            datasets.utils.logging.enable_progress_bar()
