"""UNIT's loss: adversarial, reconstruction, cycle and latent terms (Liu et al. 2017, section 3)."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from i2i.objectives import Adversarial, Objective, Weight, both_judged, reconstruction, two_domains
from i2i.protocols import Batch, Direction, Discriminator, Domain, Generator, Images, Needs, Terms


class UnitLoss(nn.Module):
    """The loss of two domains a and b; a term whose weight is 0 is not computed, nor are the images that only it needs.

    ``images`` holds, for each domain key k: ``reconstruction_k``, ``fake_k`` (translated into k), ``cycle_k``
    (there and back), ``mean_k`` (latent of the real image), ``cycle_mean_k`` (latent of its translation), ``latent_k``.

    Where it may (``together``) it shows the discriminator fake and real images in one call.
    """

    fast = True
    together = False
    order: Literal["generator_first", "discriminator_first"] = "discriminator_first"
    networks: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        domains: Mapping[str, Domain],
        gan: Annotated[Weight, Field(description="The weight of the adversarial terms.")] = 1.0,
        reconstruction: Annotated[Weight, Field(description="The weight of an image's reconstruction.")] = 10.0,
        kl: Annotated[Weight, Field(description="The weight of the latent's divergence from N(0, 1).")] = 0.01,
        cycle: Annotated[Weight, Field(description="The weight of the cycle's reconstruction.")] = 10.0,
        cycle_kl: Annotated[Weight, Field(description="The weight of that divergence for the latents of translations.")] = 0.01,
        objective: Objective = "lsgan",
        fresh_fakes: Annotated[bool, Field(description="Translate again for the discriminator, with new noise.")] = True,
    ) -> None:
        super().__init__()
        self.domains = dict(domains)
        self.gan, self.reconstruction, self.kl, self.cycle, self.cycle_kl = gan, reconstruction, kl, cycle, cycle_kl
        self.adversarial = Adversarial(objective, "sum")
        self.fresh_fakes = fresh_fakes
        a, b = two_domains(domains)
        self.pairs: tuple[Direction, Direction] = ((a, b), (b, a))
        every: tuple[Direction, ...] = ((a, a), (a, b), (b, a), (b, b))
        self.needs = Needs(
            directions=every if reconstruction else self.pairs,
            paired=gan > 0 and self.adversarial.paired,
            adversarial=gan > 0,
            extras=frozenset({"mean"} if kl or cycle_kl else ()),
        )

    def translate(self, G: Generator, batch: Batch) -> Images:
        """Four calls of G: each side to itself and to the other, then each translation back."""
        images: dict[str, Tensor] = {}
        for key, other in self.pairs:
            targets = (key, other) if self.reconstruction else (other,)
            made, extras = G(batch[key], key, *targets)
            images[f"fake_{other}"] = made[other]
            if self.reconstruction:
                images[f"reconstruction_{key}"] = made[key]
            images |= {f"{name}_{key}": extras[name] for name in ("mean", "latent") if name in extras}
        if self.cycle or self.cycle_kl:
            for key, other in reversed(self.pairs):
                made, extras = G(images[f"fake_{other}"], other, *((key,) if self.cycle else ()))
                images |= {f"cycle_{target}": image for target, image in made.items()}
                if "mean" in extras:
                    images[f"cycle_mean_{key}"] = extras["mean"]
        return images

    def fakes(self, G: Generator, batch: Batch, images: Images) -> Images:
        """Both translations again with new noise; where G gave a latent and ``fast`` is on, nothing is encoded again."""
        fresh: dict[str, Tensor] = {}
        for key, other in self.pairs:
            latent = images.get(f"latent_{key}") if self.fast else None
            given = {} if latent is None else {"latent": latent.detach()}
            fresh[f"fake_{other}"] = G(batch[key], key, other, **given).images[other]
        return fresh

    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        """The weighted terms of both domains. "KL" is mean(h^2), twice the KL divergence of N(h, 1) from N(0, 1)."""
        terms: Terms = {}
        for key, domain in self.domains.items():
            if self.gan:
                term = self.adversarial.generator(D(images[f"fake_{key}"], key), partial(D, batch[key], key))
                terms[f"gan_{key}"] = self.gan * term
            if self.reconstruction:
                distance = reconstruction(images[f"reconstruction_{key}"], batch[key], domain)
                terms[f"reconstruction_{key}"] = self.reconstruction * distance
            if self.kl:
                terms[f"kl_{key}"] = self.kl * images[f"mean_{key}"].square().mean()
            if self.cycle:
                terms[f"cycle_{key}"] = self.cycle * reconstruction(images[f"cycle_{key}"], batch[key], domain)
            if self.cycle_kl:
                terms[f"cycle_kl_{key}"] = self.cycle_kl * images[f"cycle_mean_{key}"].square().mean()
        return terms

    def discriminator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        """Real and fake terms of both domains, summed over the scales and not halved, as published."""
        terms: Terms = {}
        for key in self.domains:
            fake, real = both_judged(D, key, images[f"fake_{key}"], batch[key], together=self.together)
            for name, term in self.adversarial.discriminator(real, fake).items():
                terms[f"{name}_{key}"] = self.gan * term
        return terms
