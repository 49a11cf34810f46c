"""Feature extractors by name: images (B, 1 or 3, H, W) in [-1, 1] to features (B, d).

- ``inception``: the network of the published FID and KID (Heusel et al. 2017), as torch-fidelity has it.
- ``efficientnet_lite0``, ``efficientnet_lite1``, ``efficientnet_lite2``: ImageNet weights that a package each bundles;
  nothing is downloaded.
- ``thin_resnet50``: of another family, bundled as well (see ``thin_resnet``).
- ``NAME``: any of timm's backbones, with its weights from the hub; ``NAME@FILE``: with weights from a local file.

All but Inception give the pooled features in front of the classifier, or the spatial mean of a ``layer`` by its name.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from i2i.errors import UserError, nearest
from i2i.metrics import fingerprint, to_zero_one
from i2i_metrics.downloads import published
from i2i_metrics.packages import needed, versions
from i2i_metrics.thin_resnet import PACKAGE, THIN, load

DEFAULT = "efficientnet_lite0"
INCEPTION = "inception"
_REMEDY = f"choose another extractor: '{DEFAULT}' needs no download."


class Extractor(nn.Module):
    """A frozen network. ``name`` stands in a figure's name, ``digest`` in its protocol; ``smallest`` is in pixels."""

    name: str
    digest: str
    smallest: int
    resizes: str | None = None
    packages: tuple[str, ...]

    def protocol(self) -> dict[str, Any]:
        """What the protocol of a figure says about it."""
        return {"extractor": self.name, "extractor_sha256": self.digest, "versions": versions(*self.packages)}


class Inception(Extractor):
    """InceptionV3 of 2015-12-05: 8-bit images, bilinear to 299 x 299 as TensorFlow 1 did it, the 2048 pooled features."""

    def __init__(self) -> None:
        super().__init__()
        module = needed("torch_fidelity.feature_extractor_inceptionv3", "torch-fidelity")
        path = published(module.URL_INCEPTION_V3, "the published Inception network", _REMEDY)
        torch.load(path, map_location="cpu", weights_only=True)  # the package would unpickle anything
        self.network = module.FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(path))
        self.name, self.smallest, self.packages = INCEPTION, 1, ("torch-fidelity",)
        self.resizes = "299, bilinear as in TensorFlow 1"
        self.digest = fingerprint(self.network)

    def forward(self, images: Tensor) -> Tensor:
        pixels = (to_zero_one(images) * 255).round().to(torch.uint8)
        (features,) = self.network(pixels.expand(-1, 3, -1, -1))
        assert isinstance(features, Tensor)
        return features


class Backbone(Extractor):
    """A classifier, timm's or the thin ResNet, with the mean and deviation of the images that it was trained with."""

    def __init__(self, name: str, layer: str | None) -> None:
        super().__init__()
        self.layer, self.packages = layer, (PACKAGE if name == THIN else "timm",)
        self.network, config = _network(name)
        modules = dict(self.network.named_modules())
        if layer is not None and layer not in modules:
            raise UserError(f"layer: the extractor '{name}' has no layer '{layer}'.{nearest(layer, list(modules))}")
        self.kept: Tensor | None = None
        if layer is not None:
            modules[layer].register_forward_hook(self._keep)
        self.network.requires_grad_(False).eval()
        self.digest = fingerprint(self.network)
        self.name = plain_name(name) if layer is None else f"{plain_name(name)}/{layer}"
        self.smallest = 2 * _reduction(self.network, list(modules), layer)
        self.register_buffer("shift", torch.tensor(config["mean"]).view(1, -1, 1, 1))
        self.register_buffer("scale", torch.tensor(config["std"]).view(1, -1, 1, 1))
        self.shift: Tensor
        self.scale: Tensor

    def forward(self, images: Tensor) -> Tensor:
        network: Any = self.network
        found: Tensor = network.forward_features((images / 2 + 0.5 - self.shift) / self.scale)
        if self.layer is None:
            pooled: Tensor = network.forward_head(found, pre_logits=True)
            return pooled.flatten(1)
        assert self.kept is not None
        kept, self.kept = self.kept, None
        return kept.mean((2, 3)) if kept.ndim == 4 else kept.flatten(2).mean(1) if kept.ndim == 3 else kept

    def _keep(self, _module: nn.Module, _inputs: Any, output: Tensor) -> None:
        self.kept = output


def _network(name: str) -> tuple[nn.Module, Any]:
    """The network of that name, and its mean and deviation."""
    if name == THIN:
        return load()
    network: tuple[nn.Module, Any] = needed("i2i_timm.backbones", "timm").create(split_name(name)[0], (), split_name(name)[1])
    return network


def _reduction(network: nn.Module, modules: list[str], layer: str | None) -> int:
    """The distance in pixels between two neighbouring places of the features.

    Images are to give two places at least: the padding around a single one leaves hardly any feature alive.
    """
    info: Any = getattr(network, "feature_info", None) or [{"reduction": 32, "module": ""}]
    after = [] if layer is None else [i for i in info if i["module"] in modules[modules.index(layer) :]]
    return int((after or info[-1:])[0]["reduction"])


def split_name(name: str) -> tuple[str, str]:
    """timm's name and where the weights are from."""
    if f"tf_{name}" in needed("i2i_timm.backbones", "timm").PACKAGES:
        return f"tf_{name}", "bundled"
    backbone, _, file = name.partition("@")
    return backbone, file or "hub"


def plain_name(name: str) -> str:
    """The name without the path of a file; files are distinguished by the hash of the weights."""
    backbone, _, file = name.partition("@")
    return f"{backbone}@file" if file else backbone


@lru_cache(maxsize=4)
def extractor(name: str, layer: str | None = None) -> Extractor:
    """The extractor of that name, loaded once for all metrics.

    Raises:
        UserError: there is no such extractor, or its weights are not available.
    """
    if name == INCEPTION:
        if layer is not None:
            raise UserError("layer: the published Inception network gives its pooled features only. Leave it out.")
        return Inception()
    return Backbone(name, layer)
