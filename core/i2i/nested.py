"""Tensors in mappings, lists and tuples, as losses hand them over."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def total(terms: Mapping[str, Tensor]) -> Tensor:
    """The sum of a player's terms, which is what the player minimises, 0-d."""
    return torch.stack(list(terms.values())).sum()


def detach(images: Any) -> Any:
    """The same nested mapping of tensors without graphs."""
    if isinstance(images, Tensor):
        return images.detach()
    if isinstance(images, Mapping):
        return {key: detach(value) for key, value in images.items()}
    if isinstance(images, list | tuple):
        return type(images)(*map(detach, images)) if hasattr(images, "_fields") else type(images)(map(detach, images))
    return images
