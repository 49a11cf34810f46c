"""The inputs that a user names: files, folders, patterns and standard input; and the path of each result."""

import glob
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from i2i.errors import UserError
from i2i.pictures.formats import suffixes
from i2i.pictures.pixels import prepared
from i2i.pictures.sources import Blob
from i2i.protocols import Domain
from i2i_translate.moving import VIDEOS, suffix_of_results

STDIN = Path("-")


@dataclass(frozen=True)
class Input:
    """A picture to read, and the relative path of its result without suffix."""

    path: Path
    place: Path
    moving: str = ""
    """What the names of its results end in, if it moves."""

    @property
    def name(self) -> str:
        return "standard input" if self.path == STDIN else str(self.path)

    def read(self, domain: Domain) -> Tensor:
        """The pixels as the domain prepares them, see ``i2i.pictures.reading.read``; standard input can be read once only."""
        source = Blob(sys.stdin.buffer.read(), self.name) if self.path == STDIN else self.path
        return prepared(source, domain)


def gather(words: Sequence[str | Path], out: Path) -> list[Input]:
    """Every picture and video that is named, once and in order: those of a folder with its structure, and those of a pattern.

    Pictures in the output folder are not inputs.

    Raises:
        UserError: nothing is named, or a folder or a pattern holds none.
    """
    if not words:
        raise UserError("no images were given. Name at least one.")
    found: dict[Path, Input] = {}
    for word in words:
        for item in _named(word, out):
            found.setdefault(item.path if item.path == STDIN else item.path.absolute(), item)
    return [item if item.path == STDIN else replace(item, moving=suffix_of_results(item.path)) for item in found.values()]


def _named(word: str | Path, out: Path) -> Iterator[Input]:
    path = Path(word)
    if isinstance(word, str) and word != str(STDIN) and path == STDIN:  # ./-
        path = path.absolute()
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
    known, beside = suffixes() | VIDEOS | {".npy"}, out.resolve()
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
        every.append([out / f"{stem}{ending}{item.moving or '.png'}" for ending in endings])
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


def check_moving(inputs: Sequence[Input], steady: bool, signed: bool, domains: Sequence[Domain]) -> None:
    """Refuse what cannot be done with moving pictures, or only with them."""
    moving = [item.name for item in inputs if item.moving]
    if steady and not moving:
        raise UserError("steady: none of the inputs moves. Leave it out.")
    if moving and any(domain.kind == "labels" for domain in domains):
        raise UserError(f"{moving[0]}: label maps are translated as still pictures only. Save its frames as PNG files.")
    if moving and signed:
        raise UserError(f"{moving[0]}: only still pictures are signed. Leave out --c2pa, or this input.")


def make_folders(paths: Sequence[Path]) -> None:
    for folder in dict.fromkeys(path.parent for path in paths):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{folder}: the folder cannot be created ({error.strerror}). Choose another.") from error
