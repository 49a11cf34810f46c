"""One generator and one discriminator for all domains. B batch, C channels, H height, W width, S the length of a style code."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from i2i.errors import UserError
from i2i.layers import Count, InstanceNorm
from i2i.protocols import Direction, Domain, Translation, Verdict

STYLE = 8


class Painter(nn.Module):
    """Its extra ``code`` (B, S) is the style of the translation; without a target, the style of the input image."""

    exposes, accepts, any_source, divisor = frozenset({"code"}), frozenset({"style", "mix"}), True, 2
    rates = {"mapping": 0.01}  # noqa: RUF012 - the paper's, section A.2

    def __init__(self, *, domains: Mapping[str, Domain], directions: tuple[Direction, ...], width: Count = 32) -> None:
        super().__init__()
        channels = _channels(domains)
        self.down = nn.Sequential(nn.Conv2d(channels, width, 4, 2, 1), nn.ReLU(), nn.Conv2d(width, width, 3, 1, 1))
        self.norm, self.modulation = InstanceNorm(), nn.Linear(STYLE, 2 * width)
        self.up = nn.Sequential(nn.ReLU(), nn.Upsample(scale_factor=2), nn.Conv2d(width, channels, 5, 1, 2))
        self.mapping = nn.ModuleDict({key: nn.Linear(STYLE, STYLE) for key in domains})
        self.encoders = nn.ModuleDict({key: _encoder(channels, width) for key in domains})

    def forward(self, x: Tensor, source: str, *targets: str, style: Any = None, mix: Any = None) -> Translation:
        if not targets:
            return Translation({}, {"code": self.encoders[source](x)})
        images, features = dict[str, Tensor](), self.norm(self.down(x))
        for target in targets:
            code = self.mapping[target](torch.randn(x.shape[0], STYLE).to(x)) if style is None else self.encoders[target](style)
            code = code if mix is None else (mix[:, None] * code).sum(0, keepdim=True)
            scale, shift = self.modulation(code)[:, :, None, None].chunk(2, 1)
            images[target] = self.up(features * (1 + scale) + shift)
        return Translation(images, {"code": code})


class Judge(nn.Module):
    """One shared trunk, and one head for each domain, which returns logits (B, 1, h, w)."""

    exposes = frozenset[str]()

    def __init__(self, *, domains: Mapping[str, Domain], conditions: Mapping[str, Domain], width: Count = 32) -> None:
        super().__init__()
        channels = _channels(domains)
        if conditions:
            raise UserError("it judges images without their source: choose a loss that is not conditional.")
        self.trunk = nn.Sequential(nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(width, width, 4, 2, 1))
        self.heads = nn.ModuleDict({key: nn.Sequential(nn.LeakyReLU(0.2), nn.Conv2d(width, 1, 1)) for key in domains})

    def forward(self, image: Tensor, domain: str, condition: Tensor | None = None) -> Verdict:
        return [[self.heads[domain](self.trunk(image))]]


def _encoder(c: int, w: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(c, w, 4, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(w, STYLE))


def _channels(domains: Mapping[str, Domain]) -> int:
    if len({(domain.kind, domain.channels) for domain in domains.values()} | {("image", 3)}) > 1:
        raise UserError("one network serves all domains, so all must be images with three channels.")
    return 3
