"""Tensors in nested mappings, lists and tuples."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def detach(images: Any) -> Any:
    """The same nested mapping of tensors without graphs."""
    if isinstance(images, Tensor):
        return images.detach()
    if isinstance(images, Mapping):
        return {key: detach(value) for key, value in images.items()}
    if isinstance(images, list | tuple):
        return type(images)(*map(detach, images)) if hasattr(images, "_fields") else type(images)(map(detach, images))
    return images
