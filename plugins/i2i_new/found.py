"""What was found in folders or tables: the options of a data set, and the reasons for them in words."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from i2i.data import spread
from i2i.errors import UserError
from i2i.experiment.naming import singular
from i2i.pictures.sources import Source
from i2i_data.sizes import Size, size_of
from i2i_new.aligned import of_files
from i2i_new.label_files import Labels, label_maps

COMPARED = 32
"""The number of pairs whose content and size are compared."""
MATCHED = 0.9
"""Pictures are paired by name if this share of the smaller side has a partner."""


@dataclass
class Found:
    """A data set without its transform; ``why`` says in sentences what it was recognised by."""

    name: str
    options: dict[str, Any]
    paired: bool
    counts: tuple[int, int]
    why: list[str]
    splits: tuple[str, ...] = ("train",)
    labels: bool = False
    remarks: list[str] = field(default_factory=list)
    """What it leaves out, and how to choose otherwise."""


@dataclass(frozen=True)
class Partners:
    """Whether the files of two sides are pairs, and why."""

    paired: bool
    why: str
    labels: Labels | None = None
    of_b: bool = False
    """Whether the label maps are on the second side."""


def partners(a: dict[str, Source], b: dict[str, Source]) -> Partners:
    """Pictures of two sides by their names: paired if the names agree, or, if they are only numbers, the contents too."""
    common = sorted(a.keys() & b.keys())
    least = min(len(a), len(b))
    if len(common) < max(2, MATCHED * least):
        few = f"only {len(common)}" if common else "none"
        return Partners(False, f"Unpaired: of the {least} names on the smaller side {few} occur on the other.")
    chosen = [common[i] for i in spread(len(common), COMPARED)]
    odd = [(key, *sizes) for key in chosen if (sizes := _sizes(a[key], b[key])) and sizes[0] != sizes[1]]
    if odd:
        key, (h, w), (height, width) = odd[0]
        return Partners(
            False,
            f"Unpaired: names agree, but partners differ in size ({len(odd)} of {len(chosen)} looked at; '{key}' is {w} x {h} "
            f"and {width} x {height}). Scaled to the same size they could be used as pairs.",
        )
    measured = of_files((a[key], b[key]) for key in chosen)
    told = f"; {measured}" if measured else ""
    if _only_numbers(common) and not (measured and measured.shows_pairs):
        return Partners(False, f"Unpaired: the names agree, but they are only numbers, and the contents do not line up{told}.")
    names = f"{len(common)} names occur on both sides"
    weak = "" if measured is None or measured.shows_pairs else " They hardly line up: if they are not pairs, --method cyclegan."
    maps = [label_maps([side[key] for key in common]) for side in (a, b)]
    found = maps[0] or maps[1] if bool(maps[0]) != bool(maps[1]) else None
    return Partners(True, f"Paired: {names}{told}.{weak}", found, maps[1] is not None)


def _sizes(a: Source, b: Source) -> tuple[Size, Size] | None:
    try:
        return size_of(a, lambda: _unknown(a)), size_of(b, lambda: _unknown(b))
    except UserError:  # arrays and files that cannot be read
        return None


def _unknown(source: Source) -> Any:
    raise UserError(f"{source}: its header does not say its size.")


def _only_numbers(names: Sequence[str]) -> bool:
    """Whether names differ only in their digits, as ``img_0001`` and ``img_0002`` do."""
    return len({re.sub(r"\d+", "", name) for name in islice(names, 1000)}) == 1


def command(*words: object) -> str:
    """An ``i2i new`` that can be copied into a shell."""
    return shlex.join(["i2i", "new", *map(str, words)])


def two_names(a: str, b: str) -> list[str]:
    """What the two domains are called, after their folders or columns."""
    found = [singular(Path(name).name) for name in (a, b)]
    return found if all(found) and found[0] != found[1] else ["a", "b"]
