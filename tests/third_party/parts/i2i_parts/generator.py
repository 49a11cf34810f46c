"""An encoder, a decoder, and an optional style between them. B batch, C channels, H height, W width."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from i2i.errors import UserError
from i2i.layers import Count, InstanceNorm, output_activation
from i2i.protocols import Direction, Domain, Translation

STYLE = 8


class Network(nn.Module):
    """One direction. Only calls with a style need the style encoder and the mapping from its code to scales and shifts.

    If no loss gives a style, i2i leaves both out: they are None, and the generator no longer accepts "style".
    """

    parts = {"style": ("style_encoder", "mapping")}  # noqa: RUF012 - never changed

    def __init__(self, source: Domain, target: Domain, width: int) -> None:
        super().__init__()
        self.down, self.norm = nn.Conv2d(source.channels, width, 4, 2, 1), InstanceNorm()
        self.style_encoder = nn.Sequential(
            nn.Conv2d(target.channels, width, 4, 2, 1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(width, STYLE),
        )
        self.mapping = nn.Sequential(nn.Linear(STYLE, width), nn.ReLU(), nn.Linear(width, 2 * width))
        self.up = nn.Sequential(nn.ReLU(), nn.Upsample(scale_factor=2), nn.Conv2d(width, target.channels, 5, 1, 2))
        self.last = output_activation(target)

    def forward(self, x: Tensor, style: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """Translates x (B, C, H, W); *style* is an image of the target, whose code (B, STYLE) is then among the extras."""
        features, extras = self.norm(self.down(x)), {}
        if style is not None:
            extras = {"style_code": self.style_encoder(style)}
            scale, shift = self.mapping(extras["style_code"])[:, :, None, None].chunk(2, 1)
            features = features * (1 + scale) + shift
        return self.last(self.up(features)), extras


class Styled(nn.Module):
    """A network for each direction."""

    accepts, exposes, divisor = frozenset({"style"}), frozenset({"style_code"}), 2
    small = {"width": 4}  # noqa: RUF012

    def __init__(self, *, domains: Mapping[str, Domain], directions: tuple[Direction, ...], width: Count = 32) -> None:
        super().__init__()
        self.networks = nn.ModuleDict({f"{s}_{t}": Network(domains[s], domains[t], width) for s, t in directions})

    def forward(self, x: Tensor, source: str, *targets: str, style: Tensor | None = None) -> Translation:
        if style is not None and "style" not in self.accepts:
            raise UserError("the generator has not learnt styles: train it with 'loss.styles' above 0.")
        images: dict[str, Tensor] = {}
        extras: dict[str, Any] = {}
        for target in targets:
            images[target], extras = self.networks[f"{source}_{target}"](x, style)
        return Translation(images, extras)
