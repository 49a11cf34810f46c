"""The kernel distance: squared maximum mean discrepancy with the kernel (x.y / d + 1)^3 (Bińkowski et al. 2018)."""

from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from i2i.metrics import Better, Figure
from i2i.protocols import Direction, Domain
from i2i_metrics.extractors import DEFAULT
from i2i_metrics.sets import Crop, Filter, Layer, Network, Preparation, Resize, SampledSetMetric, Stride


def discrepancy(x: Tensor, y: Tensor) -> float:
    """The unbiased estimate (equation 4 there) from features (m, d) and (n, d)."""
    m, n = len(x), len(y)
    within_x, within_y = _kernel(x, x), _kernel(y, y)
    same = (within_x.sum() - within_x.trace()) / (m * (m - 1)) + (within_y.sum() - within_y.trace()) / (n * (n - 1))
    return float(same - 2 * _kernel(x, y).mean())


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


class Kid(SampledSetMetric):
    """``kid[EXTRACTOR]``: the mean over ``subsets`` random subsets of ``subset_size``, with their standard deviation.

    Where there are not more samples than ``subset_size``, it is one estimate from all of them. It looks at no more than
    ``keep`` samples of each side, drawn from the evaluation's seed.
    """

    better: Better = "lower"

    def __init__(
        self,
        *,
        domains: Mapping[str, Domain],
        direction: Direction,
        seed: int,
        extractor: Network = DEFAULT,
        layer: Layer = None,
        crop: Crop = None,
        stride: Stride = None,
        resize: Resize = None,
        filter: Filter = "bicubic",
        subsets: Annotated[int, Field(ge=1, description="The number of random subsets.")] = 100,
        subset_size: Annotated[int, Field(ge=2, description="Samples in a subset.")] = 1000,
        keep: Annotated[int, Field(ge=2, description="The largest number of samples of each side.")] = 10_000,
    ) -> None:
        super().__init__(["kid"], domains, direction, Preparation(extractor, layer, crop, stride, resize, filter))
        self.seed, self.subsets, self.subset_size = seed, subsets, subset_size
        self.start(keep, seed)

    def figures(self) -> list[Figure]:
        made, real = self.made.features, self.real.features
        self.enough(len(made))
        protocol = {**self.protocol, "samples": len(made)}
        if len(made) <= self.subset_size:
            return [Figure(self.names[0], discrepancy(made, real), self.better, {**protocol, "subsets": None})]
        draw = torch.Generator().manual_seed(self.seed)
        values = torch.tensor([self._subset(made, real, draw) for _ in range(self.subsets)], dtype=torch.float64)
        protocol["subsets"] = f"{self.subsets} of {self.subset_size}"
        spread = float(values.std(correction=0))
        return [Figure(self.names[0], float(values.mean()), self.better, protocol, spread)]

    def _subset(self, made: Tensor, real: Tensor, draw: torch.Generator) -> float:
        chosen = (torch.randperm(len(side), generator=draw)[: self.subset_size] for side in (made, real))
        return discrepancy(*(side[places] for side, places in zip((made, real), chosen, strict=True)))
