"""The perceptual loss: images are compared by the features of a trained network (Johnson et al. 2016, section 3.2)."""

from collections.abc import Mapping
from typing import Annotated, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from i2i.building.naming import between
from i2i.errors import UserError
from i2i.protocols import Batch, Direction, Discriminator, Domain, Generator, Images, Needs, Terms
from i2i_timm.backbones import HUB, Features

PUBLISHED_LAYERS = ("features.1", "features.6", "features.11", "features.20", "features.29")
PUBLISHED_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
"""VGG19's first activation of each of its five stages, as SPADE and pix2pixHD use them (Wang et al. 2018, section 3.3)."""

Against = Literal["truth", "cycle", "source"]


class PerceptualLoss(nn.Module):
    """weight * sum over the layers of w_i * mean|f_i(x) - f_i(y)|, where y has no gradient.

    It is added to another loss and works on that one's directions between two domains. ``against`` says what is compared:

    - ``truth``: the translation with the target's image; needs paired data.
    - ``cycle``: the image with its translation there and back.
    - ``source``: the translation with the image it was made from, which keeps its content (Gatys et al. 2016).

    The default is ``truth`` alone or with a loss for paired data, else ``cycle`` if there is a way back, else ``source``.

    ``layers`` are names of modules or numbers of timm's feature levels, ``layer_weights`` as many w_i (default: 1 each; the
    published ones for the published layers). Without ``normalise`` images enter in [-1, 1], as SPADE's program has it.
    ``weights``: see ``i2i_timm.backbones``.
    """

    order: Literal["generator_first", "discriminator_first"] = "generator_first"
    fresh_fakes = False
    networks: tuple[str, ...] = ()
    small = {"backbone": "tf_efficientnet_lite0", "layers": [0, 1], "weights": "bundled"}  # noqa: RUF012

    def __init__(
        self,
        *,
        domains: Mapping[str, Domain],
        beside: Needs | None = None,
        weight: Annotated[float, Field(ge=0, description="The weight of the loss.")] = 1.0,
        backbone: Annotated[str, Field(description="The frozen network: any of timm's by its name.")] = "vgg19",
        layers: Annotated[
            list[int] | list[str] | None,
            Field(description="timm's feature levels, or names of modules. Default: SPADE's, for vgg19."),
        ] = None,
        layer_weights: Annotated[
            list[Annotated[float, Field(ge=0)]] | None,
            Field(description="A weight for each layer. Default: 1, or the published ones."),
        ] = None,
        weights: Annotated[str, Field(description="The frozen weights: hub, bundled or a file.")] = HUB,
        normalise: Annotated[bool, Field(description="Normalise images as in the network's own training.")] = True,
        against: Annotated[Against | None, Field(description="What to compare with. Default: by the first loss.")] = None,
    ) -> None:
        super().__init__()
        ways = between(beside.directions) if beside is not None else []
        ways = ways or [(*list(domains)[:2],)]  # type: ignore[list-item]
        self.against = against or _against(ways, beside)
        self.ways = [way for way in ways if _comparable(domains, way, self.against)]
        if not self.ways:
            raise UserError(f"'against: {self.against}' has no image of 1 or 3 channels to compare. Choose another value.")
        if self.against == "cycle" and any((t, s) not in ways for s, t in self.ways):
            raise UserError("'against: cycle' needs a loss with both directions before this one in the list.")
        dropped = [way for way in ways if way not in self.ways]
        self.notes = tuple(f"perceptual: {s} to {t} is not compared, as only images of 1 or 3 channels are" for s, t in dropped)
        back = tuple((t, s) for s, t in self.ways) if self.against == "cycle" else ()
        self.needs = Needs((*self.ways, *back), paired=self.against == "truth", adversarial=False)
        if layers is None and backbone == "vgg19":
            layers, layer_weights = list(PUBLISHED_LAYERS), layer_weights or list(PUBLISHED_WEIGHTS)
        if layers is None:
            raise UserError(f"name the 'layers' of '{backbone}', for instance [0, 1, 2] for timm's feature levels.")
        self.weight, self.layer_weights = weight, layer_weights or [1.0] * len(layers)
        if len(self.layer_weights) != len(layers):
            raise UserError(f"there are {len(layers)} layers and {len(self.layer_weights)} layer_weights.")
        self.features = Features(backbone, layers, weights, normalise)

    def translate(self, G: Generator, batch: Batch) -> Images:
        """``fake_t`` for every way to t; with cycles ``cycle_s``, the way back to s."""
        images: dict[str, Tensor] = {}
        for source, target in self.ways:
            images[f"fake_{target}"] = fake = G(batch[source], source, target).images[target]
            if self.against == "cycle":
                images[f"cycle_{source}"] = G(fake, target, source).images[source]
        return images

    def fakes(self, G: Generator, batch: Batch, images: Images) -> Images:
        """Returns nothing, as there is no discriminator."""
        return {}

    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        """``perceptual_k`` for every image compared, k being the domain that it belongs to."""
        terms: Terms = {}
        for source, target in self.ways:
            if self.against == "cycle":
                terms[f"perceptual_{source}"] = self._distance(images[f"cycle_{source}"], batch[source])
            else:
                other = batch[target] if self.against == "truth" else batch[source]
                terms[f"perceptual_{target}"] = self._distance(images[f"fake_{target}"], other)
        return terms

    def discriminator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        """None."""
        return {}

    def _distance(self, image: Tensor, reference: Tensor) -> Tensor:
        """(B, 1 or 3, H, W) twice, to the weighted distance, 0-d."""
        made, wanted = self.features(image), self.features(reference.detach())
        distances = [w * F.l1_loss(x, y.detach()) for w, x, y in zip(self.layer_weights, made, wanted, strict=True)]
        return self.weight * sum(distances[1:], distances[0])


def _against(ways: list[Direction], beside: Needs | None) -> Against:
    if beside is None or beside.paired:
        return "truth"
    return "cycle" if all((target, source) in ways for source, target in ways) else "source"


def _comparable(domains: Mapping[str, Domain], way: Direction, against: Against) -> bool:
    """Whether both images of the comparison can enter the network."""
    source, target = domains[way[0]], domains[way[1]]
    compared = {"truth": (target,), "cycle": (source,), "source": (source, target)}[against]
    return all(domain.kind == "image" and domain.channels in (1, 3) for domain in compared)
