"""Pictures of any kind as tensors: 8 and 16 bits, floats, grey, colour, transparency, more channels (TIFF, .npy)."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from i2i.errors import UserError
from i2i.pictures import opened_picture, picture_of_bytes, read_picture
from i2i_data.arrays import Array, deep_png, from_array, needs_tifffile, numpy_array, tiff_array
from i2i_data.fast_decoding import plain_jpeg
from i2i_data.sources import JPEG, NPY, PNG, TIFF, Blob, Loaded, Read, Source, head_of

_SIXTEEN_BITS = ("I", "I;16", "I;16L", "I;16B", "I;16N")


def read_image(source: Source, read: Read) -> Loaded:
    """Read one picture with the channels that *read* declares.

    Raises:
        UserError: the file is missing, corrupt or too large, or does not have the declared channels or values.
    """
    head = head_of(source)
    if head.startswith(NPY):
        return from_array(numpy_array(source), read, source)
    if head.startswith(TIFF) and needs_tifffile(source):
        return from_array(tiff_array(source), read, source)
    if head.startswith(PNG) and len(head) > 25 and head[24] == 16 and head[25] != 0:
        return from_array(deep_png(source), read, source)
    jpeg = head.startswith(JPEG) and read.channels == 3 and read.range is None
    pixels = plain_jpeg(source) if jpeg else None
    return Loaded(pixels) if pixels is not None else _from_picture(picture_of(source), read, source)


def picture_of(source: Source) -> Image.Image:
    """A decoded picture in its own mode, upright; of an animation the first frame."""
    return read_picture(source) if isinstance(source, Path) else picture_of_bytes(source.data, source.name)


def probe(source: Source) -> tuple[str, ...]:
    """Open a file without decoding its pixels; what is worth telling about it.

    Raises:
        UserError: it is missing, empty, no picture or too large.
    """
    head = head_of(source)
    if head.startswith(NPY):
        numpy_array(source)
        return ()
    try:
        with opened_picture(source.data if isinstance(source, Blob) else source, str(source)) as opened:
            animated = bool(getattr(opened, "is_animated", False)) and not head.startswith(TIFF)
            return ("an animation: its first frame is used",) if animated else ()
    except UserError:
        if not (head.startswith(TIFF) and needs_tifffile(source)):
            picture_of(source)  # it says in words what is wrong
            raise
    return ()


def _from_picture(picture: Image.Image, read: Read, source: Source) -> Loaded:
    if picture.mode in (*_SIXTEEN_BITS, "F"):
        array = np.asarray(picture)
        return from_array(array.astype(np.uint16) if picture.mode == "I" and _fits(array) else array, read, source)
    remarks = []
    if picture.has_transparency_data and read.channels not in (2, 4):
        done = "dropped" if read.alpha == "drop" else f"laid on {read.alpha}"
        remarks.append(f"transparency: {done}")
        picture = _opaque(picture, read.alpha)
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}.get(read.channels)
    if mode is None:
        raise UserError(f"{source}: it has {len(picture.getbands())} channels, not {read.channels}. Correct 'channels'.")
    if picture.mode in ("1", "L", "LA", "La") and read.channels >= 3:
        remarks.append(f"grey, repeated to {read.channels} channels")
    elif picture.mode not in ("1", "L", "LA", "La", mode) and read.channels <= 2:
        remarks.append("colour, turned to grey")
    if picture.mode != mode:
        picture = (picture if picture.mode in ("L", "P", "LA", "RGBA") else picture.convert("RGB")).convert(mode)
    array = np.array(picture).reshape(picture.height, picture.width, read.channels)
    if read.range is not None:
        scaled = from_array(array, read, source)
        return Loaded(scaled.pixels, (*remarks, *scaled.remarks))
    return Loaded(torch.from_numpy(array).permute(2, 0, 1), tuple(remarks))


def _fits(array: Array) -> bool:
    return bool(array.min() >= 0 and array.max() <= 65535)


def _opaque(picture: Image.Image, alpha: str) -> Image.Image:
    over = (picture.convert("LA") if picture.mode == "La" else picture).convert("RGBA")
    if alpha == "drop":
        return over.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", over.size, alpha), over).convert("RGB")
