"""How much the translations of one image differ from one another (Zhu et al. 2017, BicycleGAN, section 4.2)."""

from collections.abc import Mapping
from itertools import combinations
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from i2i.metrics import PerImage, Seen, needs_images, to_zero_one
from i2i.protocols import Direction, Domain
from i2i_metrics.extractors import DEFAULT
from i2i_metrics.perceptual import distance

PIXELS = "l1"


class Diversity(PerImage):
    """``diversity[DISTANCE]``: of each image, the mean distance between all pairs of ``styles`` translations.

    Each style is a new draw; a generator that draws nothing scores 0. ``distance`` is ``l1`` (images in [0, 1]) or the
    name of a perceptual one.
    """

    better = "higher"

    def __init__(
        self,
        *,
        domains: Mapping[str, Domain],
        direction: Direction,
        styles: Annotated[int, Field(ge=2, description="Translations of each image.")] = 5,
        distance: Annotated[str, Field(description="l1, or a network that compares: see lpips.")] = DEFAULT,
    ) -> None:
        needs_images(domains[direction[1]], "the target")
        self.styles = styles
        self.network = None if distance == PIXELS else _perceptual(distance)
        protocol = {"distance": "L1 in [0, 1]"} if self.network is None else self.network.protocol()
        name = PIXELS if self.network is None else self.network.name
        super().__init__(f"diversity[{name}]", styles=styles, **protocol)

    def measure(self, seen: Seen) -> Mapping[str, Tensor]:
        made = [to_zero_one(seen.translate(seen.source, *seen.direction, draw)) for draw in range(1, self.styles + 1)]
        with torch.inference_mode():
            distances = torch.stack([self._between(x, y) for x, y in combinations(made, 2)])
        return {self.names[0]: distances.mean(0)}

    def _between(self, x: Tensor, y: Tensor) -> Tensor:
        """(B, C, H, W) twice to (B,)."""
        if self.network is None:
            return (x - y).double().abs().mean((1, 2, 3))
        made: Tensor = self.network.to(x.device)(x * 2 - 1, y * 2 - 1)
        return made


_perceptual = distance  # the option has the same name
