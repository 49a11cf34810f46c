"""Perceptual distances of two images (Zhang et al. 2018, equation 1), by the name of their network.

- ``alex``, ``vgg``, ``squeeze``: LPIPS as published, with its trained weights of the channels.
- any other name (see ``extractors``): the same formula with all weights 1, over the feature levels of that network.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from i2i.errors import UserError
from i2i.metrics import PerImage, Seen, fingerprint, needs_images, paired_images
from i2i.protocols import Direction, Domain
from i2i_metrics.downloads import published
from i2i_metrics.extractors import DEFAULT, plain_name, split_name
from i2i_metrics.packages import needed, versions
from i2i_metrics.thin_resnet import PACKAGE, THIN, load

_TRUNKS = {"alex": "AlexNet_Weights", "vgg": "VGG16_Weights", "squeeze": "SqueezeNet1_1_Weights"}
_REMEDY = f"choose another network: '{DEFAULT}' needs no download."


class Distance(nn.Module):
    """Two sets of images (B, 1 or 3, H, W) in [-1, 1] to distances (B,)."""

    smallest = 32

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = plain_name(name)
        self.weights = "trained, version 0.1" if name in _TRUNKS else "all 1"
        self.packages = ("torchmetrics", "torchvision") if name in _TRUNKS else (PACKAGE if name == THIN else "timm",)
        self.network: Any = _lpips(name) if name in _TRUNKS else _levels(name)
        self.digest = fingerprint(self.network)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h, w = x.shape[-2:]
        if min(h, w) < self.smallest:
            raise UserError(f"the network '{self.name}' takes images of at least {self.smallest} pixels; these are {w} x {h}.")
        if self.name in _TRUNKS:
            distances: Tensor = self.network(x.expand(-1, 3, -1, -1), y.expand(-1, 3, -1, -1))
            return distances.reshape(-1)
        pairs = zip(self.network(x), self.network(y), strict=True)
        terms = [(_normalised(f) - _normalised(g)).square().sum(1).mean((1, 2)) for f, g in pairs]
        return torch.stack(terms).sum(0)

    def protocol(self) -> dict[str, Any]:
        """What the protocol of a figure says about it."""
        return {
            "extractor": self.name,
            "extractor_sha256": self.digest,
            "channel_weights": self.weights,
            "resize": None,
            "versions": versions(*self.packages),
        }


def _normalised(features: Tensor) -> Tensor:
    """Features (B, C, H, W), normalised to unit length at each place."""
    return features / (features.square().sum(1, keepdim=True) + 1e-10).sqrt()


def _lpips(name: str) -> nn.Module:
    module = needed("torchmetrics.image.lpip", "torchmetrics")
    models = needed("torchvision.models", "torchvision")
    published(getattr(models, _TRUNKS[name]).IMAGENET1K_V1.url, f"the network of LPIPS '{name}'", _REMEDY)
    network: nn.Module = module.LearnedPerceptualImagePatchSimilarity(name).net
    return network.eval()


def _levels(name: str) -> nn.Module:
    """All feature levels of a network."""
    if name == THIN:
        return load()[0]
    timm, backbones = needed("timm", "timm"), needed("i2i_timm.backbones", "timm")
    backbone, weights = split_name(name)
    if not timm.is_model(backbone):
        backbones.create(backbone, (), weights)  # says what there is
    levels = range(len(timm.create_model(backbone, features_only=True).feature_info))
    network: nn.Module = backbones.Features(backbone, tuple(levels), weights)
    return network


@lru_cache(maxsize=4)
def distance(name: str) -> Distance:
    """The distance of that name, loaded once for all metrics."""
    return Distance(name)


class Lpips(PerImage):
    """``lpips[NETWORK]`` of each translation and its truth."""

    paired = True

    def __init__(
        self,
        *,
        domains: Mapping[str, Domain],
        direction: Direction,
        network: Annotated[str, Field(description="alex, vgg or squeeze, as published, or another, unweighted.")] = DEFAULT,
    ) -> None:
        target = domains[direction[1]]
        needs_images(target, "the target")
        if target.channels not in (1, 3):
            raise UserError(f"the network takes 1 or 3 channels, and '{target.name}' has {target.channels}.")
        self.distance = distance(network)
        super().__init__(f"lpips[{self.distance.name}]", **self.distance.protocol())

    def measure(self, seen: Seen) -> Mapping[str, Tensor]:
        made, truth = paired_images(seen)
        with torch.inference_mode():
            return {self.names[0]: self.distance.to(made.device)(made * 2 - 1, truth * 2 - 1)}
