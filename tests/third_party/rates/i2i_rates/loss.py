"""Translations should look real, lie near the paired image, and differ from each other."""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import nn

from i2i.objectives import Weight, fake_loss, generator_loss, over_scales, real_loss, two_domains
from i2i.protocols import Batch, Discriminator, Domain, Generator, Images, Needs, Terms


class Diverse(nn.Module):
    """a → b. The discriminator learns only in every other step, so that it does not win."""

    order, fresh_fakes, networks = "discriminator_first", False, ()

    def __init__(self, *, domains: Mapping[str, Domain], l1: Weight = 10.0, diversity: Weight = 1.0) -> None:
        super().__init__()
        self.a, self.b = two_domains(domains)
        self.l1, self.diversity = l1, diversity
        self.needs = Needs(((self.a, self.b),), paired=True)

    def resting(self, step: int) -> tuple[str, ...]:
        return ("discriminator",) if step % 2 else ()

    def translate(self, G: Generator, batch: Batch) -> Images:
        return {name: G(batch[self.a], self.a, self.b).image for name in ("fake", "other")}

    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        fake, other = images["fake"], images["other"]
        return {
            "gan": over_scales(generator_loss, "lsgan", D(fake, self.b), "mean"),
            "l1": self.l1 * F.l1_loss(fake, batch[self.b]),
            "diversity": -self.diversity * F.l1_loss(fake, other),
        }

    def discriminator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        real, fake = D(batch[self.b], self.b), D(images["fake"], self.b)
        return {"real": over_scales(real_loss, "lsgan", real, "mean"), "fake": over_scales(fake_loss, "lsgan", fake, "mean")}
