"""The focal frequency loss: the spectra of the translation and of the truth are compared (Jiang et al. 2021)."""

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from i2i.building.naming import between
from i2i.errors import UserError
from i2i.objectives import Weight, two_domains
from i2i.objectives.beside import translation
from i2i.protocols import Batch, Discriminator, Domain, Generator, Images, Needs, Terms


class FrequencyLoss(nn.Module):
    """weight * focal frequency distance between the translation and its truth; for paired data, and for image domains.

    It is added to another loss and looks at that one's translations between two domains; alone it translates the first domain
    into the second. Its term of the domain k is ``frequency_k``.
    """

    order: Literal["generator_first", "discriminator_first"] = "generator_first"
    fresh_fakes = False
    networks: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        domains: Mapping[str, Domain],
        beside: Needs | None = None,
        weight: Annotated[Weight, Field(description="The weight of the loss.")] = 1.0,
        alpha: Annotated[float, Field(ge=0, description="How much more frequencies count that are further off.")] = 1.0,
        patches: Annotated[int, Field(ge=1, description="A picture is cut into so many patches along each side.")] = 1,
    ) -> None:
        super().__init__()
        self.weight, self.alpha, self.patches, self.alone = weight, alpha, patches, beside is None
        ways = between(beside.directions) if beside is not None else [two_domains(domains)]
        self.ways = [way for way in ways if domains[way[1]].kind == "image"]
        if not self.ways:
            raise UserError("it compares pictures, and there is only a translation into labels. Leave it out.")
        dropped = sorted({target for _, target in ways} - {target for _, target in self.ways})
        self.notes = tuple(f"frequency: '{domains[key].name}' is not compared, as it is labels" for key in dropped)
        self.needs = Needs(tuple(self.ways), paired=True, adversarial=False)

    def translate(self, G: Generator, batch: Batch) -> Images:
        """Nothing beside another loss, else ``fake_b``."""
        return {f"fake_{b}": G(batch[a], a, b).image for a, b in self.ways} if self.alone else {}

    def fakes(self, G: Generator, batch: Batch, images: Images) -> Images:
        """Returns nothing, as there is no discriminator."""
        return {}

    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        """``frequency_k`` for every domain k that is translated into."""
        made = {key: translation(images, key, "frequency") for key in dict.fromkeys(target for _, target in self.ways)}
        return {
            f"frequency_{key}": self.weight * frequency_distance(fake, batch[key], self.alpha, self.patches)
            for key, fake in made.items()
        }

    def discriminator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        """None."""
        return {}


def frequency_distance(made: Tensor, truth: Tensor, alpha: float = 1.0, patches: int = 1) -> Tensor:
    """The mean of w * |F_made - F_truth|^2 over all frequencies, channels and pictures, 0-d; Jiang et al. 2021, section 3.3.

    F is the orthonormal two-dimensional Fourier transform of a channel, w = |F_made - F_truth|^alpha, divided by its
    largest value in that channel and patch, without a gradient. It is computed in float32, also under autocast.

    Raises:
        UserError: a side cannot be cut into that many patches.
    """
    B, C, H, W = made.shape
    if H % patches or W % patches:
        raise UserError(f"loss 'frequency': {W}x{H} px cannot be cut into {patches}x{patches} patches. Change 'patches'.")
    difference = made.float() - truth.float()
    cut = difference.reshape(B, C, patches, H // patches, patches, W // patches).transpose(-3, -2)  # (B, C, p, p, h, w)
    squares = torch.view_as_real(torch.fft.fft2(cut, norm="ortho")).square().sum(-1)
    focus = squares.detach() ** (alpha / 2)
    focus = focus / focus.amax((-2, -1), keepdim=True).clamp_min(torch.finfo(focus.dtype).tiny)
    return (focus * squares).mean()
