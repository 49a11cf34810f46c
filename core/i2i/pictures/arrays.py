"""Arrays of numbers as images: .npy files, TIFFs and PNGs with more than Pillow reads, and declared value ranges."""

import io
import math
import zlib
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from i2i.errors import UserError
from i2i.pictures.files import MAX_PIXELS, opened_picture
from i2i.pictures.sources import Blob, Loaded, Source, check_size, content, head_of
from i2i.protocols import Domain

Array = NDArray[Any]
MOST_CHANNELS = 1024
ROWS = 256
"""Rows of an array that are scaled at a time."""
_PLAIN, _DEFLATE = 1, (8, 32946)  # TIFF's numbers for how a file is compressed
_LUMA = (0.299, 0.587, 0.114)
_RGB, _GREY_ALPHA = 2, 4  # PNG's numbers for what a pixel is


def numpy_array(source: Source, max_pixels: int = MAX_PIXELS) -> Array:
    """The array of a .npy file; pickled objects are refused."""
    try:
        if isinstance(source, Blob):
            array: Array = np.load(io.BytesIO(source.data), allow_pickle=False)
        else:
            array = np.load(source, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # its header is read by Python's tokenizer and parser
        raise UserError(f"{source}: the array is corrupt or holds objects ({error}). Save numbers with np.save.") from error
    if array.dtype.kind not in "buif" or array.ndim not in (2, 3) or array.size == 0:
        raise UserError(
            f"{source}: {array.dtype} of the shape {array.shape} is not a picture. Save numbers (H, W) or (H, W, C)."
        )
    height, width = sorted(array.shape)[-2:]
    check_size(source, width, height, max_pixels)
    return array


def needs_tifffile(source: Source) -> bool:
    """Pillow reads TIFFs of 8 bits, and of 16 bits in grey; others it reads at 8 bits or not at all."""
    try:
        with _tiff(source) as tiff:
            page: Any = tiff.pages[0]
            kind, samples, single = np.dtype(page.dtype), int(page.samplesperpixel), not _has_page(tiff, 1)
    except Exception:  # Pillow will say what is wrong
        return False
    small = kind == np.uint8 and samples <= 4
    return not (single and (small or kind == np.bool_ or (kind == np.uint16 and samples == 1)))


def tiff_array(source: Source, domain: Domain, max_pixels: int = MAX_PIXELS) -> Array:
    """The pictures of a TIFF as one array, (H, W), (H, W, C) or a page for each channel. Its size is checked before."""
    try:
        with _tiff(source) as tiff:
            if _has_page(tiff, MOST_CHANNELS):
                raise UserError(f"{source}: the TIFF has more than {MOST_CHANNELS} pages. Give one picture.")
            shape = tuple(tiff.series[0].shape)
            height, width = sorted((1, *shape))[-2:]
            check_size(source, width, height, max_pixels)
            if len(shape) == 3:
                _check_channels(shape[0 if _channels_first(shape, domain.channels) else 2], domain, source)
            if len(shape) not in (2, 3) or not 0 < math.prod(shape) <= max_pixels * max(4, domain.channels):
                raise UserError(f"{source}: a TIFF of the shape {shape} is not a picture of '{domain.name}'. Give (H, W, C).")
            _check_expansion(tiff.series[0], source, tiff.filehandle.size)
            array = np.asarray(tiff.series[0].asarray())
            if array.shape != shape:
                raise UserError(f"{source}: the TIFF is corrupt: it holds less than its header says. Replace the file.")
            return array
    except UserError:
        raise
    except Exception as error:  # decoders raise nearly everything on a broken file
        raise UserError(f"{source}: the TIFF cannot be read ({error}). Save it uncompressed, or as .npy.") from error


def _check_expansion(series: Any, source: Source, size: int) -> None:
    """A TIFF holds no more than its header says: tifffile decompresses each part as far as it goes, and fills the memory."""
    room = 2 * math.prod(series.shape) * series.dtype.itemsize + 2**20
    for page in filter(None, series.pages):
        page = page.aspage()
        if int(page.compression) not in (_PLAIN, *_DEFLATE):
            raise UserError(f"{source}: i2i reads such a TIFF only uncompressed or deflated, not {page.compression.name}.")
        if sum(page.databytecounts) > size:
            raise UserError(f"{source}: the TIFF is corrupt: its parts overlap. Replace the file.")
        for start, count in zip(page.dataoffsets, page.databytecounts, strict=True):
            if int(page.compression) in _DEFLATE:
                page.parent.filehandle.seek(start)
                room -= len(zlib.decompressobj().decompress(page.parent.filehandle.read(count), room))
            if room <= 0:
                raise UserError(f"{source}: the TIFF holds more than its header says. Replace the file.")


def _tiff(source: Source) -> Any:
    import tifffile

    return tifffile.TiffFile(io.BytesIO(content(source)) if isinstance(source, Blob) else source)


def _has_page(tiff: Any, number: int) -> bool:
    """Without counting them all: a file of some megabytes can have a million."""
    try:
        return bool(tiff.pages[number])
    except IndexError:
        return False


def deep_png(source: Source, max_pixels: int = MAX_PIXELS) -> Array:
    """A PNG of 16 bits and more than one channel, which Pillow reads at 8 bits: (H, W, C) uint16.

    Pillow has one reader that keeps the high bytes of big-endian numbers, and one that keeps those of little-endian ones,
    which are the low bytes here. Grey with transparency has as many bits in a pixel as RGBA at 8 bits, and is read as that.
    """
    if head_of(source)[25] == _GREY_ALPHA:
        pairs = _decoded(source, "RGBA", "RGBA", max_pixels)
        return pairs[..., 0::2] << 8 | pairs[..., 1::2]
    mode = "RGB" if head_of(source)[25] == _RGB else "RGBA"
    high, low = (_decoded(source, mode, f"{mode};16{end}", max_pixels) for end in "BL")
    return high << 8 | low


def _decoded(source: Source, mode: str, reader: str, max_pixels: int) -> NDArray[np.uint16]:
    """A PNG read by the reader of that name, (H, W, C)."""
    with opened_picture(source, max_pixels, ["PNG"]) as opened:
        opened._mode = mode
        opened.tile = [tile._replace(args=reader) for tile in opened.tile]
        return np.asarray(opened).astype(np.uint16)


def from_array(array: Array, domain: Domain, source: Source) -> Loaded:
    """(H, W), (H, W, C) or (C, H, W) of any number type to float32 (C, H, W) in [0, 1]; uint8 stays what it is."""
    planes = _planes(array, domain.channels)
    _check_channels(planes.shape[0], domain, source)
    if planes.dtype == np.uint8 and domain.preparation.range is None and planes.shape[0] == domain.channels:
        return Loaded(torch.from_numpy(planes.copy()))
    black, white, remarks = _range_of(planes, domain, source)
    made = np.empty((domain.channels, *planes.shape[1:]), np.float32)
    for top in range(0, made.shape[1], ROWS):  # at once it would take four times the memory
        band = (planes[:, top : top + ROWS].astype(np.float32) - np.float32(black)) / np.float32(white - black)
        made[:, top : top + ROWS] = _with_channels(band.clip(0, 1), domain)
    return Loaded(torch.from_numpy(made), remarks)


def _planes(array: Array, channels: int) -> Array:
    """Channels first. Where both ends could be the channels, the last one is taken unless the first is the declared one."""
    if array.ndim == 2:
        return array[None]
    return array if _channels_first(array.shape, channels) else np.moveaxis(array, -1, 0)


def _channels_first(shape: tuple[int, ...], channels: int) -> bool:
    first, last = shape[0], shape[-1]
    return first == channels != last or (last > 4 and last != channels and first < last)


def _check_channels(have: int, domain: Domain, source: Source) -> None:
    """Refuse what cannot become an image of the domain by its number of channels, before any of it is read."""
    if have != domain.channels and not (have <= 4 and domain.channels in (1, 3)):
        raise UserError(
            f"{source}: it has {have} channels, not the {domain.channels} of '{domain.name}'. Convert it; for training, "
            f"declare channels: {have}."
        )


def _range_of(planes: Array, domain: Domain, source: Source) -> tuple[float, float, tuple[str, ...]]:
    """The values that become 0 and 1, and what is worth telling."""
    low, high = float(planes.min()), float(planes.max())
    if not np.isfinite(low + high):
        raise UserError(f"{source}: some values are NaN or infinite. Replace them with numbers.")
    natural: dict[str, tuple[float, float]] = {"uint8": (0, 255), "uint16": (0, 65535), "bool": (0, 1)}
    black, white = domain.preparation.range or natural.get(planes.dtype.name, (0.0, 1.0))
    remarks = []
    outside = low < black or high > white
    if outside and domain.preparation.range is None:
        raise UserError(
            f"{source}: values of type {planes.dtype} lie in [{low:g}, {high:g}], not in [{black:g}, {white:g}]. Scale them; "
            f"for training, declare which values are black and white, for instance range: [{low:g}, {high:g}]."
        )
    if outside:
        remarks.append(f"values outside the declared range [{black:g}, {white:g}], clipped")
    elif planes.dtype == np.uint16 and domain.preparation.range is None and 0 < high < 2**12:
        bits = 8 if high < 2**8 else 12
        remarks.append(f"16 bits of which {bits} are used (nearly black): declare range: [0, {2**bits - 1}]")
    return black, white, tuple(remarks)


def _with_channels(planes: NDArray[np.float32], domain: Domain) -> NDArray[np.float32]:
    """From the file's channels to the declared ones, where there is one meaning."""
    have, want = planes.shape[0], domain.channels
    if have == want:
        return planes
    if have in (2, 4) and want in (1, 3):
        alpha = planes[-1:] if domain.preparation.alpha != "drop" else np.float32(1)
        ground = np.float32(1 if domain.preparation.alpha == "white" else 0)
        planes = planes[:-1] * alpha + ground * (1 - alpha)
        have -= 1
    if have == 1 and want == 3:
        return planes.repeat(3, 0)
    if have == 3 and want == 1:
        luma: NDArray[np.float32] = np.tensordot(np.array([_LUMA], np.float32), planes, 1).astype(np.float32)
        return luma
    return planes
