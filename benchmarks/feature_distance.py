"""The distance of two sets of pictures in the features of a network that no judge or loss of a shipped recipe has seen.

It is called ``kid[thin_resnet50]`` and cannot be compared with a figure of another network or stage. Each picture is cut into
overlapping crops, as a dozen pictures are few. They are not independent samples, so the distance only ranks models on the same
pictures; it does not estimate a value for a population.
"""

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchmetrics.image.kid import KernelInceptionDistance

from i2i_metrics.extractors import extractor

NETWORK = "thin_resnet50"
KERNEL = f"kid[{NETWORK}]"
SUBSETS = 100


@dataclass(frozen=True)
class Distance:
    """The mean and the standard deviation over random subsets."""

    mean: float
    std: float


class FeatureDistance:
    """Measures sets of images (N, 3, H, W) in [-1, 1] against the true images given here."""

    def __init__(self, truth: Tensor, *, size: int = 64, stride: int = 32, seed: int = 0) -> None:
        self.size, self.stride, self.seed = size, stride, seed
        true_crops = crops(truth, size, stride)
        self.count = len(true_crops)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*will save all extracted features.*")
            network: nn.Module = extractor(NETWORK)
            self.kernel = KernelInceptionDistance(
                network, subsets=SUBSETS, subset_size=self.count // 2, reset_real_features=False
            ).to(truth.device)
        self._update(true_crops, real=True)

    def __call__(self, images: Tensor) -> Distance:
        """The distance of as many images as there are true ones."""
        self.kernel.reset()
        self._update(crops(images, self.size, self.stride), real=False)
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            mean, std = self.kernel.compute()
        return Distance(float(mean), float(std))

    def _update(self, pictures: Tensor, *, real: bool) -> None:
        for batch in torch.split(pictures, 64):
            self.kernel.update(batch, real=real)


def crops(images: Tensor, size: int, stride: int) -> Tensor:
    """All crops of *size* on a grid with *stride*: (N, C, H, W) to (N * crops, C, size, size)."""
    windows = images.unfold(2, size, stride).unfold(3, size, stride)  # N, C, rows, columns, size, size
    return windows.permute(0, 2, 3, 1, 4, 5).flatten(0, 2).contiguous()
