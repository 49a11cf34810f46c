"""Label maps: files of ids, or of colours with a table, to exact class ids."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from os.path import realpath
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from i2i.errors import UserError, nearest
from i2i.label_pictures import ids_of_colors
from i2i.labels import check_ids
from i2i.protocols import Domain
from i2i_data.arrays import numpy_array
from i2i_data.reading import picture_of, probe
from i2i_data.sources import JPEG, NPY, Loaded, Source, head_of

Color = tuple[int, int, int]
Ids = NDArray[np.int64]
_ID_MODES = ("1", "L", "P", "I", "I;16", "I;16L", "I;16B", "I;16N")
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
        """The number of classes, with that for "don't care"."""
        return self.count + bool(self.dont_care)


def label_domain(name: str, table: Table, classes: Sequence[str], colors: Sequence[Color], instances: bool) -> Domain:
    """The domain of such label maps; "don't care" is black."""
    extra = bool(table.dont_care)
    named = (*classes, *([DONT_CARE] if extra else [])) if classes else ()
    shown = (*colors, *([(0, 0, 0)] if extra else [])) if colors else ()
    return Domain(name, "labels", table.total + instances, named, shown, instances)


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


def read_ids(source: Source, table: Table, domain: Domain) -> Ids:
    """Class ids (H, W) of one file, or of a .npy file (2, H, W) with instances.

    Raises:
        UserError: the file is no label map, or holds a number or colour that is no class; it names the file.
    """
    raw = _numbers(source, table)
    if table.colors:
        return raw
    ids: Ids = raw + table.offset
    first = raw if raw.ndim == 2 else raw[0]
    if table.dont_care:
        ignored = np.isin(first, table.dont_care)
        (ids if ids.ndim == 2 else ids[0])[ignored] = table.count
    if ids.ndim == 3:
        ids[1:] = raw[1:]
    _check(ids, first, table, domain, source)
    return ids


def _check(ids: Ids, raw: Ids, table: Table, domain: Domain, source: Source) -> None:
    """Ids within the classes, in terms of the numbers that the file holds."""
    classes = ids if ids.ndim == 2 else ids[0]
    wrong = (classes < 0) | (classes >= table.total)
    if wrong.any():
        values, counts = np.unique(raw[wrong], return_counts=True)
        shown = ", ".join(map(str, values[:5].tolist())) + (", …" if len(values) > 5 else "")
        raise UserError(
            f"{source}: {int(counts.sum())} pixels hold {shown}, outside the {table.total} classes of '{domain.name}' (values "
            f"{-table.offset} to {table.count - 1 - table.offset}). Correct the map, declare more classes, or name the values "
            "that mean nothing in dont_care."
        )


def _numbers(source: Source, table: Table) -> Ids:
    head = head_of(source)
    if head.startswith(JPEG):
        raise UserError(
            f"{source}: a label map saved as JPEG: its compression has changed the ids. Export it again from its source as PNG."
        )
    if head.startswith(NPY):
        array = numpy_array(source)
        if array.dtype.kind not in "bui":
            raise UserError(f"{source}: label ids must be whole numbers, not {array.dtype}. Save them as integers.")
        return array.astype(np.int64)
    picture = picture_of(source)
    if table.colors:
        return _by_color(picture, table, source)
    if picture.mode not in _ID_MODES:
        raise UserError(
            f"{source}: the pixels are {picture.mode}, not ids. Give its 'colors', one [red, green, blue] for each class, "
            "or save a grey or palette PNG of ids."
        )
    return np.asarray(picture).astype(np.int64)


def _by_color(picture: Image.Image, table: Table, source: Source) -> Ids:
    """Each pixel's colour looked up in the table: exact, no nearest colour."""
    if picture.mode in ("RGBA", "LA", "PA"):
        picture = picture.convert("RGBA")
    rgb = np.asarray(picture.convert("RGB"))
    ids = ids_of_colors(rgb, table.colors).astype(np.int64)
    wrong = ids < 0
    if wrong.any():
        if not table.dont_care:
            colors = [list(color) for color in np.unique(rgb[wrong], axis=0)[:3].tolist()]
            hint = " Many colours point to a lossy copy: export the map again as PNG." if wrong.mean() > 0.2 else ""
            raise UserError(
                f"{source}: {int(wrong.sum())} pixels have a colour that is not in the table, for instance {colors}.{hint} Add "
                "the colour, or set dont_care to count unknown colours as the last class."
            )
        ids[wrong] = table.count
    return ids


@dataclass(frozen=True)
class LabelSide:
    """Label maps, with a file of instance numbers beside each where there are."""

    domain: Domain
    files: Sequence[Path]
    table: Table
    instances: Sequence[Path] = ()

    def __len__(self) -> int:
        return len(self.files)

    def name(self, index: int) -> str:
        return str(self.files[index])

    def identity(self, index: int) -> str:
        return realpath(self.files[index])

    def load(self, index: int) -> Loaded:
        """Ids, int64 (1, H, W), or (2, H, W) with instances."""
        source = self.files[index]
        ids = read_ids(source, self.table, self.domain)
        return Loaded(with_instances(ids, self.instances[index] if self.instances else None, self.domain, source))

    def probe(self, index: int) -> tuple[str, ...]:
        for file in (self.files[index], *self.instances[index : index + 1]):
            probe(file)
        return ()

    def encoded(self, index: int) -> bytes:
        return encoded_ids(self.load(index).pixels)

    def take(self, indices: Sequence[int]) -> "LabelSide":
        kept = [self.instances[i] for i in indices] if self.instances else ()
        return replace(self, files=[self.files[i] for i in indices], instances=kept)


def with_instances(ids: Ids, file: Source | None, domain: Domain, source: Source) -> Tensor:
    """Ids (H, W) and the instance numbers of a file as a sample of the domain, checked."""
    planes = ids if ids.ndim == 3 else ids[None]
    if file is not None:
        numbers = _numbers(file, Table(1))
        if numbers.shape != planes.shape[1:]:
            raise UserError(
                f"{file}: its size {numbers.shape[::-1]} is not that of {source}, {planes.shape[:0:-1]}. Correct it."
            )
        planes = np.stack([planes[0], numbers])
    tensor = torch.from_numpy(np.ascontiguousarray(planes))
    if domain.instances and len(tensor) == 1:
        raise UserError(f"{source}: it holds no instances. Name their files, or set instances to false.")
    check_ids(tensor, domain, str(source))
    return tensor


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
