"""Pictures that are given in Python: lists of them, and the data sets of other libraries, as sides of a data set.

``i2i.Experiment`` finds this as the attribute ``given`` of the data set ``folders``: ``folders.given(sides)`` is a factory.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from os.path import realpath
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor

from i2i.errors import UserError
from i2i.pictures.pixels import upright
from i2i.pictures.reading import pixels_of, pixels_of_array, probe, read
from i2i.pictures.sources import Blob, Loaded
from i2i.protocols import Domain
from i2i_data.fitting import fits
from i2i_data.holdout import Holdout, those_of
from i2i_data.ids import Table, counted, label_domain
from i2i_data.label_maps import Classes, Colors, DontCare, Offset
from i2i_data.listing import Split
from i2i_data.sides import Corrupt, Sides, image_domain, joined_sides
from i2i_data.sizes import Size, size_of
from i2i_data.sources import READ, Reading
from i2i_data.transforms import PUBLISHED, Varied

Floats = Annotated[tuple[float, float], Field(description="The values of black and white in pictures of floats.")]


@dataclass(frozen=True)
class GivenSide:
    """Pictures in a sequence; ``rows`` are those that belong to the side."""

    domain: Domain
    pictures: Sequence[Any]
    rows: Sequence[int]
    floats: tuple[float, float] = (0.0, 1.0)

    def __len__(self) -> int:
        return len(self.rows)

    def name(self, index: int) -> str:
        return f"picture {self.rows[index]} of '{self.domain.name}'"

    def identity(self, index: int) -> str:
        path = self._path(index)
        return self.name(index) if path is None else realpath(path)

    def described(self) -> Any:
        """The rows and the sizes of the files among ten pictures, for a fingerprint."""
        paths = [self._path(index) for index in range(0, len(self), -(-len(self) // 10))]
        return self.domain.name, list(self.rows), [path.stat().st_size for path in paths if path is not None]

    def load(self, index: int) -> Loaded:
        """Pixels as those of a file.

        Raises:
            UserError: it is not a picture, or has other channels, values or classes than the domain.
        """
        picture, where = self.pictures[self.rows[index]], self.name(index)
        if isinstance(picture, str | Path):
            return read(Path(picture), self.domain)
        try:
            return _loaded(picture, self.domain, self.floats, where)
        except UserError as error:
            raise error if str(error).startswith(where) else UserError(f"{where}: {error}") from error

    def probe(self, index: int) -> tuple[str, ...]:
        path = self._path(index)
        return () if path is None else probe(path)

    def encoded(self, index: int) -> bytes:
        raise UserError(f"{self.name(index)}: it was given in Python. Save the pictures in a folder to pack them.")

    def size(self, index: int) -> Size:
        path = self._path(index)
        if path is not None:
            return size_of(path, lambda: self.load(index).pixels)
        height, width = self.load(index).pixels.shape[-2:]
        return height, width

    def take(self, indices: Sequence[int]) -> "GivenSide":
        return replace(self, rows=[self.rows[i] for i in indices])

    def _path(self, index: int) -> Path | None:
        """The file of a picture, if a list says it."""
        picture = self.pictures[self.rows[index]] if isinstance(self.pictures, list) else None
        return Path(picture) if isinstance(picture, str | Path) else None


def given(sides: Mapping[str, Sequence[Any]]) -> Callable[..., Sides]:
    """The factory of a data set of these pictures, by domain key."""
    factory = partial(pictures, sides)
    vars(factory)["__name__"] = "pictures"
    return fits(factory)


def pictures(
    sides: Mapping[str, Sequence[Any]],
    *,
    names: Annotated[tuple[str, ...], Field(description="What the domains are called. Default: their keys.")] = (),
    paired: Annotated[bool, Field(description="The pictures of one number belong together.")] = False,
    split: Split = "train",
    holdout: Holdout = None,
    labels: Annotated[str | None, Field(description="The domain whose pictures are label maps.")] = None,
    classes: Classes = None,
    colors: Colors = None,
    offset: Offset = 0,
    dont_care: DontCare = None,
    read: Reading = READ,
    floats: Floats = (0.0, 1.0),
    transform: Varied = PUBLISHED,
    corrupt: Corrupt = "refuse",
) -> Sides:
    """The pictures of each domain, by key: paths, bytes of files, PIL pictures, arrays (H, W) or (H, W, C), tensors (C, H, W).

    Whole numbers of 8 bits are 0 to 255; floats lie in ``floats``. Label maps are pictures, or whole numbers (H, W).
    """
    sizes = {key: len(shown) for key, shown in sides.items()}
    if empty := [key for key, size in sizes.items() if size == 0]:
        raise UserError(f"there is no picture of '{empty[0]}'.")
    if paired and len(set(sizes.values())) > 1:
        raise UserError(f"pairs need as many pictures on every side; there are {' and '.join(map(str, sizes.values()))}.")
    if labels is not None and labels not in sides:
        raise UserError(f"labels: there is no domain '{labels}'. There are: {', '.join(sides)}.")
    if len(names) not in (0, len(sides)):
        raise UserError(f"names: there are {len(names)}, and {len(sides)} domains. Give one for each.")
    made: dict[str, GivenSide] = {}
    for (key, shown), name in zip(sides.items(), names or sides, strict=True):
        rows: Sequence[int] = range(len(shown))
        if holdout is not None:
            rows = those_of(split, holdout, rows, str, f"{len(shown)} pictures of '{key}'")
        domain = image_domain(name, read)
        if labels == key:
            count, named = counted(classes, colors)
            domain = label_domain(
                name, Table(count, offset, tuple(dont_care or ()), tuple(colors or ())), named, colors or [], False
            )
        made[key] = GivenSide(domain, shown, rows, floats)
    unsplit = tuple(f"the pictures of '{side.domain.name}'" for side in made.values())
    return joined_sides(made, paired=paired, transform=transform, split=split, corrupt=corrupt, unsplit=unsplit)


def _loaded(picture: Any, domain: Domain, floats: tuple[float, float], where: str) -> Loaded:
    """The pixels of what is not a path."""
    if isinstance(picture, bytes):
        return read(Blob(picture, where), domain)
    if isinstance(picture, Image.Image):
        return pixels_of(upright(picture), domain, where)
    if isinstance(picture, Tensor):
        shape = tuple(picture.shape)
        if len(shape) == 3 and shape[0] not in (1, 3, 4) and shape[2] in (1, 3, 4):
            raise UserError(f"the tensor has the shape {shape}; expected (C, H, W). Only an array may be (H, W, C).")
        picture = picture.detach().cpu().numpy()
        picture = np.moveaxis(picture, 0, -1) if picture.ndim == 3 else picture
    if not isinstance(picture, np.ndarray):
        raise UserError(
            f"it is a {type(picture).__name__}. Give a path, a PIL picture, an array (H, W, C) or a tensor (C, H, W)."
        )
    if picture.dtype == np.bool_:
        picture = picture.astype(np.uint8) * (1 if domain.kind == "labels" else 255)
    if domain.kind == "labels" or not np.issubdtype(picture.dtype, np.floating):
        return Loaded(pixels_of_array(picture, domain))
    return Loaded(_of_floats(picture, domain, floats))


def _of_floats(array: Any, domain: Domain, floats: tuple[float, float]) -> Tensor:
    """Floats (H, W) or (H, W, C) as float32 (C, H, W) in [0, 1]; grey is repeated where colours are wanted."""
    array = array[..., None] if array.ndim == 2 else array
    grey = array.ndim == 3 and array.shape[2] == 1 and domain.channels == 3
    if array.ndim != 3 or array.size == 0 or not (grey or array.shape[2] == domain.channels):
        raise UserError(f"its shape is {array.shape} (height, width, channels); expected {domain.channels} channels.")
    low, high = float(array.min()), float(array.max())
    (black, white), slack = floats, 1e-3 * (floats[1] - floats[0])
    if not (black - slack <= low <= high <= white + slack):
        raise UserError(
            f"its values lie in [{low:.3g}, {high:.3g}]; floats are expected in [{black:g}, {white:g}]. Say floats=(black, "
            "white) if they have another range."
        )
    scaled = (torch.tensor(array, dtype=torch.float32) - black) / (white - black)
    return scaled.permute(2, 0, 1).clamp(0, 1).expand(domain.channels if grey else -1, -1, -1).contiguous()
