"""The Fréchet distance between the features of translations and of real images (Heusel et al. 2017, equation 6)."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from i2i.metrics import Better, Figure, Seen, State
from i2i.protocols import Direction, Domain
from i2i_metrics.extractors import DEFAULT
from i2i_metrics.sets import Crop, Filter, Layer, Network, Preparation, Resize, SetMetric, Stride


class Moments:
    """The number, sum and sum of outer products of features: (), (d,) and (d, d), float64."""

    def __init__(self) -> None:
        self.count, self.total, self.outer = 0, torch.zeros(()), torch.zeros(())

    def add(self, features: Tensor) -> None:
        """Take in (N, d)."""
        self.count += len(features)
        self.total = self.total + features.sum(0)
        self.outer = self.outer + features.T @ features

    def state(self) -> State:
        return {"count": self.count, "total": self.total, "outer": self.outer}

    def merge(self, states: Sequence[State]) -> None:
        self.count = sum(state["count"] for state in states)
        self.total = sum((state["total"] for state in states), torch.zeros(()))
        self.outer = sum((state["outer"] for state in states), torch.zeros(()))

    def gauss(self) -> tuple[Tensor, Tensor]:
        """Mean (d,) and unbiased covariance (d, d)."""
        mean = self.total / self.count
        return mean, (self.outer - self.count * torch.outer(mean, mean)) / (self.count - 1)


def frechet(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)).

    The eigenvalues of C1 C2 are those of the symmetric C1^(1/2) C2 C1^(1/2), which are found exactly and fast.
    """
    (mean_1, covariance_1), (mean_2, covariance_2) = one, other
    values, vectors = torch.linalg.eigh(covariance_1)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    both = torch.linalg.eigvalsh(root @ covariance_2 @ root).clamp(min=0).sqrt().sum()
    distance = (mean_1 - mean_2).square().sum() + covariance_1.trace() + covariance_2.trace() - 2 * both
    return float(distance)


class Fid(SetMetric):
    """``fid[EXTRACTOR]``; plain ``fid`` for the published Inception network alone.

    With fewer samples than features the covariance is singular, and the figure can only be compared with those of as many
    samples: the protocol says so.
    """

    better: Better = "lower"

    def __init__(
        self,
        *,
        domains: Mapping[str, Domain],
        direction: Direction,
        extractor: Network = DEFAULT,
        layer: Layer = None,
        crop: Crop = None,
        stride: Stride = None,
        resize: Resize = None,
        filter: Filter = "bicubic",
    ) -> None:
        super().__init__(["fid"], domains, direction, Preparation(extractor, layer, crop, stride, resize, filter))
        self.made, self.real = Moments(), Moments()

    def update(self, seen: Seen) -> None:
        made, real, _ = self.features(seen)
        self.made.add(made)
        self.real.add(real)

    def figures(self) -> list[Figure]:
        self.enough(self.made.count)
        dimensions = len(self.made.total)
        protocol = {**self.protocol, "samples": self.made.count, "features": dimensions}
        if self.made.count <= dimensions:
            protocol["caution"] = "fewer samples than features"
        return [Figure(self.names[0], frechet(self.made.gauss(), self.real.gauss()), self.better, protocol)]
