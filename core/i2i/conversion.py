"""Between a caller's arrays and tensors and what a network takes."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from i2i.errors import UserError
from i2i.labels import check_ids
from i2i.protocols import Domain

Array = NDArray[np.integer[Any]]


def check_tensor(batch: Tensor, domain: Domain) -> Tensor:
    """A caller's tensor (B, C, H, W), if it is an image of the domain, one-hot labels, or ids."""
    shape = tuple(batch.shape)
    if batch.ndim != 4 or batch.numel() == 0:
        raise UserError(f"the tensor has the shape {shape}; expected (C, H, W) or (B, C, H, W), not empty.")
    if domain.kind == "labels" and not batch.is_floating_point():
        check_ids(batch.cpu(), domain, "the tensor")
        return batch
    if not batch.is_floating_point() or batch.shape[1] != domain.channels:
        raise UserError(
            f"the tensor is {batch.dtype} with {batch.shape[1]} channels; '{domain.name}' needs floats "
            f"in [-1, 1] with {domain.channels}."
        )
    low, high = (float(value) for value in batch.aminmax())
    if not -1.001 <= low <= high <= 1.001:
        raise UserError(f"the tensor's values lie in [{low:.3g}, {high:.3g}]; expected [-1, 1]. Scale them.")
    return batch.float()


def reflected(size: int, divisor: int) -> tuple[int, Tensor]:
    """How many places come before the image along one side, and the index of the pixel that each padded place shows.

    The padded side is a multiple of the divisor, large enough that a network's deepest layer has a few pixels: four,
    unless that would take more than 64 pixels, and never less than 16. Pixels are mirrored at the edges,
    again and again where the image is smaller than its padding.
    """
    smallest = max(size, 16, min(4 * divisor, 64))
    padded = -(-smallest // divisor) * divisor
    before = (padded - size) // 2
    period = max(2 * (size - 1), 1)
    place = (torch.arange(padded) - before) % period
    return before, torch.minimum(place, period - place) if size > 1 else torch.zeros_like(place)


def from_array(image: Array, domain: Domain) -> Image.Image:
    """An array (H, W) or (H, W, C) as a picture: uint8, or for labels (H, W) of any integers or colours (H, W, 3)."""
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.size == 0 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (3, 4)):
        raise UserError(f"the array has the shape {image.shape}; expected (H, W) or (H, W, 1, 3 or 4), not empty.")
    if domain.kind == "labels" and image.ndim == 2 and np.issubdtype(image.dtype, np.integer):
        check_ids(torch.from_numpy(image.astype(np.int64))[None, ...], domain, "the array")
        return Image.fromarray(image.astype(np.uint16 if domain.channels > 256 else np.uint8))
    if image.dtype != np.uint8:
        raise UserError(f"the array is {image.dtype}; expected uint8 (0 to 255). Pass floats as a tensor.")
    return Image.fromarray(np.ascontiguousarray(image))


def to_array(picture: Image.Image, given: Array, domain: Domain) -> Array:
    """The picture as an array: ids (H, W) for labels, else uint8 (H, W, C), or (H, W) for grey where such was given."""
    made: Array = np.array(picture)
    return made[:, :, None] if domain.kind == "image" and made.ndim == 2 and given.ndim == 3 else made
