"""The formats of picture files that are opened: a list. Pillow knows more, and hands some of them to other programs."""

import re
import struct
from contextlib import suppress
from functools import cache

from PIL import Image

FORMATS = (
    "PNG", "JPEG", "WEBP", "AVIF", "TIFF", "GIF", "BMP", "PPM", "JPEG2000", "ICO", "ICNS", "PSD", "PCX", "SGI", "QOI", "DDS",
    "TGA",
)  # fmt: skip
"""Pillow's names of formats that it decodes itself and that hold pixels only. TGA has no mark of its own: it is last."""

SIXTEEN_BITS = ("I", "I;16", "I;16L", "I;16B", "I;16N")
"""Pillow's modes of grey pictures of more than 8 bits."""

READS = "PNG, JPEG, WebP, AVIF, TIFF, GIF, BMP, PPM, JPEG 2000 and a few more"

VIDEO = "video"

_HEADS = (
    ("PDF", re.compile(rb"\s*%PDF")),
    (
        "SVG",
        re.compile(rb"\s*(<\?xml[^>]*>\s*)?(<!--((?!-->).)*-->\s*)*(<!DOCTYPE svg[^>]*>\s*)?<svg", re.DOTALL | re.IGNORECASE),
    ),
    ("HEIC", re.compile(rb"....ftyp(heic|heix|heim|heis|hevc|hevx|mif1|msf1)", re.DOTALL)),
)
"""Formats that people have and Pillow does not know."""

_PICTURES = (b"avif", b"avis", b"mif1", b"msf1", b"hei", b"hev", b"jxl ", b"crx ")
"""Brands of ISO media files that hold pictures."""


def is_video(head: bytes) -> bool:
    """Whether a file begins (12 bytes) as an MP4, QuickTime, Matroska, WebM or AVI video does."""
    kind, brand = head[4:8], head[8:12]
    media = kind in (b"moov", b"mdat", b"wide") or (kind == b"ftyp" and not brand.startswith(_PICTURES))
    return media or head.startswith(b"\x1a\x45\xdf\xa3") or (head.startswith(b"RIFF") and brand == b"AVI ")


@cache
def suffixes() -> frozenset[str]:
    """What the names of such files end in, in small letters: {".png", ".jpg", …}. An MPO is opened as the JPEG that it is."""
    return frozenset(suffix for suffix, form in Image.registered_extensions().items() if form in (*FORMATS, "MPO"))


def refused_format(head: bytes) -> str | None:
    """The format that a file's first bytes (16 are enough for most) show, if it is a known one that is not on the list."""
    if is_video(head):
        return VIDEO
    for name, pattern in _HEADS:
        if pattern.match(head):
            return name
    Image.init()
    for name in Image.ID:
        _, accepts = Image.OPEN[name]
        with suppress(SyntaxError, IndexError, TypeError, struct.error):  # of very short files, as Pillow has it
            if name not in FORMATS and accepts is not None and accepts(head[:16]) is True:
                return name
    return None
