"""CUT's generator: a residual network that also returns its encoder's maps. B batch, C channels, H height, W width."""

from collections.abc import Mapping

from torch import Tensor, nn

from i2i.init import initialise
from i2i.layers import Count, InstanceNorm, output_activation
from i2i.protocols import Direction, Domain, Translation

LEVELS = ("encoded_0", "encoded_1", "encoded_2")


class Block(nn.Sequential):
    """x + layers(x), (B, C, H, W) to the same shape."""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


class Network(nn.Module):
    """Encodes (B, C, H, W) to maps at 1, 1/2 and 1/4 of the size, and decodes the last one to (B, C', H, W)."""

    def __init__(self, source: Domain, target: Domain, width: int, blocks: int) -> None:
        super().__init__()
        wide = 4 * width
        first, half, quarter = _conv(source.channels, width, 7, 1), _conv(width, 2 * width, 3, 2), _conv(2 * width, wide, 3, 2)
        quarter += [Block(*_conv(wide, wide, 3, 1), *_conv(wide, wide, 3, 1)[:-1]) for _ in range(blocks)]
        self.levels = nn.ModuleList(nn.Sequential(*layers) for layers in (first, half, quarter))
        up = [layer for c in (wide, 2 * width) for layer in (nn.Upsample(scale_factor=2), *_conv(c, c // 2, 3, 1))]
        self.decoder = nn.Sequential(*up, nn.Conv2d(width, target.channels, 7, padding=3), output_activation(target))

    def encode(self, x: Tensor) -> list[Tensor]:
        maps = [x]
        for level in self.levels:
            maps.append(level(maps[-1]))
        return maps[1:]


class CutGenerator(nn.Module):
    """One network for each direction; its encoder's maps are the extras ``encoded_0`` … ``encoded_2``."""

    exposes = frozenset(LEVELS)
    small = {"width": 4, "blocks": 1}  # noqa: RUF012
    divisor = 4

    def __init__(
        self, *, domains: Mapping[str, Domain], directions: tuple[Direction, ...], width: Count = 64, blocks: Count = 9
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleDict({f"{s}_{t}": Network(domains[s], domains[t], width, blocks) for s, t in directions})
        initialise(self, "xavier")

    def forward(self, x: Tensor, source: str, *targets: str) -> Translation:
        """The extras come from the first target's network; without targets, from the source's first network."""
        names = [f"{source}_{target}" for target in targets]
        first = names[0] if names else next(name for name in self.networks if name.startswith(f"{source}_"))
        encoded = {name: self.networks[name].encode(x) for name in dict.fromkeys((first, *names))}
        images = {t: self.networks[f"{source}_{t}"].decoder(encoded[f"{source}_{t}"][-1]) for t in targets}
        return Translation(images, dict(zip(LEVELS, encoded[first], strict=True)))


def _conv(in_channels: int, out_channels: int, kernel: int, stride: int) -> list[nn.Module]:
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, padding_mode="reflect")
    return [conv, InstanceNorm(), nn.ReLU()]
