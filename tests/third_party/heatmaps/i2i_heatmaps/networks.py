"""Both players. Each has classifiers whose weights rate the channels. B batch, C channels, feature maps of h x w."""

import torch
from torch import Tensor, nn

from i2i.layers import Count, InstanceNorm


class Attention(nn.Module):
    """Class activation maps (Zhou et al. 2016): features (B, C, h, w) multiplied by the weights of two classifiers.

    One classifier sees the mean of each channel, the other the maximum.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.of_mean, self.of_maximum = nn.Linear(width, 1, bias=False), nn.Linear(width, 1, bias=False)
        self.mix = nn.Conv2d(2 * width, width, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the weighted features (B, C, h, w) and the logits of both classifiers (B, 2)."""
        logits = torch.cat((self.of_mean(x.mean((2, 3))), self.of_maximum(x.amax((2, 3)))), 1)
        weighted = [x * one.weight[0][:, None, None] for one in (self.of_mean, self.of_maximum)]
        return self.mix(torch.cat(weighted, 1)).relu(), logits


class Painter(nn.Module):
    """Makes an image, the logits ``cam`` (B, 2) of "x is from the source", and the ``heatmap`` (B, 1, h, w)."""

    divisor = 4
    pictures = ("heatmap",)
    small = {"width": 4}  # noqa: RUF012 - never changed

    def __init__(self, in_channels: int, out_channels: int, activation: nn.Module, *, width: Count = 32) -> None:
        super().__init__()
        halves = [nn.Conv2d(in_channels, width, 4, 2, 1), nn.ReLU(), nn.Conv2d(width, 2 * width, 4, 2, 1), InstanceNorm()]
        self.encoder, self.attention = nn.Sequential(*halves, nn.ReLU()), Attention(2 * width)
        up = [nn.Upsample(scale_factor=2), nn.Conv2d(2 * width, width, 3, 1, 1), nn.ReLU(), nn.Upsample(scale_factor=2)]
        self.decoder = nn.Sequential(*up, nn.Conv2d(width, out_channels, 5, 1, 2), activation)

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        features, logits = self.attention(self.encoder(x))
        heat = features.detach().sum(1, keepdim=True)
        low, high = heat.amin((2, 3), keepdim=True), heat.amax((2, 3), keepdim=True)
        return self.decoder(features), {"cam": logits, "heatmap": 2 * (heat - low) / (high - low).clamp_min(1e-6) - 1}


class Judge(nn.Module):
    """Makes logits (B, 1, h, w), and those of its classifiers, ``cam`` (B, 2)."""

    small = {"width": 4}  # noqa: RUF012

    def __init__(self, in_channels: int, *, width: Count = 32) -> None:
        super().__init__()
        layers = [nn.Conv2d(in_channels, width, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(width, 2 * width, 4, 2, 1)]
        self.layers, self.attention = nn.Sequential(*layers, nn.LeakyReLU(0.2)), Attention(2 * width)
        self.last = nn.Conv2d(2 * width, 1, 3, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        features, logits = self.attention(self.layers(x))
        return self.last(features), {"cam": logits}
