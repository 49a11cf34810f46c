"""A toy of three domains: noise in red, in green, in blue."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from i2i.protocols import Domain

NAMES = ("red", "green", "blue")


class Tints:
    """Unpaired pictures (3, size, size), each brightest in the channel of its domain."""

    paired = False

    def __init__(self, *, size: Annotated[int, Field(ge=4)] = 16, length: Annotated[int, Field(ge=1)] = 12) -> None:
        self.size, self.length = size, length
        self.domains = {key: Domain(name, "image", 3) for key, name in zip("abc", NAMES, strict=True)}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        drawn = {}
        for channel, key in enumerate(self.domains):
            drawn[key] = torch.rand(3, self.size, self.size) * 0.5 - 0.75
            drawn[key][channel] += 1
        return drawn
