"""CUT's loss: each place of the translation must find the same place in the source (Park et al. 2020, section 3)."""

from collections.abc import Mapping
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from i2i.errors import UserError
from i2i.layers import Count
from i2i.objectives import Adversarial, Weight, two_domains
from i2i.protocols import Batch, Discriminator, Domain, Generator, Images, Needs, Terms
from i2i_cut.generator import LEVELS

Some = Annotated[int, Field(ge=2)]
TEMPERATURE = 0.07


class Head(nn.Module):
    """Features (…, C) to unit vectors (…, size). A fixed random projection accepts the C of any generator."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, size))

    def forward(self, x: Tensor) -> Tensor:
        size, fixed = self.layers[0].in_features, torch.Generator().manual_seed(x.shape[-1])
        projection = torch.randn(x.shape[-1], size, generator=fixed).to(x) / x.shape[-1] ** 0.5
        return F.normalize(self.layers(x @ projection), dim=-1)


class CutLoss(nn.Module):
    """a → b: an adversarial term, and the contrast of *patches* places at three levels; with *identity*, also b → b."""

    order, fresh_fakes, networks = "discriminator_first", False, ("heads",)
    small = {"patches": 16, "size": 8}  # noqa: RUF012 - never changed

    def __init__(
        self, *, domains: Mapping[str, Domain], gan: Weight = 1, identity: Weight = 1, patches: Some = 256, size: Count = 256
    ) -> None:
        super().__init__()
        self.a, self.b = two_domains(domains)
        if domains[self.a].channels != domains[self.b].channels:
            raise UserError("its encoder reads both domains, so they must have the same number of channels.")
        self.gan, self.identity, self.patches = gan, identity, patches
        self.adversarial = Adversarial("lsgan")
        self.needs = Needs(((self.a, self.b),), adversarial=gan > 0, extras=frozenset(LEVELS))
        self.heads = nn.ModuleList(Head(size) for _ in LEVELS)

    def translate(self, G: Generator, batch: Batch) -> Images:
        """Translates a, and b if *identity* is above 0. Each comes with the encoder's maps of the source and of the result."""
        images, sources = {}, {"nce": batch[self.a], **({"identity": batch[self.b]} if self.identity else {})}
        for name, source in sources.items():
            made = G(source, self.a, self.b)
            images[name] = {"image": made.image, "keys": made.extras, "queries": G(made.image, self.a).extras}
        return images

    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        weights = {"nce": 1.0, "identity": self.identity}
        terms = {name: weights[name] * self._contrast(made["queries"], made["keys"]) for name, made in images.items()}
        if self.gan:
            terms["gan"] = self.gan * self.adversarial.generator(D(images["nce"]["image"], self.b))
        return terms

    def discriminator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        return self.adversarial.discriminator(D(batch[self.b], self.b), D(images["nce"]["image"], self.b))

    def _contrast(self, queries: Mapping[str, Tensor], keys: Mapping[str, Tensor]) -> Tensor:
        """Cross-entropy of finding each place among *patches* places of the same image, averaged over the levels (eq. 3)."""
        terms = []
        for head, level in zip(self.heads, LEVELS, strict=True):
            q, k = (maps[level].flatten(2).transpose(1, 2) for maps in (queries, keys))  # (B, H * W, C)
            places = torch.randperm(q.shape[1])[: self.patches].to(q.device)
            q, k = head(q[:, places]), head(k[:, places].detach()).detach()  # (B, P, size)
            logits = torch.bmm(q, k.transpose(1, 2)).float() / TEMPERATURE
            own = torch.arange(len(places), device=q.device).expand(len(q), -1)
            terms.append(F.cross_entropy(logits.flatten(0, 1), own.flatten()))
        return torch.stack(terms).mean()
