"""An invisible watermark: a picture says that i2i, a trained algorithm, made it, though its metadata are lost.

The picture's luminance, resized to SIDE x SIDE, has ``len(DITHER)`` middle frequencies. A fixed sentence gives each a phase,
and marking moves each frequency towards the nearest value with that phase (quantisation index modulation: Chen and Wornell,
IEEE Transactions on Information Theory 47, 2001). The change is enlarged to the picture's size and added to every channel, so
what survives a resize or JPEG is decided at SIDE x SIDE, however large the picture is. Nothing else is said: no time, no
person, no model. A crop or a rotation loses the mark, and who reads this file can remove or copy it.
"""

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from i2i.errors import UserError
from i2i.pictures.formats import SIXTEEN_BITS
from i2i.pictures.reading import opaque
from i2i.protocols import Domain

MARKER = b"i2i: made by a trained algorithm"
SMALLEST = 128
"""The smallest width and height of a picture that is marked."""
THRESHOLD = 6.5
"""Pictures with at least this :func:`score` are marked.

With phases drawn at random, whatever the picture, ``P(score of one contrast >= t) <= exp(-t^2 / 2)`` (Chernoff; for a cosine of
a random phase ``E exp(a cos x) = I0(a) <= exp(a^2 / 4)``). 45 contrasts are tried, and 45 exp(-6.5^2 / 2) = 3e-8: of unmarked
pictures, less than one in 30 million is accused.
"""

Floats = NDArray[np.float32]

_SIDE, _LOWEST, _HIGHEST = 128, 8, 48
STEP = 16.0
_CONTRASTS = 1.01 ** np.arange(-22, 23)  # 0.80 to 1.24
_ROUNDS = 3
_PLENTY, _WEAK = 256, 0.6  # from this size on the mark is weaker: there is room for it


def _cosines() -> Floats:
    """The matrix of the orthonormal discrete cosine transform (type 2), (frequency, place)."""
    number = np.arange(_SIDE)
    matrix = np.cos(np.pi * (2 * number[None] + 1) * number[:, None] / (2 * _SIDE)) * (2 / _SIDE) ** 0.5
    matrix[0] /= 2**0.5
    return np.asarray(matrix, np.float32)


def _phases(count: int) -> Floats:
    """A number in [0, STEP) for each frequency, from a hash of the marker: the same on every machine."""
    drawn = np.frombuffer(hashlib.shake_256(MARKER).digest(2 * count), "<u2")
    return (drawn * (STEP / 2**16)).astype(np.float32)


_COSINES = _cosines()
_radius = np.hypot(*np.mgrid[:_SIDE, :_SIDE])
_BAND = (_radius >= _LOWEST) & (_radius < _HIGHEST)
DITHER = _phases(int(_BAND.sum()))


def mark(picture: Image.Image) -> Image.Image:
    """The picture with the mark: mode RGB or L, 8 bits, at least SMALLEST pixels wide and high."""
    now = _frequencies(picture)
    strength = 1.0 if min(picture.size) < _PLENTY else _WEAK
    wanted = now + strength * (DITHER + STEP * np.rint((now - DITHER) / STEP) - now)
    change, marked = np.zeros((_SIDE, _SIDE), np.float32), picture
    for _ in range(_ROUNDS):  # rounding, clipping and resizing take some of it away, which the next round adds
        missing = np.zeros_like(change)
        missing[_BAND] = wanted - _frequencies(marked)
        change += _COSINES.T @ missing @ _COSINES
        enlarged = np.asarray(Image.fromarray(change).resize(picture.size, Image.Resampling.BICUBIC))
        channels = [np.asarray(channel) + enlarged for channel in picture.split()]
        marked = Image.merge(picture.mode, [Image.fromarray(each.round().clip(0, 255).astype(np.uint8)) for each in channels])
    return marked


def score(picture: Image.Image) -> float:
    """How well the picture has the mark's phases: about 0 or 1 without it, 60 at most; of any mode and size.

    The sum over the n frequencies of the cosine of the distance from the phase, times sqrt(2 / n): variance 1 where phases are
    random. The largest over some contrasts, for pictures that were made paler or stronger.
    """
    frequencies = _frequencies(_grey(picture))
    turns = (frequencies[:, None] / _CONTRASTS - DITHER[:, None]) / STEP
    return float(np.cos(2 * np.pi * turns).sum(0).max() * (2 / len(DITHER)) ** 0.5)


def found(picture: Image.Image) -> bool:
    """Whether the picture is marked. That it is not proves nothing."""
    return score(picture) >= THRESHOLD


def check(target: Domain, sizes: Iterable[tuple[str, tuple[int, int]]]) -> None:
    """Whether pictures of a domain, by name with width and height, can be marked.

    Raises:
        UserError: they are label maps, or some are too small (all are named).
    """
    if target.kind == "labels":
        raise UserError(
            f"watermark: '{target.name}' holds label maps, whose class ids a watermark would change. "
            "Leave out --watermark; the metadata say what made them all the same."
        )
    small = [
        f"{name}: {width} x {height} pixels are too few for a watermark, which needs {SMALLEST} x {SMALLEST}. "
        "Leave out --watermark, or give a larger picture."
        for name, (width, height) in sizes
        if min(width, height) < SMALLEST
    ]
    if small:
        raise UserError("\n".join(small))


def _frequencies(picture: Image.Image) -> Floats:
    """The frequencies that carry the mark, (n,), in grey levels."""
    small = picture.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    return np.asarray((_COSINES @ np.asarray(small, np.float32) @ _COSINES.T)[_BAND])


def _grey(picture: Image.Image) -> Image.Image:
    """Any picture in grey, 8 bits, opaque. Integers are of 16 bits; floats in [0, 1], or in [0, 255] where any is above 1."""
    if picture.mode in (*SIXTEEN_BITS, "F"):
        values = np.nan_to_num(np.array(picture, dtype=np.float64))
        scale = 1 / 257 if picture.mode != "F" else 255 if values.max() <= 1 else 1
        return Image.fromarray((values * scale).round().clip(0, 255).astype(np.uint8))
    if picture.has_transparency_data:
        return opaque(picture, "white").convert("L")
    return picture if picture.mode == "L" else picture.convert("RGB").convert("L")  # not every mode converts to L directly
