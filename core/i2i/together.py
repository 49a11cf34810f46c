"""Which pictures may go through a network together: what else than the picture itself a translation depends on."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from i2i.conversion import reflected
from i2i.protocols import Direction, Domain
from i2i.randomness import seeded

SIDE = 32
"""Pictures of this side, or the next multiple of the divisor, show what a translation depends on."""
NOISE, MOST = 1e-5, 0.02
"""Differences up to the first, of values in [-1, 1], are rounding. Some convolutions of GPUs never give the same bits twice:
where the very same call differs, as it may in 16 bits, up to four times as much is rounding too, but none above the second.
"""


class Network(Protocol):
    """What a translator offers here and in ``i2i.large``."""

    @property
    def module(self) -> nn.Module: ...
    @property
    def domains(self) -> Mapping[str, Domain]: ...
    @property
    def device(self) -> torch.device: ...
    def network(self, x: Tensor, source: str, target: str, given: Mapping[str, Tensor], exact: bool = False) -> Tensor: ...


class Dependence(NamedTuple):
    """On what a translation depends beside the picture itself."""

    seed: bool
    """Something is drawn at random: a style, dropout."""
    others: bool
    """On the pictures beside it in a batch, whose statistics a norm takes in evaluation too."""


def dependence(translator: Network, way: Direction, size: tuple[int, int]) -> Dependence:
    """Found by translating random pictures of *size* (height, width), or smaller: under two seeds, beside two others, and twice
    in the same way.

    Batches of one shape are compared, so that the same kernels compute both, in whatever precision.
    """
    try:
        return _tried(translator, way, (min(SIDE, size[0]), min(SIDE, size[1])))
    except Exception:  # networks that take one size only raise whatever they like
        return _tried(translator, way, size)


def _tried(translator: Network, way: Direction, size: tuple[int, int]) -> Dependence:
    x = _noise(translator, way, 3, size)
    plain, again = (_made(translator, way, x[:2], 0) for _ in range(2))
    reseeded, elsewhere = _made(translator, way, x[:2], 1), _made(translator, way, x[[0, 2]], 0)
    limit = min(NOISE + 4 * _difference(plain, again), MOST)
    return Dependence(*(not _difference(plain, other) <= limit for other in (reseeded, elsewhere)))


def draws(translator: Network, way: Direction, given: Mapping[str, Tensor]) -> bool:
    """Whether another seed gives another picture."""
    x = _noise(translator, way, 2, (1, 1))
    return not _difference(*(_made(translator, way, x, seed, given) for seed in (0, 1))) <= NOISE


def _noise(translator: Network, way: Direction, count: int, size: tuple[int, int]) -> Tensor:
    """Random inputs as the network takes them, padded to its divisor; the last is paler, so that their statistics differ."""
    divisor = int(getattr(translator.module, "divisor", 1))
    sides = [len(reflected(side, divisor)[1]) for side in size]
    drawn = torch.rand((count, translator.domains[way[0]].channels, *sides), generator=torch.Generator().manual_seed(0))
    x = drawn * 2 - 1
    x[-1] = 0.5 * x[-1] + 0.5
    return x.to(translator.device)


def _made(translator: Network, way: Direction, x: Tensor, seed: int, given: Mapping[str, Tensor] | None = None) -> Tensor:
    """The translation of the first picture of a batch."""
    with torch.inference_mode(), seeded(seed):
        return translator.network(x, *way, given or {})[0].clone()  # CUDA graphs write the next result over it


def _difference(one: Tensor, other: Tensor) -> float:
    """The largest, or NaN."""
    return float((one - other).abs().max())
