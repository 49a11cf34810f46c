"""Finding picture files, and matching those of two folders by name."""

import glob
import os
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from i2i.errors import UserError, nearest
from i2i_data.holdout import those_of

Split = Annotated[
    Literal["train", "val", "test"], Field(description="Which pictures; only those of train are varied at random.")
]

SUFFIXES = frozenset(
    ".jpg .jpeg .jfif .png .bmp .gif .webp .avif .tif .tiff .ppm .pgm .pbm .pnm .jp2 .tga .npy".split()  # noqa: SIM905
)


class Found(NamedTuple):
    """Picture files, sorted by name, and the folder that they lie in."""

    base: Path
    files: list[Path]


def find(pattern: str, split: str = "train", holdout: float | None = None, ending: str = "") -> Found:
    """The pictures of a folder and the folders in it, of a glob, or one file; ``{split}`` stands for the split's name.

    With *holdout* those that belong to the split, by their names below the folder without suffix and *ending*.

    Raises:
        UserError: there is no such place, or no picture in it.
    """
    found = _found(pattern, split)
    if holdout is None:
        return found
    told = f"{len(found.files)} pictures in {pattern}" if len(found.files) > 1 else f"one picture, {pattern},"
    return Found(
        found.base,
        those_of(split, holdout, found.files, lambda file: _stem(found.base, file).removesuffix(ending), told),
    )


def _found(pattern: str, split: str) -> Found:
    text = pattern.replace("{split}", split)
    path = Path(text).expanduser()
    try:
        if path.is_dir():
            return _in_folder(path)
        if path.is_file():
            return Found(path.parent, [path])
    except OSError as error:
        raise UserError(f"{text}: it cannot be read ({error.strerror}). Check the path.") from error
    if glob.has_magic(text):
        return _matching(path)
    raise UserError(f"{text}: there is no such file or folder.{_sibling(path)} Check the path.")


_known: dict[Path, Found] | None = None


@contextmanager
def folders_listed_once() -> Iterator[None]:
    """Within it, no folder is listed twice: for a look at folders of many pictures that do not change meanwhile."""
    global _known
    before, _known = _known, {}
    try:
        yield
    finally:
        _known = before


def _in_folder(folder: Path) -> Found:
    if _known is not None and folder in _known:
        return _known[folder]
    every = sorted(_walk(folder), key=lambda name: name.replace(os.sep, "\0"))  # by their parts, as paths are sorted
    files = [Path(name) for name in every if os.path.splitext(name)[1].lower() in SUFFIXES]  # noqa: PTH122 - much faster
    if not files:
        other = f"{len(every)} other files, such as {Path(every[0]).name}" if every else "it is empty"
        raise UserError(f"{folder}: no pictures in this folder ({other}). Give one with PNG, JPEG, TIFF or .npy files.")
    found = Found(folder, files)
    if _known is not None:
        _known[folder] = found
    return found


def _walk(folder: Path) -> Iterator[str]:
    """Every file, hidden ones left out. A folder that links lead to again is visited once, so circles end."""
    seen = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        place = Path(root).resolve()
        if place in seen:
            folders.clear()
            continue
        seen.add(place)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = (os.path.join(root, name) for name in names if not name.startswith("."))  # noqa: PTH118
        yield from filter(os.path.isfile, paths)


def _matching(pattern: Path) -> Found:
    base = Path(pattern.anchor)
    for part in pattern.relative_to(pattern.anchor).parts:
        if glob.has_magic(part):
            break
        base /= part
    hits = (Path(name) for name in glob.glob(str(pattern), recursive=True))  # noqa: PTH207 - absolute patterns too
    files = sorted(file for file in hits if file.is_file() and file.suffix.lower() in SUFFIXES)
    if not files:
        raise UserError(f"{pattern}: no picture matches this pattern. Check it; ** stands for folders at any depth.")
    return Found(base, files)


def _sibling(path: Path) -> str:
    """The most similar name in the folder of the missing one."""
    try:
        return nearest(path.name, sorted(other.name for other in path.parent.iterdir()))
    except OSError:
        return ""


def keys(found: Found, ending: str = "") -> dict[str, Path]:
    """Each file under the name that it is matched by: relative to the folder, without suffix and *ending*, in NFC.

    Raises:
        UserError: two files have the same name, or none has the ending.
    """
    named: dict[str, Path] = {}
    for file in found.files:
        stem = _stem(found.base, file)
        if not stem.endswith(ending):
            continue
        key = stem.removesuffix(ending)
        if key in named:
            raise UserError(f"{file}: its name cannot be distinguished from that of {named[key]}. Keep one of them.")
        named[key] = file
    if not named:
        raise UserError(f"{found.base}: no name ends in '{ending}', for instance '{found.files[0].stem}'. Correct the ending.")
    return named


def _stem(base: Path, file: Path) -> str:
    """The path below *base* without its suffix; by strings, as there may be a hundred thousand."""
    path, start = str(file), f"{base}{os.sep}"
    inside = (path.removeprefix(start) if path.startswith(start) else str(file.relative_to(base))).replace(os.sep, "/")
    return unicodedata.normalize("NFC", inside.removesuffix(file.suffix))


class Matched(NamedTuple):
    """Files with partners, in the same order in every list, and a remark for those without."""

    files: list[list[Path]]
    notes: list[str]


def match(sides: Sequence[dict[str, Path]], what: Sequence[str]) -> Matched:
    """Match files by their keys.

    Raises:
        UserError: no name occurs on all sides.
    """
    common = sorted(set.intersection(*(set(side) for side in sides)))
    if not common:
        examples = ", ".join(f"{name} has '{next(iter(side))}'" for name, side in zip(what, sides, strict=True))
        raise UserError(
            f"no pair found: no name occurs on all sides; {examples}. Partners need the same name (the suffix may differ); "
            "where names end differently, name the endings: endings: [_A, _B]."
        )
    notes = []
    for name, side in zip(what, sides, strict=True):
        orphans = sorted(set(side) - set(common))
        if orphans:
            shown = ", ".join(side[key].name for key in orphans[:3]) + (", …" if len(orphans) > 3 else "")
            notes.append(f"{name}: {len(orphans)} of {len(side)} files have no partner and are left out: {shown}")
    return Matched([[side[key] for key in common] for side in sides], notes)
