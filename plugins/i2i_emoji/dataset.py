"""The emoji sample: 1,561 things, each drawn four ways on white, 96 x 96 pixels."""

from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.resources import files
from typing import Annotated, Any, Literal

import numpy as np
import torch
from einops import rearrange
from PIL import features
from pydantic import Field
from torch import Tensor

from i2i.errors import UserError
from i2i.pictures.pixels import read_picture
from i2i.pictures.preparation import finished, resized
from i2i.protocols import Domain

Side = Literal["ink", "flat", "glossy", "noto"]
Split = Literal["train", "val", "test"]

_SIZE, _COLUMNS = 96, 16
"""The side of a picture, and the number of pictures in a row of a file; they are in the order of the names."""
TWINS = ("man-mountain-biking", "man-red-hair", "person-in-motorized-wheelchair-facing-right")
"""Things of train whose ink drawing is that of a held-out thing, to the pixel or nearly so: they are left out."""
_FILES = {"ink": "ink_{}.webp", "flat": "flat_{}.avif", "glossy": "glossy_{}.avif", "noto": "noto_{}.avif"}


class EmojiDataset:
    """Pictures of the same things in two styles, or with ``domains`` in several.

    ``ink``, ``flat`` and ``glossy`` are aligned pixel by pixel. ``noto`` is another artist's drawing of the same thing: its
    pairs agree in name only. In train, no sample that contains it is paired; in val and test, the true counterpart stands
    beside each picture, so that translations can be compared with it.

    In an unpaired sample of train, the other sides are drawn from all things, independently of the first; in val and test they
    are a fixed other thing. ``ink`` has one channel; with ``domains`` all sides have three, as the networks of many domains
    share their layers.

    Sources: Fluent Emoji (ink, flat, glossy) and Noto Emoji (noto); see ``data/README.md``.
    """

    licence = "Fluent Emoji: MIT, Microsoft Corporation; Noto Emoji: Apache 2.0, Google Inc; see the plugin's data/README.md"

    def __init__(
        self,
        *,
        a: Annotated[Side, Field(description="The style of the side a.")] = "ink",
        b: Annotated[Side, Field(description="The style of the side b.")] = "glossy",
        domains: Annotated[
            tuple[Side, ...] | None, Field(description="Two or more styles in place of a and b; their names are the keys.")
        ] = None,
        paired: Annotated[
            bool | None, Field(description="Show the same thing on all sides. Default: true, but false for noto in train.")
        ] = None,
        size: Annotated[
            int, Field(ge=8, le=_SIZE, description="The side of a picture, in pixels; scaled down from 96.")
        ] = _SIZE,
        split: Annotated[Split, Field(description="Which things are shown: 1,267, 156 or 135.")] = "train",
        flip: Annotated[bool, Field(description="Mirror half of the pictures in train, with their letters and light.")] = False,
    ) -> None:
        if domains is not None and (a, b) != ("ink", "glossy"):
            raise UserError("give either 'domains' or 'a' and 'b', not both.")
        self.sides: Mapping[str, Side] = {"a": a, "b": b} if domains is None else {side: side for side in domains}
        if len(set(self.sides.values())) < max(2, len(domains or ())):
            raise UserError(
                f"a and b are both '{a}': choose two." if domains is None else "domains: name two or more, each once."
            )
        trained = split == "train"
        if trained and paired and "noto" in self.sides.values():
            raise UserError(
                "'noto' is another artist's drawing of the same things: pairs agree in name, not in their pixels, so there is "
                "nothing paired to train on. Leave 'paired' out; val and test then have the true counterparts all the same."
            )
        self.paired = paired if paired is not None else not (trained and "noto" in self.sides.values())
        grey = domains is None
        self.domains: Mapping[str, Domain] = {
            key: Domain(side, "image", 1 if side == "ink" and grey else 3) for key, side in self.sides.items()
        }
        self.size, self.split, self.flip, self.names = size, split, flip and trained, names(split)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Sample ``index``: for each key float32 (1 or 3, size, size) in [-1, 1]."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        things = self.things(index)
        flipped = [self._flipped()] * len(things) if self.paired else [self._flipped() for _ in things]
        return {key: self._cut(key, thing, flip) for (key, thing), flip in zip(things.items(), flipped, strict=True)}

    def things(self, index: int) -> dict[str, int]:
        """For each key, the number of the thing that sample ``index`` shows; in train it is drawn if the data are unpaired."""
        count = len(self)
        if self.paired:
            return dict.fromkeys(self.sides, index)
        if self.split == "train":
            return {key: int(torch.randint(count, ())) if i else index for i, key in enumerate(self.sides)}
        return {key: (index + i * count // len(self.sides)) % count for i, key in enumerate(self.sides)}

    def sample_name(self, index: int) -> str:
        """The name of the first side's thing."""
        return self.names[index]

    def _flipped(self) -> bool:
        return self.flip and bool(torch.rand(()) < 0.5)

    def _cut(self, key: str, thing: int, flipped: bool) -> Tensor:
        picture = pictures(self.sides[key], self.split, self.size)[thing].expand(self.domains[key].channels, -1, -1)
        return finished(picture.flip(-1) if flipped else picture, labels=False)


@lru_cache(maxsize=8)
def pictures(side: Side, split: Split, size: int = _SIZE) -> Tensor:
    """All pictures of a split in one style, uint8 (N, 1 for ink, else 3, size, size), by antialiased bicubic interpolation.

    Raises:
        UserError: Pillow was built without AVIF.
    """
    file = _FILES[side].format(split)
    if file.endswith(".avif") and not features.check("avif"):
        raise UserError("this build of Pillow reads no AVIF pictures. Install the one from PyPI: pip install --upgrade pillow")
    whole = read_picture(str(_data().joinpath(file))).convert("L" if side == "ink" else "RGB")
    pixels = np.atleast_3d(np.asarray(whole))
    shown = [i for i, name in enumerate(_drawn(split)) if name not in TWINS]
    tiles = rearrange(pixels, "(r h) (c w) k -> (r c) k h w", h=_SIZE, c=_COLUMNS)[shown]
    return resized(torch.from_numpy(np.ascontiguousarray(tiles)), (size, size), labels=False)


@cache
def names(split: Split) -> tuple[str, ...]:
    """What is shown, in the order of the pictures."""
    return tuple(name for name in _drawn(split) if name not in TWINS)


def _drawn(split: Split) -> list[str]:
    """All things in a split's files."""
    text: str = _data().joinpath(f"{split}.txt").read_text(encoding="utf-8")
    return text.split()


def _data() -> Any:
    return files("i2i_emoji") / "data"
