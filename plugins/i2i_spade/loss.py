"""SPADE's loss: adversarial, feature matching, and with a VAE the divergence of the styles (Park et al. 2019, section 3)."""

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from i2i.errors import UserError
from i2i.objectives import Adversarial, Objective, Weight, over_judges, parted, two_domains
from i2i.protocols import Batch, Discriminator, Domain, Generator, Images, Needs, Terms, Verdict


class SpadeLoss(nn.Module):
    """The loss of the direction from the first domain to the second; a term whose weight is 0 is not computed.

    *features* weighs the mean absolute differences between the discriminator's features of the generated and of the real
    image: summed over the layers, a mean over the scales (Wang et al. 2018, eq. 4, without its weights by layer).
    With *vae* the generator gets the real image as the style, and *kl* weighs the styles' divergence from N(0, 1).

    The discriminator sees generated and real images in one call, also for the generator's step.
    ``images`` holds, for the target key k: ``fake_k``, and with *vae* ``style_mean_k`` and ``style_logvar_k``.
    """

    order: Literal["generator_first", "discriminator_first"] = "generator_first"
    networks: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        domains: Mapping[str, Domain],
        gan: Annotated[Weight, Field(description="The weight of the adversarial term.")] = 1.0,
        features: Annotated[Weight, Field(description="The weight of the distance between D's features.")] = 10.0,
        kl: Annotated[Weight, Field(description="The weight of the styles' divergence from N(0, 1), with vae.")] = 0.05,
        objective: Objective = "hinge",
        vae: Annotated[bool, Field(description="Give the generator the real image as the style.")] = False,
        conditional: Annotated[bool, Field(description="Show the discriminator the source too.")] = True,
        fresh_fakes: Annotated[bool, Field(description="Judge new translations, by the updated generator.")] = True,
    ) -> None:
        super().__init__()
        if features and not gan:
            raise UserError("with 'gan: 0' nothing trains the discriminator that 'features' needs; set it to 0 too.")
        self.source, self.target = two_domains(domains)
        self.gan, self.features, self.kl = gan, features, kl
        self.adversarial = Adversarial(objective, "mean")
        self.vae, self.conditional, self.fresh_fakes = vae, conditional, fresh_fakes
        self.needs = Needs(
            directions=((self.source, self.target),),
            paired=conditional or features > 0 or (gan > 0 and self.adversarial.paired),
            conditional=conditional,
            adversarial=gan > 0,
            extras=frozenset({"style_mean", "style_logvar"} if vae and kl else ()),
            verdict=frozenset({"features"} if features else ()),
            keywords=frozenset({"style"} if vae else ()),
        )

    def translate(self, G: Generator, batch: Batch) -> Images:
        """One call of G."""
        style = {"style": batch[self.target]} if self.vae else {}
        made, extras = G(batch[self.source], self.source, self.target, **style)
        images = {f"fake_{self.target}": made[self.target]}
        if self.vae and self.kl:
            images |= {f"{name}_{self.target}": extras[name] for name in ("style_mean", "style_logvar")}
        return images

    def fakes(self, G: Generator, batch: Batch, images: Images) -> Images:
        """The translation again, by the generator as it is now and with a new style."""
        return self.translate(G, batch)

    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        """The weighted terms. The divergence is a sum over batch and dimensions, as published."""
        key = self.target
        terms: Terms = {}
        if self.gan:
            fake, real = self._judge(D, batch, images[f"fake_{key}"])
            terms[f"gan_{key}"] = self.gan * self.adversarial.generator(fake, lambda: real)
            if self.features:
                terms[f"features_{key}"] = self.features * over_judges(feature_distance, fake, real)
        if self.vae and self.kl:
            terms[f"kl_{key}"] = self.kl * divergence(images[f"style_mean_{key}"], images[f"style_logvar_{key}"])
        return terms

    def discriminator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        """Real and fake terms, a mean over the scales and not halved, as published."""
        key = self.target
        fake, real = self._judge(D, batch, images[f"fake_{key}"])
        return {f"{name}_{key}": self.gan * term for name, term in self.adversarial.discriminator(real, fake).items()}

    def _judge(self, D: Discriminator, batch: Batch, fake: Tensor) -> tuple[Verdict, Verdict]:
        """One call of D on (2B, C, H, W), generated images first; its verdicts on both halves."""
        both = torch.cat((fake, batch[self.target]))
        condition = batch[self.source].repeat(2, 1, 1, 1) if self.conditional else None
        return parted(D(both, self.target, condition), len(fake))


def feature_distance(fake: Verdict, real: Verdict) -> Tensor:
    """The mean absolute difference of every feature map, summed over the layers and averaged over the scales."""
    pairs = [zip(f[:-1], r[:-1], strict=True) for f, r in zip(fake, real, strict=True)]
    return torch.stack([F.l1_loss(f, r.detach()) for scale in pairs for f, r in scale]).sum() / len(fake)


def divergence(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mean, exp(logvar)) || N(0, 1)), summed over batch and dimensions; mean, logvar: (B, style_size)."""
    mean, logvar = mean.float(), logvar.float()
    return -0.5 * (1 + logvar - mean.square() - logvar.exp()).sum()
