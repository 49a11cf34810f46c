"""The inputs that a user names: files, folders, patterns and standard input; and the path of each result."""

import glob
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from i2i.errors import UserError
from i2i.pictures.formats import suffixes
from i2i.pictures.pixels import prepared
from i2i.pictures.sources import Blob
from i2i.protocols import Domain

STDIN = Path("-")


@dataclass(frozen=True)
class Input:
    """A picture to read, and the relative path of its result without suffix."""

    path: Path
    place: Path

    @property
    def name(self) -> str:
        return "standard input" if self.path == STDIN else str(self.path)

    def read(self, domain: Domain) -> Tensor:
        """The pixels as the domain prepares them, see ``i2i.pictures.reading.read``; standard input can be read once only."""
        source = Blob(sys.stdin.buffer.read(), self.name) if self.path == STDIN else self.path
        return prepared(source, domain)


def gather(words: Sequence[str | Path], out: Path) -> list[Input]:
    """Every picture that is named, once and in order: those of a folder with its structure, and those of a pattern.

    Pictures in the output folder are not inputs.

    Raises:
        UserError: nothing is named, or a folder or a pattern holds no picture.
    """
    if not words:
        raise UserError("no images were given. Name at least one.")
    found: dict[Path, Input] = {}
    for word in words:
        for item in _named(Path(word), out):
            found.setdefault(item.path if item.path == STDIN else item.path.absolute(), item)
    return list(found.values())


def _named(path: Path, out: Path) -> Iterator[Input]:
    if path == STDIN:
        yield Input(STDIN, Path("stdin"))
    elif path.is_dir():
        yield from _in_folder(path, out)
    elif not path.exists() and glob.has_magic(str(path)):
        matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))  # noqa: PTH207 - absolute ones too
        files = [match for match in matches if match.is_file()]
        if not files:
            raise UserError(f"{path}: no file matches this pattern.")
        yield from (Input(file, Path(file.stem)) for file in files)
    else:
        yield Input(path, Path(path.stem))


def _in_folder(folder: Path, out: Path) -> Iterator[Input]:
    known, beside = suffixes() | {".npy"}, out.resolve()
    files = [
        file
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() in known
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and not (beside != folder.resolve() and file.resolve().is_relative_to(beside))
    ]
    if not files:
        raise UserError(f"{folder}: there are no pictures in this folder.")
    for file in files:
        yield Input(file, file.relative_to(folder).with_suffix(""))


def places(inputs: Sequence[Input], out: Path, endings: Sequence[str]) -> list[list[Path]]:
    """Paths for each input's results, one for each ending; names that differ in case only count as equal."""
    taken: set[str] = set()
    every = []
    for item in inputs:
        stem, number = str(item.place), 1
        while any(f"{stem}{ending}".casefold() in taken for ending in endings):
            number += 1
            stem = f"{item.place}-{number}"
        taken |= {f"{stem}{ending}".casefold() for ending in endings}
        every.append([out / f"{stem}{ending}.png" for ending in endings])
    return every


def check_places(inputs: Sequence[Input], results: Sequence[Path], out: Path, overwrite: bool) -> None:
    """Refuse results that would replace an input, or any file unless asked to."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: this is a file, not a folder. Choose another output folder.")
    given = {item.path.resolve() for item in inputs if item.path != STDIN}
    if lost := [result for result in results if result.resolve() in given]:
        raise UserError(f"{lost[0]}: the result would replace an input. Choose another output folder.")
    existing = [str(result) for result in results if result.exists()]
    if existing and not overwrite:
        more = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        raise UserError(f"{existing[0]}{more} would be overwritten. Choose another output folder, or allow it (--overwrite).")
