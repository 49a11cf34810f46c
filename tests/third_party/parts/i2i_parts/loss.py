"""L1 to the paired image, of a translation without a style and, optionally, of one in the style of that image."""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import nn

from i2i.objectives import Weight, two_domains
from i2i.protocols import Batch, Discriminator, Domain, Generator, Images, Needs, Terms


class Paired(nn.Module):
    """a → b, without a discriminator. ``styles`` weights the second term; codes are kept near 0, to limit what they hold."""

    order, fresh_fakes, networks = "generator_first", False, ()

    def __init__(self, *, domains: Mapping[str, Domain], styles: Weight = 0.0) -> None:
        super().__init__()
        self.a, self.b = two_domains(domains)
        self.styles = styles
        styled = frozenset({"style"} if styles else ())
        extras = frozenset({"style_code"} if styles else ())
        self.needs = Needs(((self.a, self.b),), paired=True, adversarial=False, keywords=styled, extras=extras)

    def translate(self, G: Generator, batch: Batch) -> Images:
        images = {"plain": G(batch[self.a], self.a, self.b).image}
        if self.needs.keywords:
            made = G(batch[self.a], self.a, self.b, style=batch[self.b])
            images |= {"styled": made.image, "code": made.extras["style_code"]}
        return images

    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        terms = {"l1": F.l1_loss(images["plain"], batch[self.b])}
        if self.needs.keywords:
            terms["style"] = self.styles * F.l1_loss(images["styled"], batch[self.b])
            terms["code"] = 0.01 * self.styles * images["code"].square().mean()
        return terms
