"""What ``i2i plugins new --kind KIND`` writes beside the network's package: a hook and one small component of that kind."""

DISCRIMINATOR = '''\
"""A discriminator: replace its layers by yours. The options of a recipe are its keyword-only parameters."""

from i2i.adapters import per_domain
from i2i.layers import Count
from torch import Tensor, nn


class Judge(nn.Module):
    """(B, C, H, W) to logits (B, 1, H / 4, W / 4)."""

    small = {{"width": 4}}  # noqa: RUF012

    def __init__(self, in_channels: int, *, width: Count = 64) -> None:
        super().__init__()
        first, last = nn.Conv2d(in_channels, width, 4, 2, 1), nn.Conv2d(width, 1, 4, 2, 1)
        self.layers = nn.Sequential(first, nn.LeakyReLU(0.2), last)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y


{name} = per_domain(Judge)
'''

LOSS = '''\
"""A loss: what it needs, what it translates, and what each player minimises."""

from collections.abc import Mapping

from i2i.objectives import Weight, fake_loss, generator_loss, over_scales, real_loss
from i2i.protocols import Batch, Discriminator, Domain, Generator, Images, Needs, Terms
from torch import nn
from torch.nn.functional import l1_loss


class Loss(nn.Module):
    """From a to b, as real as b's images and near the one that belongs to the input."""

    order = "generator_first"
    fresh_fakes = False
    networks: tuple[str, ...] = ()

    def __init__(self, *, domains: Mapping[str, Domain], l1: Weight = 10.0) -> None:
        super().__init__()
        self.l1 = l1
        self.needs = Needs(directions=(("a", "b"),), paired=True)

    def translate(self, G: Generator, batch: Batch) -> Images:
        return {{"fake": G(batch["a"], "a", "b").image}}

    def fakes(self, G: Generator, batch: Batch, images: Images) -> Images:
        return self.translate(G, batch)

    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        fake = images["fake"]
        return {{
            "gan": over_scales(generator_loss, "lsgan", D(fake, "b"), "mean"),
            "l1": self.l1 * l1_loss(fake, batch["b"]),
        }}

    def discriminator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        return {{
            "real": over_scales(real_loss, "lsgan", D(batch["b"], "b"), "mean"),
            "fake": over_scales(fake_loss, "lsgan", D(images["fake"], "b"), "mean"),
        }}


{name} = Loss
'''

DATASET = '''\
"""A data set: one sample has a picture of each domain."""

import torch
from i2i.layers import Count
from i2i.protocols import Domain
from torch import Tensor


class Data:
    """Noise, and its negative: float32 (3, size, size) in [-1, 1]. Draw from torch's default generator only."""

    paired = True

    def __init__(self, *, size: Count = 16, length: Count = 10, split: str = "train") -> None:
        self.size, self.length, self.split = size, length, split
        self.domains = {{"a": Domain("plain", "image", 3), "b": Domain("negative", "image", 3)}}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        a = torch.rand(3, self.size, self.size) * 2 - 1
        return {{"a": a, "b": -a}}


{name} = Data
'''

KINDS = {"discriminator": DISCRIMINATOR, "loss": LOSS, "dataset": DATASET}
"""The module of each kind beside the generator's."""

TEST = '''\
"""The conformance kit of i2i, on everything that this plugin registers."""

from i2i.testing import check_plugin


def test_conformance() -> None:
    check_plugin("{name}")
'''
