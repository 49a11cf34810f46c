"""Unpaired pictures of noise (3, size, size) for three seasons. Each season is brightest in a different channel."""

import torch
from torch import Tensor

from i2i.protocols import Domain


class Toy:
    paired = False

    def __init__(self, *, size: int = 16, length: int = 12) -> None:
        self.size, self.length = size, length
        self.domains = {key: Domain(key, "image", 3) for key in ("spring", "summer", "winter")}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        tints = torch.eye(3)[:, :, None, None] - 0.75
        return {key: tint + torch.rand(3, self.size, self.size) / 2 for key, tint in zip(self.domains, tints, strict=True)}
