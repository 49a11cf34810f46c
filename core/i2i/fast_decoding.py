"""Ordinary JPEGs, decoded without the copies that Pillow makes. The pixels are those that Pillow gives, bit by bit."""

import simplejpeg  # type: ignore[import-untyped]
import torch
from PIL import ExifTags
from torch import Tensor

from i2i.picture_files import MAX_PIXELS, opened_picture
from i2i.sources import Source, content

_TURNED = range(2, 9)
"""The EXIF orientations that change a picture."""


def plain_jpeg(source: Source, max_pixels: int = MAX_PIXELS) -> Tensor | None:
    """uint8 (3, H, W) of an upright RGB JPEG; None for any other picture, and where something is wrong with the file.

    What is wrong is for Pillow to find again and to say: nothing is raised here.
    """
    try:
        data = content(source)
        if not _plain(data, max_pixels):
            return None
        return torch.from_numpy(simplejpeg.decode_jpeg(data, "RGB")).permute(2, 0, 1)
    except Exception:  # both decoders raise nearly everything on a broken file
        return None


def _plain(data: bytes, max_pixels: int) -> bool:
    with opened_picture(data, "", max_pixels, ["JPEG"]) as opened:
        upright = opened.getexif().get(ExifTags.Base.Orientation) not in _TURNED
        return opened.format == "JPEG" and opened.mode == "RGB" and upright
