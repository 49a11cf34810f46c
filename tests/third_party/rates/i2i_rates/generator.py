"""An encoder, and a decoder. A mapping network turns noise into a code that scales and shifts each layer of the decoder."""

import torch
from torch import Tensor, nn

from i2i.layers import Count, InstanceNorm

NOISE = 16


class Styled(nn.Module):
    """Adaptive instance norm after a convolution (Karras et al. 2019, eq. 1): (B, C, H, W) and (B, NOISE) to (B, C', H, W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(in_channels, out_channels, 3, 1, 1, bias=False), InstanceNorm()
        self.style = nn.Linear(NOISE, 2 * out_channels)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        scale, shift = self.style(w)[:, :, None, None].chunk(2, 1)
        return torch.nn.functional.leaky_relu(self.norm(self.conv(x)) * (1 + scale) + shift, 0.2)


class Mapped(nn.Module):
    """Makes an image in a random style. The mapping network's learning rate is 100 times lower (appendix C)."""

    divisor = 4
    rates = {"mapping": 0.01}  # noqa: RUF012 - never changed
    small = {"width": 4}  # noqa: RUF012

    def __init__(
        self, in_channels: int, out_channels: int, activation: nn.Module, *, width: Count = 32, depth: Count = 4
    ) -> None:
        super().__init__()
        self.mapping = nn.Sequential(*(part for _ in range(depth) for part in (nn.Linear(NOISE, NOISE), nn.LeakyReLU(0.2))))
        halves = [nn.Conv2d(in_channels, width, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(width, 2 * width, 4, 2, 1)]
        self.encoder = nn.Sequential(*halves, nn.LeakyReLU(0.2))
        self.decoder = nn.ModuleList((Styled(2 * width, width), Styled(width, width)))
        self.up, self.last = nn.Upsample(scale_factor=2), nn.Sequential(nn.Conv2d(width, out_channels, 1), activation)

    def forward(self, x: Tensor) -> Tensor:
        w, features = self.mapping(torch.randn(x.shape[0], NOISE, device=x.device)), self.encoder(x)
        for layer in self.decoder:
            features = layer(self.up(features), w)
        made: Tensor = self.last(features)
        return made
