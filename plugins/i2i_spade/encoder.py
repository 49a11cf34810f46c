"""SPADE's style encoder: the recognition part of its variational autoencoder (Park et al. 2019, section 3 and fig. 14)."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i_spade.layers import ConvBlock

SIDE = 256
"""Images of any size are resized to a square of this side (bilinear)."""


class StyleEncoder(nn.Module):
    """An image (B, C, H, W) to the mean and the log variance of its style, (B, style_size) each."""

    def __init__(self, channels: int, width: int, style_size: int) -> None:
        super().__init__()
        widths = [channels, *(width * factor for factor in (1, 2, 4, 8, 8, 8))]
        self.layers = nn.Sequential(
            *(ConvBlock(before, after, 3, 2, 1, norm="instance", spectral=True) for before, after in pairwise(widths))
        )
        size = widths[-1] * (SIDE // 2**6) ** 2
        self.mean = nn.Linear(size, style_size)
        self.logvar = nn.Linear(size, style_size)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        square = F.interpolate(image, (SIDE, SIDE), mode="bilinear", align_corners=False)  # also where it changes nothing:
        h = self.layers(square).flatten(1)  # an export would fix a branch
        return self.mean(h), self.logvar(h)


def drawn(mean: Tensor, logvar: Tensor) -> Tensor:
    """A sample of N(mean, exp(logvar)), (B, style_size), that gradients pass (Kingma & Welling 2014, section 2.4)."""
    return mean + torch.randn_like(mean) * (0.5 * logvar).exp()
