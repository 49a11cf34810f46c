"""An encoder, blocks that mix two norms, and a decoder. B batch, C channels; h and w are the size of feature maps."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i.layers import Count, InstanceNorm


class AdaLIN(nn.Module):
    """gamma * (rho * instance norm + (1 - rho) * layer norm) + beta, of (B, C, h, w); gamma and beta are (B, C).

    rho has one value in [0, 1] for each channel; the paper clips it after each step.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.instance_norm, self.rho = InstanceNorm(), nn.Parameter(torch.full((width, 1, 1), 0.9))

    def constrain(self) -> None:
        """i2i calls this after each step of the optimizer."""
        self.rho.clamp_(0, 1)

    def forward(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        both = self.rho * self.instance_norm(x) + (1 - self.rho) * F.group_norm(x, 1)
        return gamma[:, :, None, None] * both + beta[:, :, None, None]


class Block(nn.Module):
    """A residual block: two convolutions, each followed by a norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(width, width, 3, 1, 1, bias=False) for _ in range(2))
        self.norms = nn.ModuleList(AdaLIN(width) for _ in range(2))

    def forward(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        inner = self.norms[0](self.convolutions[0](x), gamma, beta).relu()
        y: Tensor = x + self.norms[1](self.convolutions[1](inner), gamma, beta)
        return y


class Balanced(nn.Module):
    """The scale and shift after each norm are computed from the means of the image's features."""

    divisor = 2
    small = {"width": 4, "blocks": 1}  # noqa: RUF012 - never changed

    def __init__(
        self, in_channels: int, out_channels: int, activation: nn.Module, *, width: Count = 32, blocks: Count = 4
    ) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(in_channels, width, 4, 2, 1), InstanceNorm(), nn.ReLU())
        self.blocks = nn.ModuleList(Block(width) for _ in range(blocks))
        self.looks = nn.Sequential(nn.Conv2d(in_channels, width, 4, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.scales = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2 * width))
        self.decoder = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(width, out_channels, 5, 1, 2), activation)

    def forward(self, x: Tensor) -> Tensor:
        gamma, beta = self.scales(self.looks(x)).chunk(2, 1)
        features = self.encoder(x)
        for block in self.blocks:
            features = block(features, 1 + gamma, beta)
        made: Tensor = self.decoder(features)
        return made
