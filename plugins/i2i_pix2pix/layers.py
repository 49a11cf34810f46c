"""The layers of pix2pix's networks: B batch, C channels, H height, W width."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from i2i.errors import UserError
from i2i.layers import InstanceNorm
from i2i.layers import folded as fold

Norm = Literal["batch", "instance", "none"]


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation (Ioffe & Szegedy 2015); keeps (B, C, H, W).

    With *own_statistics* it normalises by the batch's own mean and variance in evaluation mode too, and leaves the
    running statistics as they are then.
    """

    def __init__(self, channels: int, own_statistics: bool = False) -> None:
        super().__init__(channels)
        self.own_statistics = own_statistics

    def forward(self, x: Tensor) -> Tensor:
        of_the_batch = self.training or self.own_statistics
        if of_the_batch and x.numel() == x.shape[1]:
            raise UserError(
                "batch norm has no variance to divide by: it sees one image whose feature map is 1x1. "
                "Use larger images or a larger batch, or set the option 'norm' to 'none'."
            )
        if of_the_batch and not self.training:
            return F.batch_norm(x, None, None, self.weight, self.bias, training=True, eps=self.eps)
        return super().forward(x)


class Dropout(nn.Module):
    """Sets a share *p* of the values to 0 and scales the others by 1 / (1 - p); with *always* in evaluation mode too."""

    def __init__(self, p: float, always: bool) -> None:
        super().__init__()
        self.p, self.always = p, always

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, self.training or self.always)


def normalisation(kind: Norm, channels: int, own_statistics: bool = False) -> nn.Module:
    if kind == "batch":
        return BatchNorm(channels, own_statistics)
    return InstanceNorm() if kind == "instance" else nn.Identity()


def folded(conv: nn.Module, norm: nn.Module) -> tuple[nn.Module, nn.Module]:
    """A convolution merged with the norm after it, if the norm uses running statistics in evaluation."""
    return (conv, norm) if isinstance(norm, BatchNorm) and norm.own_statistics else fold(conv, norm)
