"""The mismatch term: a discriminator that sees the source learns to reject a real picture shown with another source."""

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from i2i.building.naming import judged
from i2i.errors import UserError
from i2i.objectives import Objective, Weight, objective_of, over_judges
from i2i.objectives.beside import adversarial
from i2i.protocols import Batch, Discriminator, Domain, Generator, Images, Needs, Terms, Verdict


class MismatchLoss(nn.Module):
    """weight * the objective's term for a fake, of a real picture and its own source warped at random.

    So the discriminator must compare the two, and not only judge the picture (Reed et al. 2016, "matching-aware"; warped label
    maps as Katiyar and Khoreva 2020, whose sizes of the warp we do not know: *strength* and *grid* are ours). Its term of the
    domain k is ``mismatch_k``. Give it the *objective* of the loss that it stands beside; a relativistic one compares the real
    picture with its true source to that with the warped one.
    """

    order: Literal["generator_first", "discriminator_first"] = "generator_first"
    fresh_fakes = False
    networks: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        domains: Mapping[str, Domain],
        beside: Needs | None = None,
        weight: Annotated[Weight, Field(description="The weight of the term.")] = 1.0,
        objective: Objective = "hinge",
        strength: Annotated[float, Field(gt=0, le=0.5, description="The largest shift, as a share of the side.")] = 0.1,
        grid: Annotated[int, Field(ge=2, description="Shifts are drawn at so many points along each side.")] = 4,
    ) -> None:
        super().__init__()
        self.beside, self.domains = adversarial(beside), dict(domains)
        if not self.beside.conditional:
            raise UserError(
                "the loss before it does not show the discriminator the source, so no source can be the wrong one. Put it "
                "beside a conditional loss, such as pix2pix or spade."
            )
        self.weight, self.strength, self.grid = weight, strength, grid
        self.objective = objective_of(objective)
        self.sources = judged(self.beside)
        self.needs = Needs(self.beside.directions, paired=True, conditional=True, judged=self.beside.judged)

    def translate(self, G: Generator, batch: Batch) -> Images:
        """Nothing: it looks at real pictures only."""
        return {}

    def fakes(self, G: Generator, batch: Batch, images: Images) -> Images:
        """Nothing; not called, as ``fresh_fakes`` is false."""
        return {}

    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        """None."""
        return {}

    def discriminator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        """``mismatch_k`` for every judged domain k; a mean over the scales."""
        terms: Terms = {}
        for key, source in self.sources.items() if self.weight else ():
            other = warped(batch[source], self.strength, self.grid, labels=self.domains[source].kind == "labels")
            wrong = D(batch[key], key, other)
            right = D(batch[key], key, batch[source]) if self.objective.paired else wrong
            terms[f"mismatch_{key}"] = self.weight * over_judges(self._rejected, right, wrong)
        return terms

    def _rejected(self, right: Verdict, wrong: Verdict) -> Tensor:
        """The term of one judge. (``Adversarial`` would count these pictures among the real ones of adaptive augmentation.)"""
        reject, paired = (self.objective.discriminator, True) if self.objective.paired else (self.objective.fake, False)
        pairs = [(one[-1], other[-1]) for one, other in zip(right, wrong, strict=True)]
        return torch.stack([reject(one, other) if paired else reject(other) for one, other in pairs]).mean()


def warped(x: Tensor, strength: float, grid: int, *, labels: bool) -> Tensor:
    """Each image of x (B, C, H, W), warped by its own smooth random field.

    A shift of up to *strength* of the side, in each of both directions, is drawn at *grid* x *grid* points and interpolated
    between them (bicubic). Beyond its edges the image is mirrored. *labels* stay one-hot: they come from the nearest pixel.
    """
    B, _, H, W = x.shape
    shifts = torch.rand(B, 2, grid, grid, device=x.device) * 4 * strength - 2 * strength  # sides are 2 long here
    field = F.interpolate(shifts, (H, W), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)  # (B, H, W, 2)
    straight = F.affine_grid(torch.eye(2, 3, device=x.device).expand(B, 2, 3), [B, 1, H, W], align_corners=False)
    mode = "nearest" if labels else "bilinear"
    made = F.grid_sample(x.float(), straight + field, mode=mode, padding_mode="reflection", align_corners=False)
    return made.to(x.dtype)
