"""The networks that ``i2i plugins new`` writes: a plain one and one with a style, each with an auxiliary output or without."""

_PLAIN = '''\
"""The network: replace its layers with yours. The options of a recipe are its keyword-only parameters."""

from typing import Annotated

from i2i.adapters import per_direction
from pydantic import Field
from torch import Tensor, nn


class Network(nn.Module):
    """(B, C_in, H, W) to (B, C_out, H, W); H and W are multiples of ``divisor``. *activation* is the last layer."""

    divisor = 2
    small = {{"width": 4}}  # noqa: RUF012 - what the kit builds

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        activation: nn.Module,
        *,
        width: Annotated[int, Field(ge=1, description="Channels between the two layers.")] = 32,
    ) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(in_channels, width, 4, 2, 1), nn.ReLU())
        self.up = nn.Sequential(nn.ConvTranspose2d(width, out_channels, 4, 2, 1), activation)

    def forward(self, x: Tensor) -> Tensor:
        h = self.down(x)
        y: Tensor = self.up(h)
        return y


{name} = per_direction(Network)
'''

_PLAIN_EXTRAS = {
    "-> Tensor:": "-> tuple[Tensor, dict[str, Tensor]]:",
    "        return y\n": '        return y, {{"map": h.mean(1, keepdim=True)}}\n',
    "per_direction(Network)": 'per_direction(Network, exposes=("map",))',
    'last layer."': 'last layer.\n\n    The extra ``map`` is (B, 1, H / 2, W / 2).\n    "',
}

_STYLED = '''\
"""The generator: replace its layers with yours. The options of a recipe are its other keyword-only parameters."""

from collections.abc import Mapping
from typing import Annotated

import torch
from i2i.layers import output_activation
from i2i.protocols import Direction, Domain, Translation
from pydantic import Field
from torch import Tensor, nn


class Generator(nn.Module):
    """(B, C_source, H, W) to (B, C_target, H, W), in the style of an image of the target domain or in a random style."""

    exposes = frozenset[str]()
    accepts = frozenset({{"style"}})
    parts = {{"style": ("styles",)}}  # noqa: RUF012 - left out if no loss gives a style
    divisor = 2  # H and W must be multiples of it
    small = {{"width": 4}}  # noqa: RUF012 - what the kit builds

    def __init__(
        self,
        *,
        domains: Mapping[str, Domain],
        directions: tuple[Direction, ...],
        width: Annotated[int, Field(ge=1, description="Channels between the two layers, and numbers of a style.")] = 32,
    ) -> None:
        super().__init__()
        self.encoders, self.styles, self.decoders = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        for source in sorted({{source for source, _ in directions}}):
            self.encoders[source] = nn.Sequential(nn.Conv2d(domains[source].channels, width, 4, 2, 1), nn.ReLU())
        for target in sorted({{target for _, target in directions}}):
            domain = domains[target]
            self.styles[target] = nn.Sequential(nn.Conv2d(domain.channels, width, 4, 2, 1), nn.AdaptiveAvgPool2d(1))
            last = nn.ConvTranspose2d(width, domain.channels, 4, 2, 1)
            self.decoders[target] = nn.Sequential(nn.ReLU(), last, output_activation(domain))

    def forward(self, x: Tensor, source: str, *targets: str, style: Tensor | None = None) -> Translation:
        h = self.encoders[source](x)
        images = {{}}
        for target in targets:
            drawn = torch.randn(x.shape[0], h.shape[1], 1, 1, device=x.device) if style is None else None
            code = drawn if style is None else self.styles[target](style)
            images[target] = self.decoders[target](h + code)
        return Translation(images)


{name} = Generator
'''

_STYLED_EXTRAS = {
    "frozenset[str]()": 'frozenset({{"map"}})',
    "Translation(images)": 'Translation(images, {{"map": h.mean(1, keepdim=True)}})',
    'a random style."': 'a random style.\n\n    The extra ``map`` is (B, 1, H / 2, W / 2).\n    "',
}


def network(style: bool, extras: bool) -> str:
    """The module of a generator that takes a *style*, or has an auxiliary output."""
    text = _STYLED if style else _PLAIN
    for before, after in (_STYLED_EXTRAS if style else _PLAIN_EXTRAS).items() if extras else ():
        text = text.replace(before, after)
    return text
