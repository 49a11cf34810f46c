"""StarGAN v2's loss (Choi et al. 2020, section 3.2): adversarial, style, diversity and cycle terms, and R1."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from i2i.objectives import Adversarial, Weight, input_gradients
from i2i.protocols import Batch, Discriminator, Domain, Generator, Images, Needs, Terms


class Seasons(nn.Module):
    """Each step draws a shift, and translates every domain into the one that many places further in the list."""

    order, fresh_fakes, networks = "discriminator_first", False, ()

    def __init__(self, *, domains: Mapping[str, Domain], diversity: Weight = 1, cycle: Weight = 1, r1: Weight = 1) -> None:
        super().__init__()
        self.keys, self.diversity, self.cycle, self.r1, self.fading = list(domains), diversity, cycle, r1, diversity
        self.adversarial = Adversarial("bce")
        ways = tuple((source, target) for source in domains for target in domains if source != target)
        self.needs = Needs(ways, extras=frozenset({"code"}), keywords=frozenset({"style"}))

    def begin(self, step: int, steps: int) -> None:
        self.fading = self.diversity * (1 - step / steps)

    def translate(self, G: Generator, batch: Batch) -> Images:
        images, shift = {}, int(torch.randint(1, len(self.keys), ()))
        for i, source in enumerate(self.keys):
            target = self.keys[(i + shift) % len(self.keys)]
            made = G(batch[source], source, target)
            images[f"fake_{target}"], images[f"code_{target}"] = made.image, made.extras["code"]
            images[f"found_{target}"] = G(made.image, target).extras["code"]
            images[f"other_{target}"] = G(batch[source], source, target, style=batch[target]).image
            images[f"cycle_{source}"] = G(made.image, target, source, style=batch[source]).image
        return images

    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        terms: Terms = {}
        for key in self.keys:
            terms[f"gan_{key}"] = sum(self.adversarial.generator(D(images[f"{name}_{key}"], key)) for name in ("fake", "other"))
            terms[f"style_{key}"] = F.l1_loss(images[f"found_{key}"], images[f"code_{key}"])
            terms[f"diversity_{key}"] = -self.fading * F.l1_loss(images[f"fake_{key}"], images[f"other_{key}"].detach())
            terms[f"cycle_{key}"] = self.cycle * F.l1_loss(images[f"cycle_{key}"], batch[key])
        return terms

    def discriminator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        terms: Terms = {}
        for key in self.keys:
            made = self.adversarial.discriminator(D(batch[key], key), D(images[f"fake_{key}"], key))
            made["r1"] = 0.5 * self.r1 * input_gradients(lambda x, key=key: D(x, key), batch[key]).square().sum(1).mean()
            terms |= {f"{name}_{key}": term for name, term in made.items()}
        return terms
