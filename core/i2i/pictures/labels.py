"""Pictures of label maps: numbers in grey ones, the classes' colours in coloured ones; and which class each stands for."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from i2i.errors import UserError
from i2i.pictures.formats import SIXTEEN_BITS
from i2i.protocols import Domain

Color = tuple[int, int, int]

_GREYS = ("1", "L", *SIXTEEN_BITS)
_COLORED = ("P", "PA", "RGB", "RGBA")
"""Modes of pictures that may show classes by their colours."""


def ids_of(picture: Image.Image, domain: Domain, where: str) -> NDArray[np.int64]:
    """The class ids (H, W) that a picture of a label map shows, by the domain's preparation.

    A grey picture's numbers are what ``values`` and ``offset`` give, and other pictures' colours are looked up in the domain's
    table. A palette's indices are numbers where its colours are those of their classes, as in what :func:`picture_of_ids`
    makes, where it is a ramp of greys, or where the domain has no colours. Where files are ``colored``, every colour is looked
    up, greys too.

    Raises:
        UserError: a number or colour belongs to no class, the domain has no colours, or the picture has a different kind.
    """
    made = domain.preparation
    if not made.colored and (picture.mode in _GREYS or (picture.mode == "P" and _indices_are_numbers(picture, domain))):
        return ids_of_numbers(np.array(picture), domain, where)
    if picture.mode not in (*_COLORED, *(_GREYS[:2] if made.colored else ())) or not domain.colors:
        coloured = ", or coloured as its classes are" if domain.colors else ""
        known = "" if domain.colors else " For training, give 'colors', one [red, green, blue] for each class."
        raise UserError(
            f"{where}: a label map of '{domain.name}' must hold class ids, as a grey or palette PNG{coloured}; "
            f"this picture is {picture.mode}.{known}"
        )
    rgb = np.array(picture.convert("RGB"))
    ids = ids_of_colors(rgb, domain.colors)
    if (ids < 0).any():
        if made.unknown is None:
            raise UserError(f"{where}: {_unknown(rgb[ids < 0], ids.size, domain)}")
        ids[ids < 0] = made.unknown
    return ids.astype(np.int64)


def ids_of_numbers(numbers: NDArray[Any], domain: Domain, where: str) -> NDArray[np.int64]:
    """The classes that a file's numbers (H, W) stand for.

    Raises:
        UserError: some stand for none.
    """
    ids = _mapped(numbers.astype(np.int64), domain)
    wrong = (ids < 0) | (ids >= domain.label_count)
    if wrong.any():
        values, counts = np.unique(numbers[wrong], return_counts=True)
        shown = ", ".join(str(int(value)) for value in values[:5]) + (", …" if len(values) > 5 else "")
        made = domain.preparation
        more = "".join(f", {value}" for value, _ in made.values[:5]) + (", …" if len(made.values) > 5 else "")
        raise UserError(
            f"{where}: {int(counts.sum())} pixels hold {shown}, outside the {domain.label_count} classes of '{domain.name}' "
            f"(values {-made.offset} to {domain.label_count - 1 - made.offset}{more}). Correct the map; for training, declare "
            "more classes, or name the values that mean nothing in dont_care."
        )
    return ids


def _mapped(numbers: NDArray[np.int64], domain: Domain) -> NDArray[np.int64]:
    """Numbers to classes, whether there are such classes or not."""
    made = domain.preparation
    ids: NDArray[np.int64] = numbers + made.offset
    if made.values:
        table = np.array(sorted(made.values), np.int64)
        at = np.searchsorted(table[:, 0], numbers).clip(max=len(table) - 1)
        listed = table[at, 0] == numbers
        ids[listed] = table[at, 1][listed]
    return ids


def numbers_of_classes(domain: Domain) -> NDArray[np.int64]:
    """For each class its number in the domain's files, so that written files are read back as the same classes.

    If a class has several numbers, it is the first in ``values``. A class without a number gets one that no class has, which
    reading refuses. If files are coloured, or a number has more than 16 bits, the ids themselves are used.
    """
    made, count = domain.preparation, domain.label_count
    own = {label: value for value, label in reversed(made.values) if value >= 0}
    natural = ((label, label - made.offset) for label in range(count))
    listed = {value for value, _ in made.values}
    own = {**{label: value for label, value in natural if value >= 0 and value not in listed}, **own}
    free = max([-1, *listed, *own.values(), count - 1 - made.offset]) + 1
    numbers = np.array([own.get(label, free + label) for label in range(count)], np.int64)
    return np.arange(count) if made.colored or numbers.max() >= 2**16 else numbers


def colors_of(domain: Domain) -> NDArray[np.uint8]:
    """The colours (classes, 3) in which classes are shown: the domain's own, or else those of their ids."""
    return np.array(domain.colors, np.uint8) if domain.colors else colors_of_ids(np.arange(domain.label_count))


def colors_of_ids(ids: NDArray[np.integer]) -> NDArray[np.uint8]:
    """A colour (…, 3) for each id (…), always the same one and different for all ids below 2^24.

    They are the colours of PASCAL VOC's label maps: the bits of an id become, in turn, the highest bits of red, green and blue.
    """
    colors = np.zeros((*ids.shape, 3), np.uint8)
    for bit in range(24):
        colors[..., bit % 3] |= ((ids >> bit) & 1).astype(np.uint8) << (7 - bit // 3)
    return colors


def picture_of_ids(ids: NDArray[np.integer], domain: Domain) -> Image.Image:
    """The domain's own numbers, as a palette of the classes' colours (:func:`colors_of`); 16-bit greys where 8 are too few."""
    numbers = numbers_of_classes(domain)
    if numbers.max() > 255:
        return Image.fromarray(numbers.astype(np.uint16)[ids])
    picture = Image.fromarray(numbers.astype(np.uint8)[ids])
    palette = np.zeros((int(numbers.max()) + 1, 3), np.uint8)
    palette[numbers] = colors_of(domain)[: len(numbers)]
    picture.putpalette(palette.flatten().tolist())
    return picture


def painted(ids: NDArray[np.integer], domain: Domain) -> Image.Image:
    """Class ids (H, W) to look at: in the classes' colours, of any number of classes."""
    return Image.fromarray(colors_of(domain)[ids])


def ids_of_colors(rgb: NDArray[np.uint8], colors: Sequence[Color]) -> NDArray[np.int32]:
    """Each pixel's place in the table, (H, W, 3) to (H, W): exact, and -1 where no class has the colour."""
    known, codes = _codes(np.array(colors, np.uint8)), _codes(rgb)
    order = np.argsort(known, kind="stable")  # the first of two classes with one colour
    at = np.searchsorted(known, codes, sorter=order).clip(max=len(known) - 1)
    ids: NDArray[np.int32] = order[at].astype(np.int32)
    ids[known[ids] != codes] = -1
    return ids


def _codes(rgb: NDArray[np.uint8]) -> NDArray[np.int32]:
    red, green, blue = (rgb[..., i].astype(np.int32) for i in range(3))
    codes: NDArray[np.int32] = red << 16 | green << 8 | blue
    return codes


def _indices_are_numbers(picture: Image.Image, domain: Domain) -> bool:
    palette = np.array(picture.getpalette() or [], np.uint8).reshape(-1, 3)
    used = [index for index, count in enumerate(picture.histogram()) if count]
    if not domain.colors or used[-1] >= len(palette):
        return True
    shown = [tuple(palette[index].tolist()) for index in used]
    labels = _mapped(np.array(used), domain)
    own = labels.min() >= 0 and labels.max() < len(domain.colors) and shown == [domain.colors[label] for label in labels]
    return own or shown == [(index, index, index) for index in used]


def _unknown(rgb: NDArray[np.uint8], pixels: int, domain: Domain) -> str:
    """The most frequent of the colours (N, 3) that are no class's, with the class that is nearest."""
    colors, counts = np.unique(rgb, axis=0, return_counts=True)
    color = colors[counts.argmax()].astype(np.int64)
    nearest = int(((np.array(domain.colors) - color) ** 2).sum(1).argmin())
    name = f"'{domain.classes[nearest]}'" if domain.classes else f"class {nearest}"
    lossy = " So many colours point to a lossy or smoothed copy." if len(colors) > 16 and len(rgb) > pixels / 20 else ""
    other = "save a grey PNG of ids"
    if domain.preparation.colored:
        other = "for training add the colour, or set dont_care to count unknown colours as the last class"
    return (
        f"{len(rgb)} of {pixels} pixels have a colour that no class of '{domain.name}' has, most often "
        f"{tuple(color.tolist())}; the nearest is {name}, {domain.colors[nearest]}.{lossy} Paint in exactly the classes' "
        f"colours and save a PNG, or {other}."
    )
