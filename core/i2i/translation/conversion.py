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


def to_array(picture: Image.Image, given: Array, domain: Domain) -> Array:
    """The picture as an array: ids (H, W) for labels, else uint8 (H, W, C), or (H, W) for grey where such was given."""
    made: Array = np.array(picture)
    return made[:, :, None] if domain.kind == "image" and made.ndim == 2 and given.ndim == 3 else made
