"""StarGAN's loss: real or not, which domain, and back again (Choi et al. 2018, section 3.1)."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i.objectives import Weight, fake_loss, generator_loss, gradient_penalty, real_loss
from i2i.protocols import Batch, Discriminator, Domain, Generator, Images, Judged, Needs, Terms


class StarLoss(nn.Module):
    """Every step translates each domain into another: all by the same number of places, drawn at random."""

    order = "discriminator_first"
    fresh_fakes = False
    networks: tuple[str, ...] = ()

    def __init__(
        self, *, domains: Mapping[str, Domain], classes: Weight = 1.0, cycle: Weight = 10.0, penalty: Weight = 10.0
    ) -> None:
        super().__init__()
        self.keys, self.classes, self.cycle, self.penalty = list(domains), classes, cycle, penalty
        ways = tuple((source, target) for source in domains for target in domains if source != target)
        self.judged = list(dict.fromkeys(target for _, target in ways))
        self.needs = Needs(ways, verdict=frozenset({"classes"}))

    def translate(self, G: Generator, batch: Batch) -> Images:
        images = {}
        shift = int(torch.randint(1, len(self.keys), ()))
        for i, source in enumerate(self.keys):
            target = self.keys[(i + shift) % len(self.keys)]
            fake = images[f"fake_{target}"] = G(batch[source], source, target).image
            images[f"cycle_{source}"] = G(fake, target, source).image
        return images

    def fakes(self, G: Generator, batch: Batch, images: Images) -> Images:
        return self.translate(G, batch)

    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        terms: Terms = {}
        for key in self.keys:
            verdict = D(images[f"fake_{key}"], key)
            terms[f"gan_{key}"] = generator_loss("wgan", verdict[0][-1])
            terms[f"class_{key}"] = self.classes * self._class(verdict, key)
            terms[f"cycle_{key}"] = self.cycle * F.l1_loss(images[f"cycle_{key}"], batch[key])
        return terms

    def discriminator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        terms: Terms = {}
        for key in self.keys:
            real, fake = batch[key], images[f"fake_{key}"]
            seen = D(real, key)
            terms[f"real_{key}"] = real_loss("wgan", seen[0][-1])
            terms[f"fake_{key}"] = fake_loss("wgan", D(fake, key)[0][-1])
            terms[f"class_of_{key}"] = self.classes * self._class(seen, key)
            if self.penalty:
                judge = lambda x, key=key: D(x, key)  # noqa: E731
                terms[f"penalty_{key}"] = gradient_penalty(judge, real, fake, weight=self.penalty)
        return terms

    def _class(self, verdict: Judged, key: str) -> Tensor:
        """Cross-entropy of the extra ``classes``, logits (B, K), with the domain."""
        logits = verdict.extras["classes"].flatten(1)
        return F.cross_entropy(logits, torch.full((len(logits),), self.judged.index(key), device=logits.device))
