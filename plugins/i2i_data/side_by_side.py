"""``side_by_side``: pictures that hold both sides, left and right, as pix2pix's data sets do."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from os.path import realpath
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from PIL import Image
from pydantic import Field

from i2i.errors import UserError
from i2i.pictures.reading import probe, read
from i2i.pictures.sources import Loaded
from i2i.protocols import Domain
from i2i_data.fitting import fits
from i2i_data.holdout import Holdout, check_holdout, without_split
from i2i_data.listing import Split, find
from i2i_data.sides import Corrupt, Names, Sides, image_domain, joined_sides
from i2i_data.sizes import Size, size_of
from i2i_data.sources import READ, Reading
from i2i_data.transforms import PUBLISHED, Varied


@dataclass
class Halved:
    """Whole pictures; the one that was read last is kept, since both halves are asked for in turn."""

    files: Sequence[Path]
    domain: Domain
    last: tuple[int, Loaded] | None = field(default=None, compare=False)

    def load(self, index: int) -> Loaded:
        """A picture whose width is even."""
        last = self.last
        if last is not None and last[0] == index:
            return last[1]
        loaded = read(self.files[index], self.domain)
        width = loaded.pixels.shape[-1]
        if width % 2:
            raise UserError(f"{self.files[index]}: the width {width} cannot be halved. Correct or remove the file.")
        self.last = (index, loaded)
        return loaded


@dataclass(frozen=True)
class HalfSide:
    """The left or the right half of each picture."""

    domain: Domain
    whole: Halved
    right: bool

    def __len__(self) -> int:
        return len(self.whole.files)

    def name(self, index: int) -> str:
        return str(self.whole.files[index])

    def identity(self, index: int) -> str:
        return f"{realpath(self.whole.files[index])}, {'right' if self.right else 'left'}"

    def load(self, index: int) -> Loaded:
        pixels, remarks = self.whole.load(index)
        half = pixels.shape[-1] // 2
        return Loaded(pixels[..., half:] if self.right else pixels[..., :half], remarks)

    def size(self, index: int) -> Size:
        file = self.whole.files[index]
        height, width = size_of(file, lambda: self.whole.load(index).pixels)
        return height, width // 2

    def probe(self, index: int) -> tuple[str, ...]:
        return probe(self.whole.files[index])

    def encoded(self, index: int) -> bytes:
        array = self.load(index).pixels.permute(1, 2, 0).numpy()
        file = io.BytesIO()
        if array.dtype == np.uint8 and array.shape[2] in (1, 3, 4):
            Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).save(file, "PNG")
        else:
            np.save(file, array)
        return file.getvalue()

    def take(self, indices: Sequence[int]) -> "HalfSide":
        return HalfSide(self.domain, Halved([self.whole.files[i] for i in indices], self.whole.domain), self.right)


@fits
def side_by_side(
    *,
    root: Annotated[str, Field(description="A folder of folders for the splits, or a folder or glob, with {split} or whole.")],
    order: Annotated[Literal["ab", "ba"], Field(description="The sides of the left and of the right half.")] = "ab",
    split: Split = "train",
    holdout: Holdout = None,
    names: Names = ("a", "b"),
    read: Reading = READ,
    transform: Varied = PUBLISHED,
    corrupt: Corrupt = "refuse",
) -> Sides:
    """Pictures A|B. A folder without folders for the splits is used whole."""
    base = Path(root).expanduser()
    place = root
    if "{split}" not in root and base.is_dir():
        here = {entry.name for entry in base.iterdir() if entry.is_dir()}
        if split in here:
            place = str(base / split)
        elif here & {"train", "val", "test"}:
            raise UserError(f"{root}: no folder '{split}'. It holds: {', '.join(sorted(here))}. Choose another split.")
    unsplit = without_split(root) if place == root else ()
    check_holdout(holdout, "{split}" if place != root else root)
    whole = Halved(find(place, split, holdout).files, image_domain("whole", read))
    named = zip("ab", names, strict=True)
    sides = {key: HalfSide(image_domain(name, read), whole, (key == order[1])) for key, name in named}
    return joined_sides(sides, paired=True, transform=transform, split=split, corrupt=corrupt, unsplit=unsplit)
