"""U-GAT-IT's loss (section 2.2): adversarial, cycle and identity terms, and those of both players' classifiers."""

from collections.abc import Callable, Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from i2i.errors import UserError
from i2i.objectives import Weight, fake_loss, generator_loss, real_loss, two_domains
from i2i.protocols import Batch, Discriminator, Domain, Generator, Images, Judged, Needs, Terms


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
            terms[f"gan_{key}"] = _of_both(generator_loss, D(images[f"fake_{key}"], key))
            terms[f"cycle_{key}"] = self.cycle * F.l1_loss(images[f"cycle_{key}"], batch[key])
            terms[f"identity_{key}"] = self.identity * F.l1_loss(images[f"same_{key}"], batch[key])
            told = real_loss("bce", images[f"of_{key}"]) + fake_loss("bce", images[f"not_of_{key}"])
            terms[f"cam_{key}"] = self.cam * told
        return terms

    def discriminator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        real = {f"real_{key}": _of_both(real_loss, D(batch[key], key)) for key in batch}
        return real | {f"fake_{key}": _of_both(fake_loss, D(images[f"fake_{key}"], key)) for key in batch}


def _of_both(loss: Callable[..., Tensor], verdict: Judged) -> Tensor:
    """The least-squares loss of the patches plus that of the classifiers."""
    return loss("lsgan", verdict[0][-1]) + loss("lsgan", verdict.extras["cam"])
