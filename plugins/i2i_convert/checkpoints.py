"""Reads published checkpoints, which a stranger may have written: nothing in them is executed."""

import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from i2i.errors import UserError, one_line
from i2i.files import check_name
from i2i.published import Checkpoint, State, stripped

_HOLDERS = ("state_dict", "model_state_dict", "params_ema", "params", "model", "net", "generator", "netG")


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a file written by ``torch.save``, or a safetensors file; code in a pickle is refused and never executed.

    Prefixes that wrappers left in the names are removed.

    Raises:
        UserError: there is no such file, it is truncated or has another format, or it holds no tensors.
    """
    path = Path(path)
    if path.is_dir() or not path.exists():
        raise UserError(f"{path}: {'this is a folder' if path.is_dir() else 'there is no such file'}. Give a checkpoint file.")
    if path.suffix == ".safetensors":
        check_name(path)
    try:
        if path.suffix == ".safetensors":
            read: Any = load_file(path)
        else:
            read = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(f"{path}: {_pickle_problem(error)}") from error
    except Exception as error:  # torch's reader of pickles raises nearly everything on a broken file
        reason = one_line(error)
        raise UserError(f"{path}: it is truncated or not a checkpoint ({reason}). Download it again.") from error
    states = _states(read)
    if not states:
        raise UserError(f"{path}: it holds no tensors by name, so it is not a state dict. Give the generator's file.")
    bare = {name: stripped(state) for name, state in states.items()}
    return Checkpoint(path, {"": next(iter(bare.values()))} if len(bare) == 1 else bare)


def is_discriminator(path: Path) -> bool:
    """Whether a file is called as published programs call discriminators: ``latest_net_D_A.pth``, ``dis_00500000.pt``."""
    return re.search(r"(^|_)D(_[AB])?$|^dis(_|$)", path.stem) is not None


def discriminators_beside(files: Sequence[str | Path]) -> list[Path]:
    """The files of discriminators that lie beside those of generators and are called like them."""
    paths = [Path(file) for file in files]
    named = [(path, re.sub(r"(^|_)G(_[AB])?$", r"\1D\2", re.sub(r"^gen(?=_|$)", "dis", path.stem))) for path in paths]
    beside = [path.with_name(f"{name}{path.suffix}") for path, name in named if name != path.stem]
    return [path for path in beside if path.is_file()]


def _pickle_problem(error: Exception) -> str:
    """Why torch's restricted reader refused the file: an import with a call, or bytes that are not a pickle."""
    named = re.search(r"(?:GLOBAL|global) ([\w.]+)", str(error))
    if named:
        return f"its pickle would run code ({named[1]}); it was not executed. Take a file that holds tensors only."
    return "it is truncated or not a checkpoint, and nothing in it was executed. Download it again."


def _states(value: Any) -> dict[str, State]:
    """Every state dict in nested mappings, under the innermost name."""
    if not isinstance(value, Mapping):
        return {}
    own = {name: tensor for name, tensor in value.items() if isinstance(name, str) and isinstance(tensor, Tensor)}
    if own:
        return {"": own}
    holder = next((name for name in _HOLDERS if isinstance(value.get(name), Mapping)), None)
    if holder is not None:
        return _states(value[holder])
    found: dict[str, State] = {}
    for name, inner in value.items():
        found |= {key or str(name): state for key, state in _states(inner).items()}
    return found
