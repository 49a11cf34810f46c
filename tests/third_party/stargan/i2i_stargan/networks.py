"""StarGAN's networks: both know all domains. B batch, C channels, H height, W width, K domains."""

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

from i2i.errors import UserError
from i2i.layers import Count, InstanceNorm
from i2i.protocols import Direction, Domain, Judged, Translation


def channels_of(domains: Mapping[str, Domain]) -> int:
    """The channels that all domains have."""
    found = {(domain.kind, domain.channels) for domain in domains.values()}
    if len(found) > 1 or "labels" in dict(found):
        raise UserError("one network serves all domains: they must be images with as many channels.")
    return found.pop()[1]


class StarGenerator(nn.Module):
    """(B, C, H, W) and the target's number, as K constant maps beside the image, to (B, C, H, W)."""

    exposes: frozenset[str] = frozenset()
    divisor = 4

    def __init__(
        self, *, domains: Mapping[str, Domain], directions: tuple[Direction, ...], width: Count = 64, blocks: Count = 6
    ) -> None:
        super().__init__()
        self.keys, channels = list(domains), channels_of(domains)
        layers = [
            *_conv(channels + len(domains), width, 7, 1),
            *_conv(width, 2 * width, 4, 2),
            *_conv(2 * width, 4 * width, 4, 2),
        ]
        layers += [layer for _ in range(blocks) for layer in _conv(4 * width, 4 * width, 3, 1)]
        layers += [layer for c in (4, 2) for layer in (nn.Upsample(scale_factor=2), *_conv(c * width, c * width // 2, 3, 1))]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, channels, 7, padding=3), nn.Tanh())

    def forward(self, x: Tensor, source: str, *targets: str) -> Translation:
        return Translation({target: self._to(x, target) for target in targets})

    def _to(self, x: Tensor, target: str) -> Tensor:
        told = x.new_zeros(x.shape[0], len(self.keys), *x.shape[-2:])
        told[:, self.keys.index(target)] = 1
        made: Tensor = self.layers(torch.cat((x, told), 1))
        return made


class StarDiscriminator(nn.Module):
    """One trunk for all domains. Its verdict has one scale, logits (B, 1, h, w), and the extra ``classes``, (B, K).

    K counts the judged domains, in their order.
    """

    exposes = frozenset({"classes"})

    def __init__(
        self, *, domains: Mapping[str, Domain], conditions: Mapping[str, Domain], width: Count = 64, layers: Count = 4
    ) -> None:
        super().__init__()
        if conditions:
            raise UserError("it judges images alone: take a loss that is not conditional.")
        widths = [channels_of(domains), *(width * 2**i for i in range(layers))]
        pairs = pairwise(widths)
        self.trunk = nn.Sequential(*(layer for a, b in pairs for layer in (nn.Conv2d(a, b, 4, 2, 1), nn.LeakyReLU(0.01))))
        self.classes = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(widths[-1], len(domains), 1))
        self.logits = nn.Conv2d(widths[-1], 1, 3, padding=1)

    def forward(self, image: Tensor, domain: str, condition: Tensor | None = None) -> Judged:
        h = self.trunk(image)
        return Judged([[self.logits(h)]], {"classes": self.classes(h).flatten(1)})


def _conv(in_channels: int, out_channels: int, kernel: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(in_channels, out_channels, kernel, stride, (kernel - 1) // 2), InstanceNorm(), nn.ReLU()]
