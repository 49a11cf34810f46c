"""Retrieval: whether a translation looks more like its truth than like any other true picture."""

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from i2i.errors import UserError
from i2i.metrics import Better, Figure
from i2i.protocols import Direction, Domain
from i2i_metrics.extractors import DEFAULT
from i2i_metrics.sets import Filter, Layer, Network, Preparation, Resize, SampledSetMetric, number_of

FIRST = (1, 5)
_ROWS = 1024


def ranks(made: Tensor, real: Tensor) -> Tensor:
    """For each translation, how many other true pictures are as near to it as its truth, or nearer: (n,) from (n, d) twice.

    The truth of row i is row i. 0 means that it is found; a picture that equals the truth is another one all the same.
    """
    found = []
    for start in range(0, len(made), _ROWS):
        part = made[start : start + _ROWS]
        distances = torch.cdist(part, real)
        own = distances.diagonal(start)[:, None]
        found.append((distances <= own).sum(1) - 1)
    return torch.cat(found)


class Retrieval(SampledSetMetric):
    """``retrieval[EXTRACTOR]``: the share of translations whose nearest true picture is their own truth.

    ``retrieval@5[EXTRACTOR]`` is the share with the truth among the nearest five. Candidates are the true pictures of all
    samples, ``keep`` at most, so the figure is the lower, the more pictures there are. Pictures are scaled to ``resize``:
    networks see little in small ones.
    """

    paired = True
    better: Better = "higher"

    def __init__(
        self,
        *,
        domains: Mapping[str, Domain],
        direction: Direction,
        seed: int,
        extractor: Network = DEFAULT,
        layer: Layer = None,
        resize: Resize = 128,
        filter: Filter = "bicubic",
        distance: Annotated[Literal["cosine", "l2"], Field(description="The distance of two features.")] = "cosine",
        keep: Annotated[int, Field(ge=6, description="The largest number of candidates.")] = 10_000,
    ) -> None:
        given = Preparation(extractor, layer, None, None, resize, filter)
        super().__init__(["retrieval", "retrieval@5"], domains, direction, given, least=max(FIRST) + 1)
        self.distance = distance
        self.start(keep, seed)

    def figures(self) -> list[Figure]:
        made, real = self.made.features, self.real.features
        self.enough(len(made))
        if not bool(torch.isfinite(made).all() and torch.isfinite(real).all()):
            raise UserError(f"'{self.names[0]}': features are NaN or infinite.")
        if self.distance == "cosine":
            made, real = normalize(made), normalize(real)
        found = ranks(made, real)
        protocol = {"mean": "over pictures", **self.protocol, "distance": self.distance, "candidates": len(real)}
        return [self._figure(name, found < first, protocol) for name, first in zip(self.names, FIRST, strict=True)]

    def _figure(self, name: str, hits: Tensor, protocol: Mapping[str, object]) -> Figure:
        images = dict(zip(map(number_of, self.made.numbers), hits.double().tolist(), strict=True))
        return Figure(name, float(hits.double().mean()), self.better, protocol, images=images)
