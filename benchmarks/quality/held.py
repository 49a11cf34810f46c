"""The held-out pictures of a use, and what models and maps of colours make of them."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from settings import settings_of, use_called
from torch import Tensor

from i2i.building.parts import build_dataset
from i2i.data import SeededDataset
from i2i.files import new_file
from i2i.protocols import Dataset, Domain
from i2i.recipe.components import Component
from i2i.registry import default_registry
from i2i.translation.loading import load

FIT = 256
"""Random training crops to which a map of colours is fitted."""


def dataset_of(name: str, split: str, swap: bool = False, **over: Any) -> Dataset:
    """The data set of a use in a split; with *swap* its two sides have changed places."""
    options = {**settings_of(name, "published")["dataset"], **over, "split": split}
    if swap:
        options.update(a=options["b"], b=options["a"])
    return build_dataset(Component(name=options.pop("name"), options=options), default_registry())


@cache
def held_out(name: str, split: str) -> tuple[Tensor, Tensor, tuple[Domain, Domain]]:
    """The inputs and the truths of all places, as networks see them, (N, C, H, W) each, with the domains.

    Place i is the same tile or thing on both sides, also where the training has no pairs: a held-out data set has its first
    side in its own order, and each side stands first once.
    """
    there, back = dataset_of(name, split), dataset_of(name, split, swap=True)
    sides = [torch.stack([_first(data, i) for i in range(len(data))]) for data in (there, back)]
    return sides[0], sides[1], tuple(there.domains.values())  # type: ignore[return-value]


def _first(data: Dataset, index: int) -> Tensor:
    sample: Tensor = SeededDataset(data, 0)[0, index][next(iter(data.domains))]
    return sample


def translated(name: str, model: Path, split: str) -> Tensor:
    """What a model makes of every held-out picture, each by itself, uint8 (N, 3, H, W), as ``i2i translate`` writes it."""
    translator = load(model)
    source, _, (given, _) = held_out(name, split)
    way = translator.direction(use_called(name).to, given.name)
    return torch.cat([to_bytes(translator.batch(one[None], way).cpu()) for one in source])


def to_bytes(images: Tensor) -> Tensor:
    """[-1, 1] to uint8, three channels."""
    pixels = ((images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return pixels.expand(-1, 3, -1, -1).contiguous()


def from_bytes(pixels: Tensor) -> Tensor:
    """uint8 to [-1, 1]."""
    return pixels.float() / 127.5 - 1


def maps(name: str) -> dict[str, Callable[[Tensor], Tensor]]:
    """Rows for comparison by their names: functions of inputs (N, C, H, W) to pictures (N, 3, H, W) in [-1, 1].

    ``untranslated`` is the input. ``affine colours`` maps each pixel's colour, fitted on training crops: by least squares
    where a pixel has its true colour, else such that mean and covariance are those of the target (Monge and Kantorovich).
    Labels have no colours and so no such row.
    """
    if dataset_of(name, "val").domains["a"].kind != "image":
        return {}
    return {"untranslated": lambda x: x.expand(-1, 3, -1, -1), "affine colours": _affine(name)}


def _affine(name: str) -> Callable[[Tensor], Tensor]:
    aligned = use_called(name).aligned
    data = SeededDataset(dataset_of(name, "train", **({"paired": True} if aligned else {})), seed=0)
    samples = [data[divmod(i, len(data.dataset))] for i in range(FIT)]
    a, b = (torch.cat([_colours(sample[key]) for sample in samples]) for key in ("a", "b"))
    if aligned:
        ones = torch.cat((a, torch.ones_like(a[:, :1])), 1)
        solved = torch.linalg.lstsq(ones.T @ ones + 1e-6 * torch.eye(ones.shape[1]), ones.T @ b).solution
        matrix, shift = solved[:-1], solved[-1]
    else:
        matrix = _transfer(torch.cov(a.T).reshape(a.shape[1], -1), torch.cov(b.T))
        shift = b.mean(0) - a.mean(0) @ matrix
    return lambda x: (torch.einsum("nchw,cd->ndhw", x.double(), matrix) + shift[:, None, None]).clamp(-1, 1).float()


def _transfer(a: Tensor, b: Tensor) -> Tensor:
    """The symmetric matrix that takes the covariance a to b (Pitié and Kokaram 2007)."""
    if a.shape != b.shape:
        raise ValueError("both sides need as many channels")
    half = _root(a)
    inverse = torch.linalg.inv(half)
    found: Tensor = inverse @ _root(half @ b @ half) @ inverse
    return found


def _root(matrix: Tensor) -> Tensor:
    """The square root of a symmetric matrix."""
    values, vectors = torch.linalg.eigh(matrix + 1e-9 * torch.eye(len(matrix)))
    root: Tensor = vectors @ torch.diag(values.clamp_min(1e-12).sqrt()) @ vectors.T
    return root


def _colours(image: Tensor) -> Tensor:
    """(C, H, W) to (pixels, C), float64."""
    return image.flatten(1).T.double()


def save(path: Path, **arrays: Any) -> None:
    """Write arrays whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with new_file(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **{key: np.asarray(value) for key, value in arrays.items()})


def read(path: Path) -> dict[str, Any]:
    """The arrays of a file, or nothing if it is not there."""
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as file:
        return dict(file)
