"""Nested mappings, lists and tuples: of tensors, as losses hand them over, and of a recipe's values."""

import json
from collections.abc import Mapping
from typing import Any

import torch
from pydantic_core import to_jsonable_python
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


def changes(before: Any, after: Any, path: str = "") -> list[str]:
    """Where two recipes, or two values at the same *path* of them, differ: ``train.steps: 100 → 200``."""
    before, after = to_jsonable_python(before), to_jsonable_python(after)
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        before, after = dict(enumerate(before)), dict(enumerate(after))
    if isinstance(before, dict) and isinstance(after, dict):
        keys = {**before, **after}
        return [line for key in keys for line in changes(before.get(key), after.get(key), f"{path}.{key}".lstrip("."))]
    old, new = (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in (before, after))
    return [f"{path}: {old} → {new}"] if before != after else []
