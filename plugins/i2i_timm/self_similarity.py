"""The self-similarity of features: a translation keeps what lies where, whatever it looks like.

Which places of a picture resemble each other, and how much, says what its parts are and where; it does not change if they are
drawn in another style (Shechtman and Irani 2007; as a loss Kolkin et al. 2019, section 2.3, and Tumanyan et al. 2022).
"""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from i2i.building.naming import between
from i2i.errors import UserError
from i2i.layers import Count
from i2i.objectives import Weight, two_domains
from i2i.objectives.beside import translation
from i2i.protocols import Batch, Discriminator, Domain, Generator, Images, Needs, Terms
from i2i_timm.backbones import HUB, Features


class SelfSimilarityLoss(nn.Module):
    """weight * sum over the levels of the distance between the self-similarities of a translation and of its source.

    It is added to another loss and looks at that one's translations between two domains, images of 1 or 3 channels both; it
    needs no pairs. Alone it translates the first domain into the second. Its term of the domain k is ``self_similarity_k``.
    The features are those of a frozen network (``i2i_timm.backbones``); *levels* are timm's, by default the one that tells
    true pairs of the two samples from other pictures most often.
    """

    order: Literal["generator_first", "discriminator_first"] = "generator_first"
    fresh_fakes = False
    networks: tuple[str, ...] = ()
    small = {"weights": "bundled", "levels": (1,)}  # noqa: RUF012

    def __init__(
        self,
        *,
        domains: Mapping[str, Domain],
        beside: Needs | None = None,
        weight: Annotated[Weight, Field(description="The weight of the loss.")] = 1.0,
        backbone: Annotated[str, Field(description="The frozen network: any of timm's by its name.")] = "tf_efficientnet_lite0",
        levels: Annotated[
            tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1, description="The feature levels that are compared.")
        ] = (2,),
        weights: Annotated[str, Field(description="The frozen weights: hub, bundled or a file.")] = HUB,
        places: Annotated[Count, Field(description="Of a level with more places, so many are drawn at each step.")] = 1024,
    ) -> None:
        super().__init__()
        self.weight, self.places, self.alone = weight, places, beside is None
        ways = between(beside.directions) if beside is not None else [two_domains(domains)]
        self.ways = {target: source for source, target in ways if _visible(domains[source]) and _visible(domains[target])}
        if not self.ways:
            raise UserError("it compares images of 1 or 3 channels, and there is no translation between two of them.")
        if len({target for _, target in ways}) < len(ways):
            raise UserError("it looks for the source of each translation, and several directions lead into one domain.")
        dropped = [way for way in ways if way[1] not in self.ways]
        self.notes = tuple(
            f"self_similarity: {s} to {t} is left out, as only images of 1 or 3 channels are" for s, t in dropped
        )
        self.needs = Needs(tuple((s, t) for t, s in self.ways.items()), adversarial=False)
        self.features = Features(backbone, levels, weights, merged=True)

    def translate(self, G: Generator, batch: Batch) -> Images:
        """Nothing beside another loss, else ``fake_b``."""
        return {f"fake_{b}": G(batch[a], a, b).image for b, a in self.ways.items()} if self.alone else {}

    def fakes(self, G: Generator, batch: Batch, images: Images) -> Images:
        """Returns nothing, as there is no discriminator."""
        return {}

    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        """``self_similarity_k`` for every domain k that is translated into."""
        terms: Terms = {}
        for target, source in self.ways.items():
            made = self.features(translation(images, target, "self_similarity"))
            kept = self.features(batch[source])
            distances = [self_similarity_distance(x, y, self.places) for x, y in zip(made, kept, strict=True)]
            terms[f"self_similarity_{target}"] = self.weight * torch.stack(distances).sum()
        return terms

    def discriminator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        """None."""
        return {}


def self_similarity_distance(x: Tensor, y: Tensor, places: int) -> Tensor:
    """The mean of (S(x)_ij - S(y)_ij)^2 over all pairs of places i, j, 0-d; Tumanyan et al. 2022, section 3.

    S(x)_ij is the cosine similarity of the features x (B, C, h, w) at i and at j. Of more than *places* places so many are
    drawn with torch's default generator, the same for both and for the whole batch, as Kolkin et al. 2019 do.
    """
    x, y = x.flatten(2), y.flatten(2)
    if x.shape[2] > places:
        chosen = torch.randperm(x.shape[2], device=x.device)[:places]
        x, y = x[..., chosen], y[..., chosen]
    return (_similarity(x) - _similarity(y.detach())).square().mean()


def _similarity(x: Tensor) -> Tensor:
    """(B, C, N) to (B, N, N), in at least float32; features that are almost 0 resemble nothing."""
    kind = x.device.type
    with torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext():
        unit = F.normalize(x if x.dtype == torch.float64 else x.float(), dim=1, eps=1e-3)
        return unit.transpose(1, 2) @ unit


def _visible(domain: Domain) -> bool:
    return domain.kind == "image" and domain.channels in (1, 3)
