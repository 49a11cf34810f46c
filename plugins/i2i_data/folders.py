"""``folders``: two or more folders or globs of pictures, paired by name or unpaired."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field

from i2i.errors import UserError
from i2i_data.fitting import fits
from i2i_data.given import given as of_pictures
from i2i_data.holdout import Holdout, check_holdout, without_split
from i2i_data.listing import Found, Split, find, keys, match
from i2i_data.sides import Corrupt, FileSide, Names, Sides, check_domains, image_domain, joined_sides
from i2i_data.sources import READ, Reading, Readings
from i2i_data.transforms import PUBLISHED, Varied

LAYOUTS = (("{split}A", "{split}B"), ("{split}/A", "{split}/B"), ("A/{split}", "B/{split}"), ("{split}_A", "{split}_B"))
"""Where the two sides lie under ``root``; the first is CycleGAN's."""

Domains = Annotated[
    dict[str, str] | None,
    Field(description="Any number of domains: the key of each, which is its name, and its folder, glob or file."),
]


@fits
def folders(
    *,
    domains: Domains = None,
    root: Annotated[str | None, Field(description="A folder with trainA and trainB, train/A and train/B, or the like.")] = None,
    a: Annotated[str | None, Field(description="A folder, glob or file for the side a; {split} stands for the split.")] = None,
    b: Annotated[str | None, Field(description="The same for the side b.")] = None,
    paired: Annotated[bool, Field(description="Pair pictures of the same name.")] = False,
    split: Split = "train",
    holdout: Holdout = None,
    endings: Annotated[
        tuple[str, ...], Field(description="Endings to remove from names before pairing, one for each domain.")
    ] = (),
    names: Names = ("a", "b"),
    read: Readings = None,
    read_a: Reading = READ,
    read_b: Reading = READ,
    transform: Varied = PUBLISHED,
    corrupt: Corrupt = "refuse",
) -> Sides:
    """Pictures under ``root`` (trainA, trainB, …), or ``a`` and ``b``, or ``domains``: each a folder, a glob or a file.

    Partners have the same path below their folder, apart from suffixes and ``endings``.
    """
    if domains is not None:
        for_two = {"root": root, "a": a, "b": b, "names": names != ("a", "b")}
        for_two |= {"read_a": read_a != READ, "read_b": read_b != READ}
        check_domains(domains, read, for_two)
        given, made = dict(domains), {key: image_domain(key, (read or {}).get(key, READ)) for key in domains}
    else:
        if read:
            raise UserError("'read' goes with 'domains'. For two sides give read_a and read_b.")
        given = {"root": "{split}"} if root is not None else {key: place for key, place in (("a", a), ("b", b)) if place}
        made = {"a": image_domain(names[0], read_a), "b": image_domain(names[1], read_b)}
    unsplit = without_split(*given.values())
    check_holdout(holdout, *given.values())
    at = given if domains is not None else dict(zip("ab", places(root, a, b, split), strict=True))
    if len(endings) not in (0, len(at)):
        raise UserError(f"endings: there are {len(endings)}, and {len(at)} domains. Give one for each, in their order.")
    ending = dict(zip(at, endings or [""] * len(at), strict=True))
    found = {key: found_in(key, place, domains, split, holdout, ending[key]) for key, place in at.items()}
    files, notes = {key: one.files for key, one in found.items()}, list[str]()
    if paired or any(endings):
        named = {key: keys(one, ending[key]) for key, one in found.items()}
        files = {key: list(by_name.values()) for key, by_name in named.items()}
    if paired:
        matched, notes = match(list(named.values()), [str(one.base) for one in found.values()])
        files = dict(zip(named, matched, strict=True))
    sides = {key: FileSide(made[key], files[key]) for key in at}
    return joined_sides(sides, paired=paired, transform=transform, split=split, corrupt=corrupt, notes=notes, unsplit=unsplit)


vars(folders)["given"] = of_pictures


def found_in(key: str, place: str, domains: Mapping[str, str] | None, split: str, holdout: float | None, ending: str) -> Found:
    """The pictures of a domain; with ``domains``, error messages name its key."""
    try:
        return find(place, split, holdout, ending)
    except UserError as error:
        raise error if domains is None else UserError(f"domains.{key}: {error}") from error


def places(root: str | None, a: str | None, b: str | None, split: str) -> tuple[str, str]:
    """The two paths.

    Raises:
        UserError: neither ``root`` nor both of ``a`` and ``b`` are given, or root has no folders for the split.
    """
    if root is None:
        if a is None or b is None:
            raise UserError(
                "give 'root', a folder that holds trainA and trainB, or both 'a' and 'b', folders or globs, or 'domains', one "
                "for each."
            )
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
