"""Label maps: what their numbers or colours mean, and their files as one side of a data set."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from os.path import realpath
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from i2i.errors import UserError, nearest
from i2i.labels import check_ids
from i2i.pictures.reading import numbers, probe, read
from i2i.pictures.sources import Loaded, Source
from i2i.protocols import Domain, Preparation
from i2i_data.sizes import Size, size_of

Color = tuple[int, int, int]
DONT_CARE = "don't care"


@dataclass(frozen=True)
class Table:
    """What the values of a label file mean.

    With ``colors`` a file's pixels are colours, and a class is a colour's place in the table. Otherwise they are numbers, to
    which ``offset`` is added. The numbers (before the offset) in ``dont_care`` become one more class, the last.
    """

    count: int
    offset: int = 0
    dont_care: tuple[int, ...] = ()
    colors: tuple[Color, ...] = ()

    @property
    def total(self) -> int:
        """The number of classes, including "don't care"."""
        return self.count + bool(self.dont_care)


def label_domain(name: str, table: Table, classes: Sequence[str], colors: Sequence[Color], instances: bool) -> Domain:
    """The domain of such label maps; "don't care" is black, or nearly so where a class is."""
    extra = bool(table.dont_care)
    named = (*classes, *([DONT_CARE] if extra else [])) if classes else ()
    free: Color = next((r, g, b) for r, g, b in product(range(256), repeat=3) if (r, g, b) not in colors)
    shown = (*colors, *([free] if extra else [])) if colors else ()
    ignored = table.count if extra else None
    if table.colors:
        made = Preparation(colored=True, unknown=ignored)
    else:
        made = Preparation(offset=table.offset, values=tuple((value, table.count) for value in table.dont_care))
    return Domain(name, "labels", table.total + instances, named, shown, instances, made)


def counted(classes: int | list[str] | None, colors: list[Color] | None) -> tuple[int, list[str]]:
    """The number of classes and their names, from the options.

    Raises:
        UserError: neither says how many classes there are, they disagree, or a name or colour occurs twice.
    """
    if classes is None and not colors:
        raise UserError("give 'classes', their number or names, or 'colors', one [red, green, blue] for each class.")
    names = classes if isinstance(classes, list) else []
    count = len(names) or (classes if isinstance(classes, int) else len(colors or []))
    if colors and len(colors) != count:
        raise UserError(f"there are {count} classes and {len(colors)} colors: give one color for each class.")
    for what, items in (("classes", [str(name) for name in names]), ("colors", [str(list(color)) for color in colors or []])):
        twice = sorted({item for item in items if items.count(item) > 1})
        if twice:
            raise UserError(f"{what}: {twice[0]} occurs twice. Each class needs its own.")
    return count, names


@dataclass(frozen=True)
class LabelSide:
    """Label maps, each with a file of instance numbers if there are any."""

    domain: Domain
    files: Sequence[Path]
    instances: Sequence[Path] = ()

    def __len__(self) -> int:
        return len(self.files)

    def name(self, index: int) -> str:
        return str(self.files[index])

    def identity(self, index: int) -> str:
        return realpath(self.files[index])

    def load(self, index: int) -> Loaded:
        """Ids (1, H, W), or (2, H, W) with instances."""
        return with_instances(self.files[index], self.domain, self.instances[index] if self.instances else None)

    def size(self, index: int) -> Size:
        return size_of(self.files[index], lambda: self.load(index).pixels)

    def probe(self, index: int) -> tuple[str, ...]:
        for file in (self.files[index], *self.instances[index : index + 1]):
            probe(file)
        return ()

    def encoded(self, index: int) -> bytes:
        return encoded_ids(self.load(index).pixels)

    def take(self, indices: Sequence[int]) -> "LabelSide":
        kept = [self.instances[i] for i in indices] if self.instances else ()
        return replace(self, files=[self.files[i] for i in indices], instances=kept)


def with_instances(source: Source, domain: Domain, instances: Source | None = None) -> Loaded:
    """A label map as a sample of the domain, checked; its instance numbers from a file of their own, or from its own."""
    ids = read(source, domain).pixels
    if instances is not None:
        of_instances = torch.from_numpy(numbers(instances))
        if of_instances.shape != ids.shape[1:]:
            raise UserError(
                f"{instances}: its size {tuple(of_instances.shape)[::-1]} is not that of {source}, {tuple(ids.shape[:0:-1])}. "
                "Correct it."
            )
        ids = torch.stack([ids[0].long(), of_instances])
    if domain.instances and len(ids) == 1:
        raise UserError(f"{source}: it holds no instances. Name their files, or set instances to false.")
    check_ids(ids, domain, str(source))
    return Loaded(ids)


def encoded_ids(ids: Tensor) -> bytes:
    """Ids (1, H, W) as a PNG of 8 or 16 bits; (2, H, W) as a .npy file of int32."""
    file = io.BytesIO()
    if len(ids) == 1:
        deep = int(ids.max()) > 255
        Image.fromarray(ids[0].numpy().astype(np.uint16 if deep else np.uint8)).save(file, "PNG")
    else:
        np.save(file, ids.numpy().astype(np.int32))
    return file.getvalue()


def wanted(name: str, there: Sequence[str], what: str, where: str) -> str:
    """*name*, if it is one of *there*.

    Raises:
        UserError: it is not; with the nearest and all that there are.
    """
    if name not in there:
        raise UserError(f"{where}: there is no {what} '{name}'.{nearest(name, list(there))} There are: {', '.join(there)}.")
    return name
