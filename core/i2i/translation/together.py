"""Which pictures may go through a network together: what else than the picture itself a translation depends on."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from i2i.translation.conversion import reflected

SIDE = 32
"""Pictures of this side, or the next multiple of the divisor, show what a translation depends on."""
NOISE, MOST = 1e-5, 0.02
"""Differences up to the first, of values in [-1, 1], are rounding. Some convolutions of GPUs never give the same bits twice:
where the very same call differs, as it may in 16 bits, up to four times as much is rounding too, but none above the second.
"""


class Dependence(NamedTuple):
    """What a translation depends on in addition to the picture."""

    seed: bool
    """Something is drawn at random: a style, dropout."""
    others: bool
    """On the other pictures in a batch, because a norm uses their statistics in evaluation too."""


Run = Callable[[Tensor, int], Tensor]
"""Translates a batch (B, C, H, W) under a seed."""


def dependence(run: Run, channels: int, size: tuple[int, int], divisor: int) -> Dependence:
    """Measured by translating random pictures of *size* (height, width) or smaller: under two seeds, with two different
    neighbours in the batch, and twice in the same way.

    Batches of one shape are compared, so that the same kernels compute both, in any precision.
    """
    try:
        return _tried(run, channels, (min(SIDE, size[0]), min(SIDE, size[1])), divisor)
    except Exception:  # a network that takes only one size may raise anything
        return _tried(run, channels, size, divisor)


def _tried(run: Run, channels: int, size: tuple[int, int], divisor: int) -> Dependence:
    sides = [len(reflected(side, divisor)[1]) for side in size]
    x = torch.rand((3, channels, *sides), generator=torch.Generator().manual_seed(0)) * 2 - 1
    x[-1] = 0.5 * x[-1] + 0.5  # paler, so that its statistics differ
    plain, again, reseeded, elsewhere = (run(x[[0, other]], seed)[0] for other, seed in ((1, 0), (1, 0), (1, 1), (2, 0)))
    limit = min(NOISE + 4 * _difference(plain, again), MOST)
    return Dependence(*(not _difference(plain, other) <= limit for other in (reseeded, elsewhere)))


def _difference(one: Tensor, other: Tensor) -> float:
    """The largest, or NaN."""
    return float((one - other).abs().max())
