"""Pictures of label maps: ids in grey ones, the classes' colours in coloured ones."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from i2i.errors import UserError
from i2i.protocols import Domain

Color = tuple[int, int, int]

_GREYS = ("1", "L", "I", "I;16", "I;16L", "I;16B", "I;16N")
COLORED = ("P", "PA", "RGB", "RGBA")
"""Modes of pictures that may show classes by their colours."""


def ids_of(picture: Image.Image, domain: Domain, where: str) -> NDArray[np.integer]:
    """The class ids (H, W) that a picture shows; grey values are ids, and are not checked here.

    A colour is looked up in the domain's table. A palette's indices are the ids where its colours are those of their
    classes, as in what :func:`picture_of_ids` makes, where it is a ramp of greys, or where the domain has no colours.

    Raises:
        UserError: a colour is no class's, the domain has no colours, or the picture is of another kind.
    """
    if picture.mode in _GREYS or (picture.mode == "P" and _indices_are_ids(picture, domain)):
        return np.array(picture)
    if picture.mode not in COLORED or not domain.colors:
        coloured = ", or coloured as its classes are" if domain.colors else ""
        raise UserError(
            f"{where}: a label map of '{domain.name}' must hold class ids, as a grey or palette PNG{coloured}; "
            f"this picture is {picture.mode}."
        )
    rgb = np.array(picture.convert("RGB"))
    ids = ids_of_colors(rgb, domain.colors)
    if (ids < 0).any():
        raise UserError(f"{where}: {_unknown(rgb[ids < 0], ids.size, domain)}")
    return ids


def picture_of_ids(ids: NDArray[np.integer], domain: Domain) -> Image.Image:
    """A palette of the classes' colours; grey where the domain has none, 16 bits where 8 are too few."""
    if domain.channels > 256:
        return Image.fromarray(ids.astype(np.uint16))
    picture = Image.fromarray(ids.astype(np.uint8))
    if domain.colors:
        picture.putpalette([value for color in domain.colors for value in color])
    return picture


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


def _indices_are_ids(picture: Image.Image, domain: Domain) -> bool:
    palette = np.array(picture.getpalette() or [], np.uint8).reshape(-1, 3)
    used = [index for index, count in enumerate(picture.histogram()) if count]
    if not domain.colors or used[-1] >= len(palette):
        return True
    shown = [tuple(palette[index].tolist()) for index in used]
    own = used[-1] < len(domain.colors) and shown == [domain.colors[index] for index in used]
    return own or shown == [(index, index, index) for index in used]


def _unknown(rgb: NDArray[np.uint8], pixels: int, domain: Domain) -> str:
    """The most frequent of the colours (N, 3) that are no class's, with the class that is nearest."""
    colors, counts = np.unique(rgb, axis=0, return_counts=True)
    color = colors[counts.argmax()].astype(np.int64)
    nearest = int(((np.array(domain.colors) - color) ** 2).sum(1).argmin())
    name = f"'{domain.classes[nearest]}'" if domain.classes else f"class {nearest}"
    lossy = " So many colours point to a lossy or smoothed copy." if len(colors) > 16 and len(rgb) > pixels / 20 else ""
    return (
        f"{len(rgb)} of {pixels} pixels have a colour that no class of '{domain.name}' has, most often "
        f"{tuple(color.tolist())}; the nearest is {name}, {domain.colors[nearest]}.{lossy} Paint in exactly the classes' "
        "colours and save a PNG, or save a grey PNG of ids."
    )
