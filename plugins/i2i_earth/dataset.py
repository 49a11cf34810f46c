"""The Earth sample: day, night, labels, relief, a map of 1689 and a sketch on one grid of 2700 x 1350 pixels."""

import json
from collections.abc import Mapping
from functools import cache, cached_property
from importlib.resources import files
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from i2i.errors import UserError
from i2i.pictures.pixels import read_picture
from i2i.protocols import Domain

Side = Literal["day", "night", "labels", "oldmap", "relief", "sketch"]
Split = Literal["train", "val", "test"]

# Columns of the bands, end not included; between them lie gaps of 35 pixels (data/README.md, "Suggested split").
BANDS: dict[str, tuple[tuple[int, int], ...]] = {
    "train": ((0, 768), (1094, 1350), (1676, 2700)),
    "val": ((1385, 1641),),
    "test": ((803, 1059),),
}
ROWS = 1024
"""Rows 0-1024 are used: further south the photograph lacks the sea floor."""

OCEAN = 4
"""Ids below this one are classes of the open sea."""

_FILES = {"day": "day.jpg", "night": "night.jpg", "labels": "labels.png", "oldmap": "oldmap.jpg", "relief": "relief.png"}
_TRIES = 100


class Window(NamedTuple):
    """The top left pixel of a crop."""

    row: int
    column: int


class EarthDataset:
    """Crops of two pictures of the whole Earth.

    ``train`` gives random crops from the training bands, none across a band's edge; ``val`` and ``test`` give the tiles that
    cover their band once. Crops with a larger share of open sea than ``max_ocean`` are left out. A paired sample shows one
    place; an unpaired one draws the two sides independently of each other.

    Sources: NASA Blue Marble (day), NASA and NOAA city lights (night), Natural Earth and Köppen-Geiger (labels), SRTM30
    (relief), G. van Schagen 1689 (oldmap); see ``data/README.md``. The sketch is drawn from day.
    """

    licence = "public domain; the climate part of the labels BSD 3-Clause, see the plugin's data/README.md"

    def __init__(
        self,
        *,
        a: Annotated[Side, Field(description="The picture of the side a.")] = "day",
        b: Annotated[Side, Field(description="The picture of the side b.")] = "night",
        paired: Annotated[bool, Field(description="Show the same place on both sides.")] = True,
        crop: Annotated[int, Field(ge=8, le=1024, description="The side of a crop, in pixels.")] = 128,
        split: Annotated[Split, Field(description="Which bands of longitude are shown.")] = "train",
        flip: Annotated[bool, Field(description="Mirror half of the crops in train.")] = True,
        max_ocean: Annotated[float, Field(ge=0, le=1, description="Leave out crops with more open sea (a fraction).")] = 0.95,
    ) -> None:
        if a == b:
            raise UserError(f"a and b are both '{a}': choose two different pictures.")
        if paired and "oldmap" in (a, b):
            raise UserError("'oldmap' shows places where they were believed to be in 1689: set paired to false.")
        narrowest = min(right - left for left, right in BANDS[split])
        if crop > narrowest:
            raise UserError(f"a crop of {crop} is larger than the narrowest band of '{split}', {narrowest} columns.")
        self.domains: Mapping[str, Domain] = {"a": _domain(a), "b": _domain(b)}
        self.paired, self.crop, self.split, self.max_ocean = paired, crop, split, max_ocean
        self.flip = flip and split == "train"
        self.pictures = {"a": picture(a), "b": picture(b)}

    def __len__(self) -> int:
        """The number of tiles in the split; in training, 16 random crops for each of them."""
        return len(self.tiles) * (16 if self.split == "train" else 1)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Sample ``index``: {"a", "b"}, each float32 (C, crop, crop) in [-1, 1] or int64 ids (1, crop, crop)."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        a = self.window(index)
        flipped = self._flipped()
        if self.paired:
            return {"a": self._cut("a", a, flipped), "b": self._cut("b", a, flipped)}
        b = self.window((index + len(self) // 2) % len(self))
        return {"a": self._cut("a", a, flipped), "b": self._cut("b", b, self._flipped())}

    @cached_property
    def tiles(self) -> list[Window]:
        """The crops that cover the split's bands once, row by row, without those that are too much sea."""
        grid = [
            Window(row, column)
            for row in range(0, ROWS - self.crop + 1, self.crop)
            for left, right in BANDS[self.split]
            for column in range(left, right - self.crop + 1, self.crop)
        ]
        kept = [window for window in grid if self.ocean_share(window) <= self.max_ocean]
        if not kept:
            raise UserError(f"no tile of '{self.split}' has at most {self.max_ocean:.0%} sea: raise max_ocean.")
        return kept

    def window(self, index: int) -> Window:
        """The place of a crop: tile ``index``, or in training a place drawn from torch's default generator."""
        if self.split != "train":
            return self.tiles[index]
        for _ in range(_TRIES):
            window = self._draw()
            if self.ocean_share(window) <= self.max_ocean:
                return window
        return self.tiles[int(torch.randint(len(self.tiles), ()))]

    def ocean_share(self, window: Window) -> float:
        """The share of open sea in a crop, in [0, 1]."""
        (top, left), size = window, self.crop
        bottom, right = top + size, left + size
        sums = _ocean_sums()
        return float(sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]) / size**2

    def _draw(self) -> Window:
        """A place in the bands, every one equally likely."""
        widths = [right - left - self.crop + 1 for left, right in BANDS[self.split]]
        offset = int(torch.randint(sum(widths), ()))
        row = int(torch.randint(ROWS - self.crop + 1, ()))
        for (left, _), width in zip(BANDS[self.split], widths, strict=True):
            if offset < width:
                return Window(row, left + offset)
            offset -= width
        raise AssertionError("the offset lies in one of the bands")

    def _flipped(self) -> bool:
        return self.flip and bool(torch.rand(()) < 0.5)

    def _cut(self, key: str, window: Window, flipped: bool) -> Tensor:
        (row, column), size = window, self.crop
        pixels = self.pictures[key][:, row : row + size, column : column + size]
        if flipped:
            pixels = pixels.flip(-1)
        if self.domains[key].kind == "labels":
            return pixels.long()
        return pixels.float() / 127.5 - 1


@cache
def picture(side: Side) -> Tensor:
    """A whole picture, uint8 (C, 1350, 2700)."""
    if side == "sketch":
        return sketch(picture("day"))
    image = read_picture(str(_data().joinpath(_FILES[side])))
    pixels = np.array(image if side == "labels" else image.convert("L" if side == "relief" else "RGB"))
    return torch.from_numpy(pixels if pixels.ndim == 3 else pixels[..., None]).permute(2, 0, 1).contiguous()


def sketch(day: Tensor, sigma: float = 2.0) -> Tensor:
    """A pen drawing of a photograph, uint8 (1, H, W): black lines on white, as engravers drew maps.

    Outlines are Canny edges (Canny 1986) with Gaussian smoothing ``sigma`` pixels, on the square root of each channel: the
    root brings out the edges of dark land and sea. Water, where blue outweighs red and green together, is hatched
    with level lines and dark land with slanting ones, the closer the darker; sand is dotted, and ice is left white.
    """
    from skimage.feature import canny
    from skimage.filters import gaussian

    edges = [canny(np.sqrt(channel.numpy() / 255.0), sigma=sigma) for channel in day]  # type: ignore[no-untyped-call]
    red, green, blue = (gaussian(channel.numpy() / 255.0, sigma) for channel in day)  # type: ignore[no-untyped-call]
    rows, columns = np.indices(red.shape)
    water, tone = blue > red + green, red + green + blue
    level = np.where(tone < 0.25, rows % 3 == 0, rows % 6 == 0)
    slanting = np.where(tone < 0.4, (rows + columns) % 4 == 0, (rows + columns) % 8 == 0)
    dotted = (tone < 2.6) & (rows % 4 == 0) & ((columns + rows // 2) % 4 == 0)
    ink = np.any(edges, axis=0) | np.where(water, level, np.where(tone < 0.9, slanting, dotted))
    return torch.from_numpy(np.where(ink, 0, 255).astype(np.uint8))[None]


@cache
def _ocean_sums() -> NDArray[np.int64]:
    """The number of sea pixels above and left of each corner: a summed-area table, (1351, 2701)."""
    sea = picture("labels")[0].numpy() < OCEAN
    return np.pad(sea.cumsum(0, dtype=np.int64).cumsum(1), ((1, 0), (1, 0)))


def _domain(side: Side) -> Domain:
    if side == "labels":
        classes = json.loads(_data().joinpath("labels.json").read_text(encoding="utf-8"))["classes"]
        names, colors = tuple(c["name"] for c in classes), tuple(tuple(c["color"]) for c in classes)
        return Domain(side, "labels", len(classes), names, colors)
    return Domain(side, "image", 1 if side in ("relief", "sketch") else 3)


def _data() -> Any:
    return files("i2i_earth") / "data"
