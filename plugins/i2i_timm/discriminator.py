"""A discriminator that looks at images through a frozen network (projected GAN, Sauer et al. 2021).

B batch, C channels, H height, W width; images in [-1, 1] or one-hot labels.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from i2i.errors import UserError
from i2i.init import Gain, Init, initialise
from i2i.layers import Count
from i2i.protocols import Domain, Verdict
from i2i_timm.backbones import HUB, Features


class Head(nn.Module):
    """One level's judge: (B, C, h, w) to a feature map (B, width, h, w) and logits (B, 1, h, w).

    With *mixing* the features first pass a random 1x1 convolution that is never trained (section 3.2, cross-channel
    mixing), so that the judge cannot look away from most of them. It is part of the state dict.
    """

    def __init__(self, channels: int, condition: int, width: int, mixing: bool, init: Init, gain: float) -> None:
        super().__init__()
        self.mix = nn.Conv2d(channels, width, 1, bias=False)
        nn.init.kaiming_normal_(self.mix.weight)
        self.mix.requires_grad_(not mixing)
        self.condition = nn.Conv2d(condition, width, 1) if condition else None
        layers = [nn.Conv2d(width * (2 if condition else 1), width, 3, padding=1), nn.Conv2d(width, 1, 3, padding=1)]
        for layer in (*layers, *([self.condition] if self.condition is not None else [])):
            initialise(layer, init, gain)
        self.judge, self.logits = (spectral_norm(layer) for layer in layers)

    def forward(self, features: Tensor, condition: Tensor | None) -> list[Tensor]:
        x = self.mix(features)
        if self.condition is not None and condition is not None:
            beside = F.adaptive_avg_pool2d(condition, (features.shape[-2], features.shape[-1]))
            x = torch.cat((self.condition(beside), x), 1)
        x = F.leaky_relu(self.judge(x), 0.2)
        return [x, self.logits(x)]


class TimmDiscriminator(nn.Module):
    """For each domain, one small trained judge on each of the frozen network's *levels*, the finest first.

    The frozen network sees images of 1 or 3 channels, and labels in their classes' colours. A condition that it can see
    is looked at as well, and its features stand before the image's; any other condition is averaged to a level's size and
    enters by a trained 1x1 convolution. The frozen weights are not in the state dict; *weights*, see
    ``i2i_timm.backbones``.

    Of the paper are left out: the mixing across levels (a random U-Net upwards), the judges' own strides (logits keep
    the level's size) and differentiable augmentation.
    """

    exposes: frozenset[str] = frozenset({"features"})
    small = {"weights": "bundled", "levels": (0, 1), "width": 4}  # noqa: RUF012

    def __init__(
        self,
        *,
        domains: Mapping[str, Domain],
        conditions: Mapping[str, Domain],
        backbone: Annotated[str, Field(description="The frozen network: any of timm's by its name.")] = "tf_efficientnet_lite0",
        levels: Annotated[
            tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1, description="The feature levels that are judged.")
        ] = (1, 2, 3, 4),
        weights: Annotated[str, Field(description="The frozen weights: hub, bundled or a file.")] = HUB,
        width: Annotated[Count, Field(description="Channels of a judge.")] = 64,
        mixing: Annotated[bool, Field(description="Mix a level's channels at random before its judge.")] = True,
        init: Init = "kaiming",
        init_gain: Gain = 0.02,
    ) -> None:
        super().__init__()
        for domain in domains.values():
            if not _visible(domain):
                raise UserError(
                    f"it judges images of 1 or 3 channels and labels with colours, not '{domain.name}' "
                    f"({domain.kind}, {domain.channels} channels)."
                )
        self.conditions = dict(conditions)
        self.features = Features(backbone, levels, weights)
        info: Any = self.features.trunk.feature_info
        shown = {f"image_{key}": d for key, d in domains.items()} | {f"condition_{key}": d for key, d in conditions.items()}
        self.colours = nn.ModuleDict({key: _Colours(d) for key, d in shown.items() if d.kind == "labels" and _visible(d)})
        self.heads = nn.ModuleDict()
        for key in domains:
            seen = 2 if key in conditions and _visible(conditions[key]) else 1
            beside = conditions[key].channels if key in conditions and seen == 1 else 0
            self.heads[key] = nn.ModuleList(Head(seen * c, beside, width, mixing, init, init_gain) for c in info.channels())

    def forward(self, image: Tensor, domain: str, condition: Tensor | None = None) -> Verdict:
        """Judge image (B, C, H, W). For each level: a feature map (B, width, h, w), then the logits (B, 1, h, w)."""
        maps, beside = self._look(image, f"image_{domain}"), None
        if condition is not None and _visible(self.conditions[domain]):
            seen = self._look(condition, f"condition_{domain}")
            maps = [torch.cat(pair, 1) for pair in zip(seen, maps, strict=True)]
        elif condition is not None:
            beside = condition
        heads = self.heads.get_submodule(domain).children()
        return [head(features, beside) for head, features in zip(heads, maps, strict=True)]

    def _look(self, image: Tensor, role: str) -> list[Tensor]:
        maps: list[Tensor] = self.features(self.colours[role](image) if role in self.colours else image)
        return maps


class _Colours(nn.Module):
    """Labels as probabilities (B, C, H, W) to a picture in their classes' mixed colours (B, 3, H, W) in [-1, 1]."""

    def __init__(self, domain: Domain) -> None:
        super().__init__()
        self.register_buffer("table", torch.tensor(domain.colors) / 127.5 - 1, persistent=False)
        self.table: Tensor

    def forward(self, labels: Tensor) -> Tensor:
        return torch.einsum("bchw,cr->brhw", labels[:, : len(self.table)], self.table)


def _visible(domain: Domain) -> bool:
    """Whether the frozen network can look at it."""
    return domain.channels in (1, 3) if domain.kind == "image" else len(domain.colors) == domain.label_count > 0
