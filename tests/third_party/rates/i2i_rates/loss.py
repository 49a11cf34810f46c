"""Translations should look real, lie near the paired image, and differ from each other."""

from collections.abc import Mapping
from functools import partial

import torch.nn.functional as F
from torch import nn

from i2i.objectives import Adversarial, Objective, Weight, two_domains
from i2i.protocols import Batch, Discriminator, Domain, Generator, Images, Needs, Terms


class Diverse(nn.Module):
    """a → b. The discriminator learns only in every other step, so that it does not win."""

    order, fresh_fakes, networks = "discriminator_first", False, ()

    def __init__(
        self, *, domains: Mapping[str, Domain], l1: Weight = 10.0, diversity: Weight = 1.0, objective: Objective = "lsgan"
    ) -> None:
        super().__init__()
        self.a, self.b = two_domains(domains)
        self.l1, self.diversity, self.adversarial = l1, diversity, Adversarial(objective)
        self.needs = Needs(((self.a, self.b),), paired=True)

    def resting(self, step: int) -> tuple[str, ...]:
        return ("discriminator",) if step % 2 else ()

    def translate(self, G: Generator, batch: Batch) -> Images:
        return {name: G(batch[self.a], self.a, self.b).image for name in ("fake", "other")}

    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        fake, other = images["fake"], images["other"]
        return {
            "gan": self.adversarial.generator(D(fake, self.b), partial(D, batch[self.b], self.b)),
            "l1": self.l1 * F.l1_loss(fake, batch[self.b]),
            "diversity": -self.diversity * F.l1_loss(fake, other),
        }

    def discriminator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        return self.adversarial.discriminator(D(batch[self.b], self.b), D(images["fake"], self.b))
