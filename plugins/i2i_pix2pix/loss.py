"""pix2pix's loss: a conditional adversarial term and the distance to the paired image (Isola et al. 2017, section 3.1)."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from i2i.errors import UserError
from i2i.objectives import Adversarial, Objective, Weight, reconstruction, two_domains
from i2i.protocols import Batch, Discriminator, Domain, Generator, Images, Needs, Terms


class Pix2PixLoss(nn.Module):
    """Translates a into b, the first two domains' keys; the discriminator sees a with the real or the translated b.

    A term whose weight is 0 is not computed; with ``gan`` 0 there is no discriminator. One step calls G once and D three
    times. A discriminator with several scales counts by the mean over them.
    """

    order: Literal["generator_first", "discriminator_first"] = "discriminator_first"
    fresh_fakes = False
    networks: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        domains: Mapping[str, Domain],
        gan: Annotated[Weight, Field(description="The weight of the adversarial term; 0 leaves the discriminator out.")] = 1.0,
        l1: Annotated[Weight, Field(description="The weight of the distance to the truth; for labels, cross-entropy.")] = 100.0,
        objective: Objective = "bce",
    ) -> None:
        super().__init__()
        if not gan and not l1:
            raise UserError("'gan' and 'l1' are both 0, so nothing would be trained")
        self.source, self.target = two_domains(domains)
        self.domain = domains[self.target]
        self.gan, self.l1 = gan, l1
        self.adversarial = Adversarial(objective, "mean")
        self.needs = Needs(directions=((self.source, self.target),), paired=True, conditional=True, adversarial=gan > 0)

    def translate(self, G: Generator, batch: Batch) -> Images:
        """One call of G: ``fake_b``."""
        return {f"fake_{self.target}": G(batch[self.source], self.source, self.target).image}

    def fakes(self, G: Generator, batch: Batch, images: Images) -> Images:
        """The translation again; not called, as ``fresh_fakes`` is false."""
        return self.translate(G, batch)

    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        """The weighted terms. For labels, ``l1`` weighs the cross-entropy."""
        key, terms = self.target, Terms()
        fake: Tensor = images[f"fake_{key}"]
        if self.gan:
            source = batch[self.source]
            term = self.adversarial.generator(D(fake, key, source), partial(D, batch[key], key, source))
            terms[f"gan_{key}"] = self.gan * term
        if self.l1:
            terms[f"l1_{key}"] = self.l1 * reconstruction(fake, batch[key], self.domain)
        return terms

    def discriminator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        """The terms halved, so that D learns more slowly than G (section 3.3); ``gan`` weighs G's term only.

        Two calls, the fake first: in one batch, or in the other order, batch norm's statistics would differ.
        """
        key, source = self.target, batch[self.source]
        fake = D(images[f"fake_{key}"], key, source)
        real = D(batch[key], key, source)
        return {f"{name}_{key}": 0.5 * term for name, term in self.adversarial.discriminator(real, fake).items()}
