"""SPADE's discriminator: patches of labels and image, at several scales (Park et al. 2019, appendix A, after pix2pixHD)."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from i2i.init import Gain, Init, initialise
from i2i.layers import Count, check_sides, judged_at_scales, judged_channels, with_condition
from i2i.protocols import Domain, Verdict
from i2i_spade.layers import ConvBlock, Norm, notes_on

MOST = 512
"""No layer has more channels, at any width."""


class SpadeDiscriminator(nn.Module):
    """For each domain, one patch discriminator at each scale, every scale half the size of the one before.

    4x4 convolutions with padding 2; the first *layers* - 1 halve the size (if *layers* is 1, the only one does). The first
    layer has neither norm nor spectral norm, the last one neither of them nor an activation. The scales share no weights.
    A condition is concatenated before the image: (B, C_condition + C, H, W).
    """

    exposes: frozenset[str] = frozenset({"features"})
    small = {"width": 4}  # noqa: RUF012

    def __init__(
        self,
        *,
        domains: Mapping[str, Domain],
        conditions: Mapping[str, Domain],
        width: Annotated[Count, Field(description="Channels of the first layer; others double them, to 512.")] = 64,
        layers: Annotated[Count, Field(description="Convolutions before the logits; all but the last halve the size.")] = 4,
        scales: Annotated[Count, Field(description="Judges, each of images half the size of the one before.")] = 2,
        norm: Annotated[Norm, Field(description="The norm of all layers but the first and the last.")] = "instance",
        spectral: Annotated[bool, Field(description="Spectral norm of all layers but the first and the last.")] = True,
        init: Init = "xavier",
        init_gain: Gain = 0.02,
    ) -> None:
        super().__init__()
        self.smallest, self.notes = 2 ** (scales - 1) + 1, notes_on(norm)
        self.judges = nn.ModuleDict()
        for key, channels in judged_channels(domains, conditions).items():
            judges = [_patch_judge(channels, width, layers, norm, spectral) for _ in range(scales)]
            self.judges[key] = nn.ModuleDict({"scales": nn.ModuleList(judges)})
        initialise(self, init, init_gain)

    def forward(self, image: Tensor, domain: str, condition: Tensor | None = None) -> Verdict:
        """Judge image (B, C, H, W). For each scale: ``layers`` feature maps, then the logits (B, 1, h, w)."""
        check_sides(image, 1, self.smallest, "discriminator 'spade'", "Use a larger crop, or fewer 'scales'.")
        x = with_condition(image, condition)
        return judged_at_scales(self.judges.get_submodule(f"{domain}.scales").children(), x)


def _patch_judge(channels: int, width: int, layers: int, norm: Norm, spectral: bool) -> nn.Sequential:
    blocks: list[nn.Module] = [ConvBlock(channels, width, 4, 2, 2, norm="none", spectral=False)]
    before = width
    for i in range(1, layers):
        after = min(2 * before, MOST)
        blocks.append(ConvBlock(before, after, 4, 1 if i == layers - 1 else 2, 2, norm=norm, spectral=spectral))
        before = after
    return nn.Sequential(*blocks, ConvBlock(before, 1, 4, 1, 2, norm="none", spectral=False, activated=False))
