"""Precision and recall of a set of translations (Kynkäänniemi et al. 2019, section 2)."""

from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from i2i.metrics import Better, Figure
from i2i.protocols import Direction, Domain
from i2i_metrics.extractors import DEFAULT
from i2i_metrics.sets import Crop, Filter, Layer, Network, Preparation, Resize, SampledSetMetric, Stride

_ROWS = 1024


def covered(points: Tensor, centres: Tensor, neighbours: int) -> float:
    """The share of points (m, d) in any ball around a centre (n, d) that reaches its neighbour number *neighbours*."""
    radii = torch.cat(
        [torch.cdist(part, centres).kthvalue(neighbours + 1).values for part in _parts(centres)]
    )  # the nearest is the centre itself
    inside = [(torch.cdist(part, centres) <= radii).any(1) for part in _parts(points)]
    return float(torch.cat(inside).double().mean())


def _parts(points: Tensor) -> list[Tensor]:
    """(m, d) in parts of bounded size."""
    return list(torch.chunk(points, -(-len(points) // _ROWS)))


class PrecisionRecall(SampledSetMetric):
    """``precision[EXTRACTOR]``: the share of translations among the real images; ``recall[EXTRACTOR]``: the reverse.

    A ball reaches as far as the centre's neighbour number ``neighbours``. It looks at no more than ``keep`` samples of each
    side, drawn from the evaluation's seed.
    """

    better: Better = "higher"

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
        neighbours: Annotated[int, Field(ge=1, description="The neighbour whose distance is the radius of a ball.")] = 3,
        keep: Annotated[int, Field(ge=2, description="The largest number of samples of each side.")] = 10_000,
    ) -> None:
        given = Preparation(extractor, layer, crop, stride, resize, filter)
        super().__init__(["precision", "recall"], domains, direction, given, least=neighbours + 1)
        self.neighbours = neighbours
        self.start(keep, seed)

    def figures(self) -> list[Figure]:
        made, real = self.made.features, self.real.features
        self.enough(len(made))
        protocol = {**self.protocol, "samples": len(made), "neighbours": self.neighbours}
        values = covered(made, real, self.neighbours), covered(real, made, self.neighbours)
        return [Figure(name, value, self.better, protocol) for name, value in zip(self.names, values, strict=True)]
