"""Layers that several architectures share."""

from collections.abc import Iterable

import torch.nn.functional as F
from torch import Tensor, nn

from i2i.protocols import Domain, Verdict


class InstanceNorm(nn.Module):
    """Instance normalisation without parameters or running statistics (Ulyanov et al. 2016), (B, C, H, W) to the same.

    Computed as a group norm with one group for each channel: the same function, several times faster on CPUs. The
    input is made contiguous first, because channels_last costs precision and speed there.
    """

    def __init__(self, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.group_norm(x.contiguous(), x.shape[1], eps=self.eps)


def output_activation(domain: Domain) -> nn.Module:
    """The last activation of a generator: tanh into [-1, 1] for images, softmax over the channels for labels."""
    return nn.Softmax(dim=1) if domain.kind == "labels" else nn.Tanh()


def judged_at_scales(judges: Iterable[nn.Module], x: Tensor) -> Verdict:
    """The outputs of every layer of each judge; each sees x (B, C, H, W) at half the size of the one before."""
    verdict: Verdict = []
    for judge in judges:
        if verdict:
            x = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
        maps = [x]
        for layer in judge.children():
            maps.append(layer(maps[-1]))
        verdict.append(maps[1:])
    return verdict
