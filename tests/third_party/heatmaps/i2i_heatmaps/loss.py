"""U-GAT-IT's loss (section 2.2): adversarial, cycle and identity terms, and those of both players' classifiers."""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from i2i.errors import UserError
from i2i.objectives import Adversarial, Weight, two_domains
from i2i.protocols import Batch, Discriminator, Domain, Generator, Images, Judged, Needs, Terms, Verdict


class Attentive(nn.Module):
    """Two domains. The generator's classifier tells source images (1) from target images (0), its identity inputs."""

    order, fresh_fakes, networks = "discriminator_first", False, ()

    def __init__(
        self, *, domains: Mapping[str, Domain], cycle: Weight = 10.0, identity: Weight = 10.0, cam: Weight = 1000.0
    ) -> None:
        super().__init__()
        a, b = two_domains(domains)
        if (domains[a].kind, domains[a].channels) != (domains[b].kind, domains[b].channels):
            raise UserError("the identity term passes b's images as a's: both must have the same kind and number of channels.")
        self.pairs, self.cycle, self.identity, self.cam = ((a, b), (b, a)), cycle, identity, cam
        self.least, self.entropy = Adversarial("lsgan", "sum"), Adversarial("bce")
        self.needs = Needs(self.pairs, extras=frozenset({"cam"}), verdict=frozenset({"cam"}))

    def translate(self, G: Generator, batch: Batch) -> Images:
        images: dict[str, Tensor] = {}
        for key, other in self.pairs:
            made, same = G(batch[key], key, other), G(batch[other], key, other)
            images |= {f"fake_{other}": made.image, f"same_{other}": same.image}
            images |= {f"of_{key}": made.extras["cam"], f"not_of_{key}": same.extras["cam"]}
            images[f"cycle_{key}"] = G(made.image, other, key).image
        return images

    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        terms: Terms = {}
        for key in batch:
            terms[f"gan_{key}"] = self.least.generator(_both(D(images[f"fake_{key}"], key)))
            terms[f"cycle_{key}"] = self.cycle * F.l1_loss(images[f"cycle_{key}"], batch[key])
            terms[f"identity_{key}"] = self.identity * F.l1_loss(images[f"same_{key}"], batch[key])
            told = self.entropy.discriminator([[images[f"of_{key}"]]], [[images[f"not_of_{key}"]]])
            terms[f"cam_{key}"] = self.cam * (told["real"] + told["fake"])
        return terms

    def discriminator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        terms: Terms = {}
        for key in batch:
            judged = self.least.discriminator(_both(D(batch[key], key)), _both(D(images[f"fake_{key}"], key)))
            terms |= {f"{name}_{key}": term for name, term in judged.items()}
        return terms


def _both(verdict: Judged) -> Verdict:
    """The logits of the patches and those of the classifiers, as two scales."""
    return [[verdict[0][-1]], [verdict.extras["cam"]]]
