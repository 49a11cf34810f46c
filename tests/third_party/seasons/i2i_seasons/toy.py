"""Three seasons of noise, each brightest in a channel of its own: unpaired pictures (3, size, size)."""

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
        drawn = {key: torch.rand(3, self.size, self.size) * 0.5 - 0.75 for key in self.domains}
        for channel, image in enumerate(drawn.values()):
            image[channel] += 1
        return drawn
