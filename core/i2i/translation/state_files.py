"""Nested state as files that need no unpickling: tensors as safetensors, everything else as JSON.

A state is made of dicts, lists, tuples, tensors, numbers, strings, booleans and None. Each of its top entries gets a
safetensors file of its own, ``generator.safetensors`` and so on; ``state.json`` holds the shape of the whole.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from i2i.files import read_json
from i2i.translation.model_folder import save_tensors

SHAPE = "state.json"


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write *state* into an existing folder."""
    shape = {}
    for name, part in state.items():
        tensors: dict[str, Tensor] = {}
        shape[name] = _packed(part, "", tensors)
        if tensors:
            save_tensors(tensors, folder / f"{name}.safetensors")
    (folder / SHAPE).write_text(json.dumps(shape), encoding="utf-8")


def load_state(folder: Path, only: Sequence[str] | None = None) -> dict[str, Any]:
    """What ``save_state`` wrote, on the CPU: all top entries, or *only* those of these names that are there."""
    shape: dict[str, Any] = read_json(folder / SHAPE)
    state = {}
    for name, part in shape.items():
        if only is None or name in only:
            path = folder / f"{name}.safetensors"
            state[name] = _unpacked(part, load_file(path) if path.exists() else {})
    return state


def _packed(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """The JSON form of a value; its tensors are put aside under their paths."""
    match value:
        case Tensor():
            tensors[path or "value"] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
            return {"tensor": path or "value"}
        case dict():
            return {"dict": [[key, _packed(item, f"{path}.{key}".lstrip("."), tensors)] for key, item in value.items()]}
        case list() | tuple():
            kind = "list" if isinstance(value, list) else "tuple"
            return {kind: [_packed(item, f"{path}.{i}".lstrip("."), tensors) for i, item in enumerate(value)]}
        case None | bool() | int() | float() | str():
            return value
    raise TypeError(f"'{path}' is a {type(value).__name__}: the state may hold tensors, numbers, text, lists and dicts only")


def _unpacked(value: Any, tensors: dict[str, Tensor]) -> Any:
    match value:
        case {"tensor": name}:
            return tensors[name]
        case {"dict": items}:
            return {key: _unpacked(item, tensors) for key, item in items}
        case {"list": items}:
            return [_unpacked(item, tensors) for item in items]
        case {"tuple": items}:
            return tuple(_unpacked(item, tensors) for item in items)
    return value
