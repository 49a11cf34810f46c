"""``single``: one picture of each side; every sample is a crop of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from pydantic import Field

from i2i.errors import UserError
from i2i.pictures.sources import Loaded
from i2i.protocols import Domain
from i2i_data.fitting import fits
from i2i_data.holdout import without_split
from i2i_data.listing import Split, find
from i2i_data.sides import Corrupt, FileSide, Names, Side, Sides, image_domain, joined_sides
from i2i_data.sizes import Size
from i2i_data.sources import READ, Reading
from i2i_data.transforms import Transform, Varied

CROPS = Transform(crop=128, zoom=(0.75, 1.25))


@dataclass(frozen=True)
class InMemory:
    """A side of one picture, which is read once."""

    inner: Side

    @property
    def domain(self) -> Domain:
        return self.inner.domain

    def __len__(self) -> int:
        return 1

    def name(self, index: int) -> str:
        return self.inner.name(0)

    def identity(self, index: int) -> str:
        return self.inner.identity(0)

    @cached_property
    def picture(self) -> Loaded:
        return self.inner.load(0)

    def load(self, index: int) -> Loaded:
        return self.picture

    def size(self, index: int) -> Size:
        return self.inner.size(0)

    def probe(self, index: int) -> tuple[str, ...]:
        return self.inner.probe(index)

    def encoded(self, index: int) -> bytes:
        return self.inner.encoded(index)

    def take(self, indices: Sequence[int]) -> "InMemory":
        return InMemory(self.inner.take(indices))


@fits
def single(
    *,
    a: Annotated[str, Field(description="The picture of the side a.")],
    b: Annotated[str, Field(description="The picture of the side b.")],
    paired: Annotated[bool, Field(description="Both show the same place and have the same size.")] = False,
    length: Annotated[int, Field(ge=1, description="The number of crops in an epoch.")] = 1000,
    split: Split = "train",
    names: Names = ("a", "b"),
    read_a: Reading = READ,
    read_b: Reading = READ,
    transform: Varied = CROPS,
) -> Sides:
    """Two picture files. An epoch is ``length`` crops; the other splits show one crop, at the centre.

    Where the paths have no ``{split}`` nothing is held out, and figures are of the pictures that were trained on.
    With ``paired`` both pictures show the same place and have one size.
    """
    sides: dict[str, Side] = {}
    for key, place, name, read in (("a", a, names[0], read_a), ("b", b, names[1], read_b)):
        files = find(place, split).files
        if len(files) > 1:
            raise UserError(f"{place}: {len(files)} pictures; 'single' takes one for each side. Use the data set 'folders'.")
        sides[key] = InMemory(FileSide(image_domain(name, read), files))
    corrupt: Corrupt = "refuse"
    kept = length if split == "train" else 1
    unsplit = without_split(a, b)
    return joined_sides(sides, paired=paired, transform=transform, split=split, corrupt=corrupt, length=kept, unsplit=unsplit)
