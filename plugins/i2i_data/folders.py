"""``folders``: two folders or globs of pictures, paired by name or unpaired."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from i2i.errors import UserError
from i2i_data.holdout import Holdout, check_holdout, without_split
from i2i_data.listing import Split, find, keys, match
from i2i_data.sides import Corrupt, FileSide, Names, TwoSides, image_domain, two_sides
from i2i_data.sources import READ, Reading
from i2i_data.transforms import PUBLISHED, Varied

LAYOUTS = (("{split}A", "{split}B"), ("{split}/A", "{split}/B"), ("A/{split}", "B/{split}"), ("{split}_A", "{split}_B"))
"""Where the two sides lie under ``root``; the first is CycleGAN's."""


def folders(
    *,
    root: Annotated[str | None, Field(description="A folder with trainA and trainB, train/A and train/B, or the like.")] = None,
    a: Annotated[str | None, Field(description="A folder, glob or file for the side a; {split} stands for the split.")] = None,
    b: Annotated[str | None, Field(description="The same for the side b.")] = None,
    paired: Annotated[bool, Field(description="Pair pictures of the same name.")] = False,
    split: Split = "train",
    holdout: Holdout = None,
    endings: Annotated[Names, Field(description="What is taken off the names before pairing.")] = ("", ""),
    names: Names = ("a", "b"),
    read_a: Reading = READ,
    read_b: Reading = READ,
    transform: Varied = PUBLISHED,
    corrupt: Corrupt = "refuse",
) -> TwoSides:
    """Pictures under ``root`` (trainA, trainB, …), or ``a`` and ``b``: each a folder, a glob or a file.

    Partners have the same name below their folder, whatever their suffix, once ``endings`` are taken off.
    """
    unsplit = without_split(a, b)
    check_holdout(holdout, *(("{split}",) if root else (a, b)))
    a, b = places(root, a, b, split)
    found_a, found_b = (find(place, split, holdout, ending) for place, ending in zip((a, b), endings, strict=True))
    files_a, files_b, notes = found_a.files, found_b.files, list[str]()
    if paired or endings != ("", ""):
        named = keys(found_a, endings[0]), keys(found_b, endings[1])
        files_a, files_b = (list(side.values()) for side in named)
    if paired:
        (files_a, files_b), notes = match(named, [str(found_a.base), str(found_b.base)])
    sides = (
        FileSide(image_domain(names[0], read_a), files_a),
        FileSide(image_domain(names[1], read_b), files_b),
    )
    return two_sides(*sides, paired=paired, transform=transform, split=split, corrupt=corrupt, notes=notes, unsplit=unsplit)


def places(root: str | None, a: str | None, b: str | None, split: str) -> tuple[str, str]:
    """The two paths.

    Raises:
        UserError: neither ``root`` nor both of ``a`` and ``b`` are given, or root has no folders for the split.
    """
    if root is None:
        if a is None or b is None:
            raise UserError("give 'root', a folder that holds trainA and trainB, or both 'a' and 'b', folders or globs.")
        return a, b
    if a is not None or b is not None:
        raise UserError("give either 'root' or 'a' and 'b', not both.")
    base = Path(root).expanduser()
    if not base.is_dir():
        find(root)  # it says what is missing
        raise UserError(f"{root}: this is not a folder. Give the folder that holds {split}A and {split}B.")
    for layout in LAYOUTS:
        left, right = (base / part.replace("{split}", split) for part in layout)
        if left.is_dir() and right.is_dir():
            return str(left), str(right)
    there = sorted(entry.name for entry in base.iterdir() if entry.is_dir())
    raise UserError(
        f"{root}: no folders {split}A and {split}B for the split '{split}'. "
        + (f"It holds: {', '.join(there[:12])}. " if there else "It holds no folders. ")
        + "Rename them, choose another split, or give 'a' and 'b'."
    )
