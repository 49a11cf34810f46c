"""Between pictures and tensors, one function each way; reading and writing picture files, which ``picture_files`` does.

*Pixels* are what a file holds, prepared for a domain: uint8 or float32 in [0, 1], (C, H, W), or class ids (1, H, W).
A *sample* is what a network takes: float32 in [-1, 1], or ids int64. ::

    file, picture, array → prepared → pixels → finished → sample
    picture ← shown ← pixels ← to_pixels ← what a network gives
"""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from i2i.errors import UserError
from i2i.pictures.arrays import Array
from i2i.pictures.files import MAX_PIXELS, read_picture, save_picture, upright
from i2i.pictures.labels import picture_of_ids
from i2i.pictures.preparation import finished, fitted
from i2i.pictures.reading import pixels_of, pixels_of_array, read
from i2i.pictures.sources import File, source_of
from i2i.protocols import Domain

__all__ = [
    "MAX_PIXELS",
    "prepared",
    "read_picture",
    "save_picture",
    "shown",
    "to_picture",
    "to_pixels",
    "to_tensor",
    "upright",
]


def prepared(source: File | Image.Image | Array, domain: Domain, where: str = "", max_pixels: int = MAX_PIXELS) -> Tensor:
    """The pixels (C, H, W) of a file (its path, bytes or file object), a picture (its EXIF orientation is applied) or an array.

    They have the size that the network knows, and are prepared as the domain's files are: see
    :class:`i2i.protocols.Preparation`, and :func:`i2i.pictures.labels.ids_of` for what the pixels of a label map mean.
    ``where`` names a picture in error messages.

    Raises:
        UserError: it cannot be read, is too large, or has other channels, values or classes than the domain.
    """
    if isinstance(source, np.ndarray):
        pixels = pixels_of_array(source, domain)
    elif isinstance(source, Image.Image):
        pixels = pixels_of(upright(source), domain, where or "the picture").pixels
    else:
        found = source_of(source)
        pixels, where = read(found, domain, max_pixels).pixels, str(found)
    return fitted(pixels, domain, where or "the picture", max_pixels)


def to_tensor(picture: Image.Image, domain: Domain, where: str = "") -> Tensor:
    """A picture as a sample of the domain: float32 (C, H, W) in [-1, 1], or for labels int64 ids (1, H, W)."""
    return finished(prepared(picture, domain, where), domain.kind == "labels")


def to_pixels(made: Tensor, domain: Domain) -> Tensor:
    """What files hold of outputs (…, C, H, W): uint8, or class ids (…, 1, H, W) in few bytes, on the CPU.

    Images are in [-1, 1]; values outside are clamped. Labels may be scores, probabilities or one-hot (…, classes, H, W), or
    integer ids.
    """
    made = made.detach().cpu()
    if domain.kind == "labels":
        scores = made[..., : domain.label_count, :, :]
        ids = scores.argmax(-3, keepdim=True) if made.is_floating_point() else made[..., :1, :, :]
        return ids.to(torch.uint8 if domain.label_count <= 256 else torch.int32)
    scaled = (made.float().nan_to_num(nan=-1.0) + 1.0) * 127.5
    return scaled.round().clamp(0, 255).to(torch.uint8)


def shown(pixels: Tensor, domain: Domain) -> Image.Image:
    """A picture of pixels (C, H, W): L or RGB for an image, and the like; a palette of the class colours for labels.

    The pixels of a label map's picture are the numbers that stand for the classes in the domain's files.

    Raises:
        UserError: an image has more than four channels.
    """
    check_channels(domain)
    if domain.kind == "labels":
        return picture_of_ids(pixels[0].numpy(), domain)
    if pixels.dtype != torch.uint8:
        pixels = to_pixels(finished(pixels, labels=False), domain)
    made = pixels.permute(1, 2, 0).numpy()
    return Image.fromarray(made[:, :, 0] if made.shape[2] == 1 else made)


def to_picture(made: Tensor, domain: Domain) -> Image.Image:
    """A picture of one output (C, H, W), see :func:`to_pixels` and :func:`shown`."""
    return shown(to_pixels(made, domain), domain)


def check_channels(domain: Domain) -> None:
    """Raises UserError for a domain whose images no picture file holds."""
    if domain.kind == "image" and domain.channels > 4:
        raise UserError(
            f"'{domain.name}' has {domain.channels} channels; pictures have at most 4. Translate tensors in Python."
        )
