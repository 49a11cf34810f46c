"""Recognises how pictures lie in one folder or two."""

import glob
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from i2i.data import spread
from i2i.errors import UserError
from i2i.experiment.naming import names_of
from i2i.pictures.sources import Source
from i2i_data.folders import LAYOUTS
from i2i_data.listing import SUFFIXES, find, keys
from i2i_data.sizes import size_of
from i2i_new.aligned import of_halves
from i2i_new.found import COMPARED, Found, command, partners, two_names

SPLITS = ("train", "val", "test")
WIDE = 0.02
"""How far from 2 the proportions of pictures with two sides may be, relatively."""
LISTED = 8


def in_two(a: Path, b: Path) -> Found:
    """A folder for each side.

    Raises:
        UserError: they are the same, or one has no pictures or a single one.
    """
    if a.resolve() == b.resolve():
        raise UserError(f"{a}: both folders are the same. Give a folder for each side.")
    splits = [split for split in SPLITS if (a / split).is_dir() and (b / split).is_dir()]
    if "train" in splits:
        return _sides(f"{a}/{{split}}", f"{b}/{{split}}", two_names(a.name, b.name), splits)
    return _sides(str(a), str(b), two_names(a.resolve().name, b.resolve().name))


def in_one(root: Path) -> Found:
    """One folder: folders for the sides or the splits in it, pictures with both sides, or pairs by the ends of their names.

    Raises:
        UserError: it has no pictures, a single one, or only one kind.
    """
    folders, pictures = _listed(root)
    for left, right in LAYOUTS:
        splits = [s for s in SPLITS if all((root / part.replace("{split}", s)).is_dir() for part in (left, right))]
        if "train" in splits:
            found = _sides(f"{root}/{left}", f"{root}/{right}", list(names_of(root)), splits)
            if not found.labels:
                found.options = {"root": str(root), **{k: v for k, v in found.options.items() if k not in ("a", "b")}}
            return found
    if "train" in folders:
        inner = _listed(root / "train")[0]
        if len(inner) >= 2:
            chosen, remarks = _two_of(root / "train", inner)
            splits = [s for s in SPLITS if all((root / s / side).is_dir() for side in chosen)]
            a, b = (f"{root}/{{split}}/{side}" for side in chosen)
            return _sides(a, b, two_names(*chosen), splits, remarks)
        return _halves(root, [s for s in SPLITS if s in folders])
    if len(folders) >= 2:
        chosen, remarks = _two_of(root, folders)
        splits = [s for s in SPLITS if all((root / side / s).is_dir() for side in chosen)]
        below = "/{split}" if "train" in splits else ""
        a, b = (f"{root}/{side}{below}" for side in chosen)
        return _sides(a, b, two_names(*chosen), splits if below else (), remarks)
    if len(folders) == 1 and not pictures:
        return in_one(root / folders[0])
    return _by_ends(root, pictures) or _halves(root, ())


def _listed(folder: Path) -> tuple[list[str], list[str]]:
    """The names of the folders that hold something, and of the pictures, directly in a folder; hidden ones left out."""
    with os.scandir(folder) as found:
        entries = sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)
    folders = [entry.name for entry in entries if entry.is_dir() and os.listdir(entry.path)]  # noqa: PTH208
    return folders, [entry.name for entry in entries if Path(entry.name).suffix.lower() in SUFFIXES and entry.is_file()]


def _two_of(root: Path, folders: Sequence[str]) -> tuple[list[str], list[str]]:
    """The two folders with most pictures, in the order of their names, and how to choose others."""
    counts = {name: _count(root / name) for name in folders}
    filled = [name for name in folders if counts[name]]
    if len(filled) < 2:
        every = ", ".join(f"{name} ({counts[name]})" for name in folders[:LISTED])
        raise UserError(
            f"{root}: only {len(filled)} of its folders {'holds' if len(filled) == 1 else 'hold'} pictures: {every}. "
            "Give two folders, one for each side."
        )
    chosen = sorted(sorted(filled, key=lambda name: -counts[name])[:2])
    if len(filled) == 2:
        return chosen, []
    others = ", ".join(f"{name} ({counts[name]})" for name in filled[:LISTED]) + (", …" if len(filled) > LISTED else "")
    left = [name for name in filled if name not in chosen]
    return chosen, [
        f"{root} holds {len(filled)} folders of pictures: {others}. Taken are {chosen[0]} and {chosen[1]}, as none has "
        f"more; no loss that comes with i2i takes more than two. Others: {command(root / left[0], root / chosen[1])}"
    ]


def _count(folder: Path) -> int:
    return sum(os.path.splitext(name)[1].lower() in SUFFIXES for _, _, names in os.walk(folder) for name in names)  # noqa: PTH122


def _sides(a: str, b: str, names: list[str], splits: Sequence[str] = (), remarks: Sequence[str] = ()) -> Found:
    """A data set of two patterns, label maps with their pictures if one side is maps."""
    found = [find(pattern) for pattern in (a, b)]
    for one in found:
        _several(one.base, one.files)
    together = partners(_keyed(found[0]), _keyed(found[1]))
    counts = (len(found[0].files), len(found[1].files))
    told = splits or ("train",)
    if together.labels is not None:
        if together.of_b:
            a, b, names, counts = b, a, names[::-1], counts[::-1]
        options: dict[str, Any] = {"maps": a, "images": b, **together.labels.options, "names": names}
        why = [together.why, *together.labels.why]
        return Found("labels", options, True, counts, why, tuple(told), labels=True, remarks=list(remarks))
    options = {"a": a, "b": b, **({"paired": True} if together.paired else {}), "names": names}
    return Found("folders", options, together.paired, counts, [together.why], tuple(told), remarks=list(remarks))


def _several(place: Path, files: Sequence[Path]) -> None:
    if len(files) < 2:
        raise UserError(
            f"{place}: it holds a single picture, {files[0].name}. Training needs several of each side; for crops of one "
            "picture of each side write a recipe with the data set 'single' (docs/data.md)."
        )


def _keyed(found: Any) -> dict[str, Source]:
    try:
        return dict(keys(found))
    except UserError:  # two files of one name: no pairs by name
        return {str(file): file for file in found.files}


def _halves(root: Path, splits: Sequence[str]) -> Found:
    """Pictures with both sides, left and right.

    Raises:
        UserError: they are something else.
    """
    files = find(str(root / "train" if splits else root)).files
    _several(root, files)
    chosen = [files[i] for i in spread(len(files), COMPARED)]
    sizes = []
    for file in chosen:
        try:
            sizes.append(size_of(file, lambda: _no_size(root)))
        except UserError:
            continue
    if not sizes:
        raise UserError(f"{root}: none of {len(chosen)} pictures looked at can be read, such as {chosen[0]}. Check the files.")
    wide = [width % 2 == 0 and abs(width / height - 2) <= 2 * WIDE for height, width in sizes]
    other = f"{root}: one folder of pictures is one side. Give the folder of the other side too: {command(root, 'OTHER')}"
    if sum(wide) < 0.9 * len(wide):
        raise UserError(f"{other}. (Pairs side by side would be twice as wide as high; {sum(wide)} of {len(wide)} are.)")
    measured = of_halves(chosen)
    if measured is None or not measured.shows_pairs:
        raise UserError(
            f"{other}. (Its pictures are twice as wide as high, but their halves do not show the same: "
            f"{measured or 'there are too few'}. If they are pairs all the same, write the data set 'side_by_side'.)"
        )
    height, width = sizes[0]
    why = f"Pairs side by side: {sum(wide)} of {len(wide)} pictures looked at are twice as wide as high ({width} x {height}), "
    why += f"and of their halves the {measured}."
    options: dict[str, Any] = {"root": str(root), "names": list(names_of(root))}
    return Found("side_by_side", options, True, (len(files), len(files)), [why], tuple(splits or ("train",)))


def _no_size(root: Path) -> Any:
    raise UserError(f"{root}: arrays hold no pairs side by side.")


def _by_ends(root: Path, pictures: Sequence[str]) -> Found | None:
    """Pairs whose names differ in their last word: ``1_day.png`` and ``1_night.png``."""
    ends = Counter(found[0] for name in pictures if (found := re.search(r"[-_. ][^-_. ]+$", Path(name).stem)))
    usual = [end for end, count in ends.most_common(2) if count >= 0.3 * len(pictures) and not end[1:].isdigit()]
    if len(usual) < 2 or len(pictures) < 4:
        return None
    first, second = sorted(usual)
    patterns = [f"{glob.escape(str(root))}/*{end}.*" for end in (first, second)]
    sides = [dict[str, Source](keys(find(pattern), end)) for pattern, end in zip(patterns, (first, second), strict=True)]
    together = partners(*sides)
    if not together.paired:
        return None
    names = two_names(first[1:], second[1:])
    options = {"a": patterns[0], "b": patterns[1], "paired": True, "endings": [first, second], "names": names}
    counts = (ends[first], ends[second])
    return Found("folders", options, True, counts, [together.why])
