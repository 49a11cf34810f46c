"""Whether two pictures show the same thing in the same place: measured, as names can coincide by chance."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from i2i.errors import UserError
from i2i.pictures.files import opened_picture
from i2i.pictures.sources import Source

SIDE = 32
"""Edges are compared at this size, where a drawing and a photograph of the same thing still agree."""
LEAST = 0.08
"""The least difference that shows pairs. 32 pairs of drawings of the same things gave 0.15 to 0.43, unrelated pictures and the
halves of wide photographs 0.01."""

Features = NDArray[np.float64]


class Agreement(NamedTuple):
    """The mean correlation of the edges of partners, and of pictures that are not partners."""

    own: float
    others: float

    @property
    def shows_pairs(self) -> bool:
        return self.own - self.others >= LEAST

    def __str__(self) -> str:
        return f"edges correlate {self.own:.2f} within a pair and {self.others:.2f} across pairs"


def agreement(pairs: Sequence[tuple[Features, Features]]) -> Agreement | None:
    """The agreement of partners; None for a single pair."""
    if len(pairs) < 2:
        return None
    left, right = (np.array([pair[i] for pair in pairs]) for i in (0, 1))
    table = left @ right.T
    return Agreement(float(np.diag(table).mean()), float(table[~np.eye(len(pairs), dtype=bool)].mean()))


def of_files(pairs: Iterable[tuple[Source, Source]]) -> Agreement | None:
    """The agreement of pairs of files; those that cannot be read are left out."""
    found = []
    for a, b in pairs:
        try:
            found.append((edges(small(a)), edges(small(b))))
        except UserError:
            continue
    return agreement(found)


def of_halves(sources: Iterable[Source]) -> Agreement | None:
    """The agreement of the left and right halves of pictures."""
    found = []
    for source in sources:
        try:
            whole = small(source, 2 * SIDE + 2)
        except UserError:
            continue
        middle = whole.width // 2
        halves = (whole.crop((0, 0, middle, whole.height)), whole.crop((middle, 0, whole.width, whole.height)))
        found.append((edges(halves[0]), edges(halves[1])))
    return agreement(found)


def small(source: Source, width: int = SIDE + 1) -> Image.Image:
    """A picture in grey at a small size; a JPEG is decoded no larger than it takes."""
    with opened_picture(source) as opened:
        opened.draft("L", (2 * width, 2 * SIDE))
        return opened.convert("L").resize((width, SIDE + 1), Image.Resampling.BOX)


def edges(picture: Image.Image) -> Features:
    """The strength of the edges, without what is common to a row, such as a horizon; of length 1, or 0 for a plain picture."""
    grey = np.asarray(picture, np.float64)
    steps = np.hypot(grey[1:, :-1] - grey[:-1, :-1], grey[:-1, 1:] - grey[:-1, :-1])
    found: Features = (steps - steps.mean(1, keepdims=True)).ravel()
    length = float(np.linalg.norm(found))
    return found / length if length > 1e-9 else found
