"""Between pictures and tensors; reading and writing picture files, which ``picture_files`` does."""

import torch
from PIL import Image
from torch import Tensor

from i2i.errors import UserError
from i2i.label_pictures import picture_of_ids
from i2i.picture_files import MAX_PIXELS, opened_picture, picture_of_bytes, read_picture, save_picture, upright
from i2i.preparation import finished, fitted
from i2i.protocols import Domain
from i2i.reading import pixels_of

__all__ = [
    "MAX_PIXELS",
    "opened_picture",
    "picture_of_bytes",
    "read_picture",
    "save_picture",
    "shown",
    "to_picture",
    "to_tensor",
    "upright",
]


def to_tensor(picture: Image.Image, domain: Domain, where: str = "the picture") -> Tensor:
    """A picture as a sample of the domain: float32 (C, H, W) in [-1, 1], or for labels int64 ids (1, H, W).

    It is prepared as the domain's files are: see :class:`i2i.protocols.Preparation`, and :func:`i2i.label_pictures.ids_of` for
    what the pixels of a label map mean. ``where`` names the picture in error messages.
    """
    return finished(fitted(pixels_of(picture, domain, where).pixels, domain, where), domain.kind == "labels")


def to_picture(tensor: Tensor, domain: Domain) -> Image.Image:
    """A picture of one output (C, H, W): L or RGB for an image in [-1, 1], a palette of class colours for labels.

    Labels may be scores, probabilities or one-hot (classes, H, W), or integer ids (1, H, W). The picture's pixels are
    the numbers that stand for them in the domain's files. Values outside [-1, 1] are clamped.

    Raises:
        UserError: an image has more than four channels.
    """
    tensor = tensor.detach().cpu()
    check_channels(domain)
    if domain.kind == "labels":
        ids = tensor[: domain.label_count].argmax(0) if tensor.is_floating_point() else tensor[0]
        return picture_of_ids(ids.numpy(), domain)
    scaled = (tensor.float().nan_to_num(nan=-1.0) + 1.0) * 127.5
    pixels = scaled.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def check_channels(domain: Domain) -> None:
    """Raises UserError for a domain whose images no picture file holds."""
    if domain.kind == "image" and domain.channels > 4:
        raise UserError(
            f"'{domain.name}' has {domain.channels} channels; pictures have at most 4. Translate tensors in Python."
        )


def shown(pixels: Tensor, domain: Domain) -> Image.Image:
    """A picture of what was read of a file, see :func:`i2i.reading.read`."""
    return to_picture(finished(pixels, domain.kind == "labels"), domain)
