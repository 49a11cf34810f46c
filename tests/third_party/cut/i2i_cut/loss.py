"""CUT's loss: a place of the translation must know its own place in the source among others (Park et al. 2020, section 3)."""

from collections.abc import Mapping
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from i2i.errors import UserError
from i2i.objectives import Weight, fake_loss, generator_loss, over_scales, real_loss
from i2i.protocols import Batch, Discriminator, Domain, Generator, Images, Needs, Terms
from i2i_cut.generator import LEVELS


class Head(nn.Module):
    """Features (…, C) to unit vectors (…, size), through a fixed random projection, as any generator may have any C."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.layers = nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, size))

    def forward(self, x: Tensor) -> Tensor:
        drawn = torch.randn(x.shape[-1], self.size, generator=torch.Generator().manual_seed(x.shape[-1]))
        return F.normalize(self.layers(x @ drawn.to(x) / x.shape[-1] ** 0.5), dim=-1)


class CutLoss(nn.Module):
    """a → b: adversarial, and the contrast of *patches* places on three levels of the encoder; *identity* on b as well."""

    order = "discriminator_first"
    fresh_fakes = False
    networks = ("heads",)

    def __init__(
        self,
        *,
        domains: Mapping[str, Domain],
        gan: Weight = 1.0,
        nce: Annotated[float, Field(gt=0)] = 1.0,
        identity: Weight = 1.0,
        patches: Annotated[int, Field(ge=2)] = 256,
        size: Annotated[int, Field(ge=1)] = 256,
        temperature: Annotated[float, Field(gt=0)] = 0.07,
    ) -> None:
        super().__init__()
        self.a, self.b = list(domains)[:2]
        if domains[self.a].channels != domains[self.b].channels:
            raise UserError("its encoder looks at both domains: they must have as many channels.")
        self.gan, self.nce, self.identity, self.patches, self.temperature = gan, nce, identity, patches, temperature
        self.needs = Needs(((self.a, self.b),), adversarial=gan > 0, extras=frozenset(LEVELS))
        self.heads = nn.ModuleList(Head(size) for _ in LEVELS)

    def translate(self, G: Generator, batch: Batch) -> Images:
        """The translation of a, that of b where *identity* is on, and both encoders' maps for each."""
        images, sources = {}, {"nce": batch[self.a], **({"identity": batch[self.b]} if self.identity else {})}
        for name, source in sources.items():
            made = G(source, self.a, self.b)
            again = G(made.image, self.a).extras
            images[name] = {"image": made.image, "keys": made.extras, "queries": again}
        return images

    def fakes(self, G: Generator, batch: Batch, images: Images) -> Images:
        return self.translate(G, batch)

    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        weights = {"nce": self.nce, "identity": self.identity}
        terms = {name: weights[name] * self._contrast(made["queries"], made["keys"]) for name, made in images.items()}
        if self.gan:
            terms["gan"] = self.gan * over_scales(generator_loss, "lsgan", D(images["nce"]["image"], self.b), "mean")
        return terms

    def discriminator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        real, fake = D(batch[self.b], self.b), D(images["nce"]["image"], self.b)
        return {
            "real": 0.5 * over_scales(real_loss, "lsgan", real, "mean"),
            "fake": 0.5 * over_scales(fake_loss, "lsgan", fake, "mean"),
        }

    def _contrast(self, queries: Mapping[str, Tensor], keys: Mapping[str, Tensor]) -> Tensor:
        """Cross-entropy of each place with its own among *patches* places of its image, a mean over the levels (eq. 3)."""
        terms = []
        for head, level in zip(self.heads, LEVELS, strict=True):
            q, k = (maps[level].flatten(2).transpose(1, 2) for maps in (queries, keys))  # (B, H * W, C)
            places = torch.randperm(q.shape[1])[: self.patches].to(q.device)
            q, k = head(q[:, places]), head(k[:, places].detach()).detach()  # (B, P, size)
            logits = torch.bmm(q, k.transpose(1, 2)).float() / self.temperature
            own = torch.arange(len(places), device=q.device).expand(len(q), -1)
            terms.append(F.cross_entropy(logits.flatten(0, 1), own.flatten()))
        return torch.stack(terms).mean()
