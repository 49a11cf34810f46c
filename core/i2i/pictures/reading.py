"""Files as the pixels of a domain: pictures of any bits, channels and ranges, .npy arrays, label maps of numbers or colours."""

import numpy as np
import simplejpeg  # type: ignore[import-untyped]
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image
from torch import Tensor

from i2i.errors import UserError
from i2i.pictures.arrays import Array, deep_png, from_array, needs_tifffile, numpy_array, tiff_array
from i2i.pictures.files import MAX_PIXELS, check_format, opened_picture, read_picture
from i2i.pictures.formats import SIXTEEN_BITS
from i2i.pictures.labels import ids_of, ids_of_numbers
from i2i.pictures.sources import JPEG, NPY, PNG, TIFF, Blob, Loaded, Source, content, head_of
from i2i.protocols import Domain


def read(source: Source, domain: Domain, max_pixels: int = MAX_PIXELS) -> Loaded:
    """One file as the domain's preparation says, in its own size: the only way from a file to what a network sees.

    Images are uint8 or float32 in [0, 1], (C, H, W); label maps are class ids (1, H, W), with a .npy file's instances
    (2, H, W). ``preparation.fitted`` and ``preparation.finished`` make a sample of it.

    Raises:
        UserError: the file is missing, corrupt or too large, or has other channels, values or classes than the domain.
    """
    head = head_of(source)
    if domain.kind == "labels":
        return Loaded(_labels(source, head, domain, max_pixels))
    if head.startswith(NPY):
        return from_array(numpy_array(source, max_pixels), domain, source)
    if head.startswith(TIFF) and needs_tifffile(source):
        return from_array(tiff_array(source, domain, max_pixels), domain, source)
    if head.startswith(PNG) and len(head) > 25 and head[24] == 16 and head[25] != 0:
        return from_array(deep_png(source, max_pixels), domain, source)
    jpeg = head.startswith(JPEG) and domain.channels == 3 and domain.preparation.range is None
    pixels = plain_jpeg(source, max_pixels) if jpeg else None
    return Loaded(pixels) if pixels is not None else pixels_of(read_picture(source, max_pixels), domain, str(source))


def pixels_of(picture: Image.Image, domain: Domain, where: str = "the picture") -> Loaded:
    """The same for an open picture of any mode."""
    if picture.width < 1 or picture.height < 1:
        raise UserError(f"{where}: the picture has no pixels ({picture.width} x {picture.height}).")
    check_format(picture, where)
    if domain.kind == "labels":
        return Loaded(_compact(ids_of(picture, domain, where), domain))
    try:
        return _from_picture(picture, domain, Blob(b"", where))
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{where}: pictures of mode {picture.mode} are not supported. Save it as RGB.") from error


def pixels_of_array(array: Array, domain: Domain) -> Tensor:
    """The same for an array: uint8 (H, W) or (H, W, 1, 3 or 4), or a label map's numbers (H, W), any integers."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.size == 0 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise UserError(f"the array has the shape {array.shape}; expected (H, W) or (H, W, 1, 3 or 4), not empty.")
    if domain.kind == "labels" and array.ndim == 2 and np.issubdtype(array.dtype, np.integer):
        return _compact(ids_of_numbers(array, domain, "the array"), domain)
    if array.dtype != np.uint8:
        raise UserError(f"the array is {array.dtype}; expected uint8 (0 to 255). Pass floats as a tensor.")
    return pixels_of(Image.fromarray(np.ascontiguousarray(array)), domain, "the array").pixels


def plain_jpeg(source: Source, max_pixels: int = MAX_PIXELS) -> Tensor | None:
    """uint8 (3, H, W) of an upright RGB JPEG, without the copies that Pillow makes; None for any other picture.

    The pixels are those that Pillow gives, bit by bit. What is wrong with a file is for Pillow to find again and to say:
    nothing is raised here.
    """
    try:
        data = content(source)
        with opened_picture(Blob(data, str(source)), max_pixels, ["JPEG"]) as opened:
            turned = opened.getexif().get(ExifTags.Base.Orientation) in range(2, 9)
            if opened.format != "JPEG" or opened.mode != "RGB" or turned:
                return None
        return torch.from_numpy(simplejpeg.decode_jpeg(data, "RGB")).permute(2, 0, 1)
    except Exception:  # both decoders raise nearly everything on a broken file
        return None


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
        with opened_picture(source) as opened:
            animated = bool(getattr(opened, "is_animated", False)) and not head.startswith(TIFF)
            return ("an animation: its first frame is used",) if animated else ()
    except UserError:
        if not (head.startswith(TIFF) and needs_tifffile(source)):
            raise
    return ()


def numbers(source: Source, max_pixels: int = MAX_PIXELS) -> NDArray[np.int64]:
    """The numbers in a file (H, W), or (N, H, W) of a .npy file, as they are.

    Raises:
        UserError: it holds none.
    """
    head = head_of(source)
    if head.startswith(NPY):
        return _whole_numbers(source, max_pixels).astype(np.int64)
    picture = _lossless(source, head, max_pixels)
    if picture.mode not in ("1", "L", "P", *SIXTEEN_BITS):
        raise UserError(f"{source}: the pixels are {picture.mode}, not numbers. Save a grey or palette PNG.")
    return np.asarray(picture).astype(np.int64)


def _whole_numbers(source: Source, max_pixels: int) -> Array:
    """The array of a .npy file, still on the disk."""
    array = numpy_array(source, max_pixels)
    if array.dtype.kind not in "bui":
        raise UserError(f"{source}: label ids must be whole numbers, not {array.dtype}. Save them as integers.")
    return array


def _labels(source: Source, head: bytes, domain: Domain, max_pixels: int) -> Tensor:
    if not head.startswith(NPY):
        return pixels_of(_lossless(source, head, max_pixels), domain, str(source)).pixels
    planes = _whole_numbers(source, max_pixels)
    planes = planes[None] if planes.ndim == 2 else planes
    if len(planes) > 1 + domain.instances:
        raise UserError(f"{source}: it holds {len(planes)} planes; '{domain.name}' has {1 + domain.instances}. Save (H, W).")
    planes = planes.astype(np.int64)
    ids = ids_of_numbers(planes[0], domain, str(source))
    return torch.from_numpy(np.stack([ids, *planes[1:]])) if len(planes) > 1 else _compact(ids, domain)


def _lossless(source: Source, head: bytes, max_pixels: int) -> Image.Image:
    if head.startswith(JPEG):
        raise UserError(
            f"{source}: this label map is a JPEG: its compression has changed the ids. Export it again from its source as PNG."
        )
    return read_picture(source, max_pixels)


def _compact(ids: NDArray[np.int64], domain: Domain) -> Tensor:
    """Checked ids (H, W) as (1, H, W), in few bytes."""
    return torch.from_numpy(ids.astype(np.uint8 if domain.label_count <= 256 else np.int32))[None]


def _from_picture(picture: Image.Image, domain: Domain, source: Source) -> Loaded:
    if picture.mode in (*SIXTEEN_BITS, "F"):
        array = np.asarray(picture)
        return from_array(array.astype(np.uint16) if picture.mode == "I" and _fits(array) else array, domain, source)
    remarks = []
    if picture.has_transparency_data and domain.channels not in (2, 4):
        done = "dropped" if domain.preparation.alpha == "drop" else f"laid on {domain.preparation.alpha}"
        remarks.append(f"transparency: {done}")
        picture = opaque(picture, domain.preparation.alpha)
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}.get(domain.channels)
    if mode is None:
        raise UserError(
            f"{source}: it has {len(picture.getbands())} channels, not the {domain.channels} of '{domain.name}'. Give a TIFF "
            "or .npy file with these; for training, correct 'channels'."
        )
    if picture.mode in ("1", "L", "LA", "La") and domain.channels >= 3:
        remarks.append(f"grey, repeated to {domain.channels} channels")
    elif picture.mode not in ("1", "L", "LA", "La", mode) and domain.channels <= 2:
        remarks.append("colour, turned to grey")
    if picture.mode != mode:
        picture = (picture if picture.mode in ("L", "P", "LA", "RGBA") else picture.convert("RGB")).convert(mode)
    array = np.array(picture).reshape(picture.height, picture.width, domain.channels)
    if domain.preparation.range is not None:
        scaled = from_array(array, domain, source)
        return Loaded(scaled.pixels, (*remarks, *scaled.remarks))
    return Loaded(torch.from_numpy(array).permute(2, 0, 1), tuple(remarks))


def _fits(array: Array) -> bool:
    return bool(array.min() >= 0 and array.max() <= 65535)


def opaque(picture: Image.Image, alpha: str) -> Image.Image:
    """The picture in mode RGB, its transparency laid on a colour or dropped."""
    over = (picture.convert("LA") if picture.mode == "La" else picture).convert("RGBA")
    if alpha == "drop":
        return over.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", over.size, alpha), over).convert("RGB")
