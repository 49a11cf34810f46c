"""A discriminator that looks at images through a frozen network (projected GAN, Sauer et al. 2021).

B batch, C channels, H height, W width; images in [-1, 1] or one-hot labels.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from i2i.augmentation import Kind, varied
from i2i.errors import UserError
from i2i.init import Gain, Init, initialise
from i2i.layers import Count
from i2i.protocols import Domain, Verdict
from i2i_timm.backbones import HUB, Features


class Mixing(nn.Module):
    """The features of all levels, (B, C_i, h_i, w_i), mixed at random: (B, width, h_i, w_i). See section 3.2 there.

    A random 1x1 convolution mixes a level's channels, so that a judge cannot look away from most of them. With *across*
    each level then is added to the next coarser one, enlarged, and passes a random 3x3 convolution; the coarsest begins.
    None is ever trained, but all are part of the state dict. Unless *mixed* the 1x1 convolutions are trained.
    ``settle`` gives the results a size.
    """

    def __init__(self, channels: Sequence[int], width: int, mixed: bool, across: bool) -> None:
        super().__init__()
        self.channels = nn.ModuleList(nn.Conv2d(c, width, 1, bias=False).requires_grad_(not mixed) for c in channels)
        scales = [nn.Conv2d(width, width, 3, padding=1, bias=False).requires_grad_(False) for _ in channels if across]
        self.scales = nn.ModuleList(scales)
        for conv in (*self.channels, *self.scales):
            nn.init.kaiming_normal_(conv.weight)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        mixed: list[Tensor] = [conv(x) for conv, x in zip(self.channels, maps, strict=True)]
        above: Tensor | None = None
        for level in reversed(range(len(self.scales))):
            x = mixed[level]
            if above is not None:
                x = x + F.interpolate(above, (x.shape[-2], x.shape[-1]), mode="bilinear")
            mixed[level] = above = self.scales[level](x)
        return mixed

    @torch.no_grad()
    def settle(self, maps: Sequence[Tensor]) -> None:
        """Scale the convolutions, so that all results have the mean square 1 for these features, which may be of any size.

        The paper's judges have batch norm, which does that. Without it logits would begin as large as the features, some 10,
        and one judge would outweigh the others of a list.
        """

        def scale(conv: nn.Module, _: Any, made: Tensor) -> Tensor:
            size = made.square().mean().sqrt()
            conv.weight.div_(size)  # type: ignore[operator]
            return made / size

        hooks = [conv.register_forward_hook(scale) for conv in (*self.channels, *self.scales)]
        self(maps)
        for hook in hooks:
            hook.remove()


class Halving(nn.Conv2d):
    """A 4x4 convolution with stride 2: (B, C, h, w) to (B, C', h / 2, w / 2), rounded up, for maps of any size."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(channels, width, 4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (1, 1 + x.shape[-1] % 2, 1, 1 + x.shape[-2] % 2)))


class Head(nn.Module):
    """One level's judge: (B, width, h, w) to feature maps, each half the size, and logits (B, 1, h / 2^n, w / 2^n).

    *condition* is the number of channels of a condition that the frozen network cannot see; it is averaged to (h, w) and
    enters by a 1x1 convolution.
    """

    def __init__(self, condition: int, width: int, halvings: int, init: Init, gain: float) -> None:
        super().__init__()
        self.condition = nn.Conv2d(condition, width, 1) if condition else None
        first = width * (2 if condition else 1)
        layers: list[nn.Module] = [Halving(first if not n else width, width) for n in range(halvings)]
        layers.append(nn.Conv2d(width if halvings else first, width, 3, padding=1))
        layers.append(nn.Conv2d(width, 1, 3, padding=1))
        for layer in (*layers, *([self.condition] if self.condition is not None else [])):
            initialise(layer, init, gain)
        self.layers = nn.ModuleList(spectral_norm(layer) for layer in layers)

    def forward(self, x: Tensor, condition: Tensor | None) -> list[Tensor]:
        if self.condition is not None and condition is not None:
            beside = F.adaptive_avg_pool2d(condition, (x.shape[-2], x.shape[-1]))
            x = torch.cat((self.condition(beside), x), 1)
        *layers, logits = self.layers
        maps = []
        for layer in layers:
            maps.append(x := F.leaky_relu(layer(x), 0.2))
        return [*maps, logits(x)]


class TimmDiscriminator(nn.Module):
    """For each domain, one small trained judge on each of the frozen network's *levels*, the finest first.

    The frozen network sees images of 1 or 3 channels, and labels in their classes' colours. A condition that it can see
    is looked at as well, and its features stand before the image's; any other condition is averaged to a level's size and
    enters by a trained 1x1 convolution. The frozen weights are not in the state dict; *weights*, see
    ``i2i_timm.backbones``. With *augment* image and condition are varied alike before the network sees them, in training
    only (``i2i.augmentation``); then it exposes no features, as those of two images would be of differently varied ones.

    It differs from the paper in this: a judge's width is the same at all sizes and it has no batch norm, so that it takes
    single pictures (``Mixing.settle`` gives features their size instead); the coarsest level, which the paper halves once,
    keeps its size, as crops are smaller here; and augmentation is off by default.
    """

    exposes: frozenset[str] = frozenset({"features"})  # unless it augments
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
        mixing_scales: Annotated[bool, Field(description="Mix coarser levels into finer ones at random.")] = True,
        halving: Annotated[bool, Field(description="Judges of finer levels halve them to the coarsest one's size.")] = True,
        augment: Annotated[tuple[Kind, ...], Field(description="Vary what the network sees: color, translation, cutout.")] = (),
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
        self.exposes = frozenset() if augment else frozenset({"features"})
        self.augment, self.kinds = augment, {key: domain.kind for key, domain in domains.items()}
        self.features = Features(backbone, levels, weights, merged=True)
        info: Any = self.features.trunk.feature_info
        shown = {f"image_{key}": d for key, d in domains.items()} | {f"condition_{key}": d for key, d in conditions.items()}
        self.colours = nn.ModuleDict({key: _Colours(d) for key, d in shown.items() if d.kind == "labels" and _visible(d)})
        reductions = info.reduction()
        halvings = [round(math.log2(max(reductions) / r)) if halving else 0 for r in reductions]
        self.mixing, self.heads = nn.ModuleDict(), nn.ModuleDict()
        with torch.no_grad():
            maps = self.features(self.features.example)
        for key in domains:
            seen = 2 if key in conditions and _visible(conditions[key]) else 1
            beside = conditions[key].channels if key in conditions and seen == 1 else 0
            self.mixing[key] = made = Mixing([seen * c for c in info.channels()], width, mixing, mixing_scales)
            made.settle([x.repeat(1, seen, 1, 1) for x in maps])
            self.heads[key] = nn.ModuleList(Head(beside, width, n, init, init_gain) for n in halvings)

    def forward(self, image: Tensor, domain: str, condition: Tensor | None = None) -> Verdict:
        """Judge image (B, C, H, W). For each level: feature maps (B, width, h, w), then the logits (B, 1, h', w')."""
        if self.training and self.augment:
            image, condition = varied(image, condition, self.augment, colors=self.kinds[domain] == "image")
        maps, beside = self._look(image, f"image_{domain}"), None
        if condition is not None and _visible(self.conditions[domain]):
            seen = self._look(condition, f"condition_{domain}")
            maps = [torch.cat(pair, 1) for pair in zip(seen, maps, strict=True)]
        elif condition is not None:
            beside = condition
        mixed = self.mixing.get_submodule(domain)(maps)
        heads = self.heads.get_submodule(domain).children()
        return [head(x, beside) for head, x in zip(heads, mixed, strict=True)]

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
