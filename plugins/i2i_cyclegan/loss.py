"""CycleGAN's loss: adversarial, cycle and identity terms of two domains (Zhu et al. 2017, sections 3 and 5.2)."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from i2i.errors import UserError
from i2i.objectives import Adversarial, Objective, Weight, both_judged, reconstruction, two_domains
from i2i.protocols import Batch, Direction, Discriminator, Domain, Generator, Images, Needs, Terms
from i2i_cyclegan.pool import ImagePool


class CycleGANLoss(nn.Module):
    """The loss of two domains a and b; a term whose weight is 0 is not computed, nor are the images that only it needs.

    ``identity`` is a share of the cycle weight of the domain in which images are compared. It needs domains of one kind with as
    many channels; else it is left out, and ``notes`` says so.

    One step makes six translations, for each side there, back, and the identity, and six judgements. Where it may
    (``together``), that is three calls of G, and four of D, which sees real and fake images at once. A discriminator with
    several scales counts by the mean over them.
    """

    together = False

    order: Literal["generator_first", "discriminator_first"] = "generator_first"
    fresh_fakes = False
    networks: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        domains: Mapping[str, Domain],
        gan: Annotated[Weight, Field(description="The weight of the adversarial terms.")] = 1.0,
        cycle: Annotated[Weight, Field(description="The weight of a → b → a.")] = 10.0,
        cycle_b: Annotated[Weight | None, Field(description="The weight of b → a → b. Default: that of cycle.")] = None,
        identity: Annotated[Weight, Field(description="The weight of the identity term: a share of the cycle's.")] = 0.5,
        objective: Objective = "lsgan",
        pool: Annotated[int, Field(ge=0, description="The number of earlier translations in the discriminator's pool.")] = 50,
    ) -> None:
        super().__init__()
        self.domains = dict(domains)
        self.gan, self.cycle, self.cycle_b, self.identity = gan, cycle, cycle_b, identity
        self.adversarial = Adversarial(objective, "mean")
        a, b = two_domains(domains)
        self.pairs: tuple[Direction, Direction] = ((a, b), (b, a))
        if not gan and not any(self.cycles.values()):
            raise UserError("'gan' and 'cycle' are both 0, so nothing would be trained")
        paired = gan > 0 and self.adversarial.paired
        if paired and pool:
            raise UserError(
                "its 'objective' compares a translation with the real picture of the same sample, and the pool gives the "
                "discriminator translations of earlier samples. Set 'pool' to 0, or choose another objective."
            )
        self.notes: tuple[str, ...] = ()
        self.alike = _alike(*self.domains.values())
        if identity and not self.alike:
            self.notes = (f"identity is not computed: {_differ(*self.domains.values())}",)
        self.pools = nn.ModuleDict({key: ImagePool(pool) for key in (b, a)})
        self.needs = Needs(directions=self.pairs, paired=paired, adversarial=gan > 0)

    @property
    def cycles(self) -> dict[str, float]:
        """The weight of the way from each domain and back."""
        a, b = self.domains
        return {a: self.cycle, b: self.cycle if self.cycle_b is None else self.cycle_b}

    @property
    def identities(self) -> dict[str, float]:
        """The weight of each domain's identity term."""
        return {key: self.identity * weight if self.alike else 0.0 for key, weight in self.cycles.items()}

    def translate(self, G: Generator, batch: Batch) -> Images:
        """``fake_k`` (translated into k), ``cycle_k`` (there and back), ``identity_k`` (k, taken for the other domain)."""
        a, b = (batch[key] for key in self.domains)
        together = self.together and a.shape[1:] == b.shape[1:]
        return (self._in_three_calls if together else self._in_six_calls)(G, batch)

    def _in_six_calls(self, G: Generator, batch: Batch) -> Images:
        """In the published order, on which running statistics and random numbers depend."""
        images: dict[str, Tensor] = {}
        for key, other in self.pairs:
            fake = images[f"fake_{other}"] = G(batch[key], key, other).image
            if self.cycles[key]:
                images[f"cycle_{key}"] = G(fake, other, key).image
        for key, other in self.pairs:
            if self.identities[other]:
                images[f"identity_{other}"] = G(batch[other], key, other).image
        return images

    def _in_three_calls(self, G: Generator, batch: Batch) -> Images:
        """Each call translates all images that its direction has by then: the second one also those of the first, back."""
        images: dict[str, Tensor] = {}
        back: dict[str, Tensor] = {}
        for key, other in self.pairs:
            inputs = {f"fake_{other}": batch[key], **back}
            if self.identities[other]:
                inputs[f"identity_{other}"] = batch[other]
            made = G(torch.cat(tuple(inputs.values())), key, other).image
            images |= zip(inputs, torch.split(made, len(batch[key])), strict=True)
            back = {f"cycle_{key}": images[f"fake_{other}"]} if self.cycles[key] else {}
        images |= {name: G(fake, *self.pairs[0]).image for name, fake in back.items()}
        return images

    def fakes(self, G: Generator, batch: Batch, images: Images) -> Images:
        """Both translations again; not called, as ``fresh_fakes`` is false."""
        return {f"fake_{other}": G(batch[key], key, other).image for key, other in self.pairs}

    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        """The weighted terms of both domains; labels are compared by cross-entropy."""
        terms: Terms = {}
        if self.gan:
            for _, key in self.pairs:
                term = self.adversarial.generator(D(images[f"fake_{key}"], key), partial(D, batch[key], key))
                terms[f"gan_{key}"] = self.gan * term
        for name, weights in (("cycle", self.cycles), ("identity", self.identities)):
            for key, weight in weights.items():
                if weight:
                    distance = reconstruction(images[f"{name}_{key}"], batch[key], self.domains[key])
                    terms[f"{name}_{key}"] = weight * distance
        return terms

    def discriminator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        """The terms halved (appendix 7.1), the fakes from the pool of their side; ``gan`` weighs G's terms only.

        The order of the pools decides who draws first, and that of the calls a batch norm's running statistics.
        """
        terms: Terms = {}
        for _, key in self.pairs:
            fakes = self.pools[key](images[f"fake_{key}"])
            real, fake = both_judged(D, key, batch[key], fakes, together=self.together)
            for name, term in self.adversarial.discriminator(real, fake).items():
                terms[f"{name}_{key}"] = 0.5 * term
        return terms


def _alike(a: Domain, b: Domain) -> bool:
    return (a.kind, a.channels, a.label_count) == (b.kind, b.channels, b.label_count)


def _differ(a: Domain, b: Domain) -> str:
    if a.kind == b.kind:
        return f"'{a.name}' and '{b.name}' differ in their channels ({a.channels} and {b.channels})"
    return f"'{a.name}' ({a.kind}, {a.channels} channels) and '{b.name}' ({b.kind}, {b.channels}) differ"
