"""pix2pix's networks: a U-Net that translates, and discriminators that judge patches or single pixels.

Isola, Zhu, Zhou, Efros: Image-to-Image Translation with Conditional Adversarial Networks, CVPR 2017, as in its later
PyTorch program. B batch, C channels, H height, W width; images in [-1, 1] or one-hot labels.

Convolutions have a bias where the norm is ``instance``, and not where it is ``batch`` or ``none``; the first and the last
convolution of a discriminator and the last of the generator have one in any case (but for the last of ``pixel``).
"""

from collections.abc import Mapping
from math import gcd
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from i2i.adapters import per_direction, per_domain
from i2i.convolutions import Conv2d, ConvTranspose2d
from i2i.init import Gain, Init, initialise
from i2i.layers import Count, check_sides
from i2i_pix2pix.layers import Dropout, Norm, folded, normalisation


class Down(nn.Module):
    """Activation, convolution, norm: (B, C, H, W) to (B, C', H/2, W/2)."""

    def __init__(self, activation: nn.Module, conv: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.activation, self.conv, self.norm = activation, conv, norm

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(self.activation(x)))
        return y

    def fold(self) -> None:
        self.conv, self.norm = folded(self.conv, self.norm)


class Up(nn.Module):
    """ReLU, in place, transposed convolution, norm, dropout: (B, C, H, W) to (B, C', 2H, 2W)."""

    def __init__(self, conv: nn.Module, norm: nn.Module, dropout: nn.Module) -> None:
        super().__init__()
        self.conv, self.norm, self.dropout = conv, norm, dropout

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.dropout(self.norm(self.conv(x.relu_())))
        return y

    def fold(self) -> None:
        self.conv, self.norm = folded(self.conv, self.norm)


class UNet(nn.Module):
    """(B, C_in, H, W) to (B, C_out, H, W); H and W are multiples of 2^downs.

    Ronneberger et al. 2015, in pix2pix's form (Isola et al. 2017, appendix 6.1.1): every level i halves the size with
    ``encoder[i]`` and doubles it with ``decoder[i]``, which from level 1 on hands its result, beside what entered the
    level, to the level above. Level i has width * min(2^i, 8) channels. 8 levels suit 256 px, 7 suit 128 px.

    *dropout* (p 0.5) acts in the levels whose input has the full 8 * width channels, but for the innermost one; with
    fewer than 6 levels there is none. It is pix2pix's only source of randomness.

    *inference*: ``train_mode`` keeps dropout and the batch's own statistics when translating (section 3.3), so that a
    result depends on the batch and on the random state; ``Translator.batch`` therefore gives it one picture at a time.
    ``eval`` does neither: dropout is off, and the statistics are the running ones.
    """

    small = {"width": 4, "downs": 3}  # noqa: RUF012

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        activation: nn.Module,
        *,
        width: Annotated[Count, Field(description="Channels of the outermost level; others double them, to 8 * width.")] = 64,
        downs: Annotated[int, Field(ge=2, le=12, description="Levels, each of half the size: 8 suit 256 px, 7 suit 128.")] = 8,
        norm: Annotated[Norm, Field(description="The norm of the inner levels.")] = "batch",
        dropout: Annotated[bool, Field(description="Dropout (p 0.5) in the widest levels but the innermost.")] = True,
        inference: Annotated[
            Literal["train_mode", "eval"],
            Field(description="Whether inference keeps dropout and the batch's own statistics."),
        ] = "train_mode",
        init: Init = "normal",
        init_gain: Gain = 0.02,
    ) -> None:
        super().__init__()
        self.divisor = 2**downs
        keep, bias, full = inference == "train_mode", norm == "instance", 8 * width
        channels = [width * min(2**i, 8) for i in range(downs)]
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        self.activation = activation
        for i, inner in enumerate(channels):
            outermost, innermost = i == 0, i == downs - 1
            outer = in_channels if outermost else channels[i - 1]
            conv = Conv2d(outer, inner, 4, 2, 1, bias=bias)
            bare = outermost or innermost  # the innermost map may be 1x1, which has no variance
            after = nn.Identity() if bare else normalisation(norm, inner, keep)
            self.encoder.append(Down(nn.Identity() if outermost else nn.LeakyReLU(0.2), conv, after))
            outer = out_channels if outermost else outer
            back = ConvTranspose2d(inner if innermost else 2 * inner, outer, 4, 2, 1, bias=bias or outermost)
            dropped = dropout and outer == inner == full and not bare
            after = nn.Identity() if outermost else normalisation(norm, outer, keep)
            self.decoder.append(Up(back, after, Dropout(0.5, keep) if dropped else nn.Identity()))
        initialise(self, init, init_gain)

    def forward(self, x: Tensor) -> Tensor:
        check_sides(x, self.divisor, 1, "generator 'unet'", "Change the crop or the option 'downs'.")
        entered = []
        for down in self.encoder:
            entered.append(x)
            x = down(x)
        for i in range(len(self.decoder) - 1, 0, -1):
            x = torch.cat((entered[i], self.decoder[i](x)), dim=1)
        y: Tensor = self.activation(self.decoder[0](x))
        return y


class Judged(nn.Module):
    """Convolution, norm, LeakyReLU: (B, C, H, W) to (B, C', H', W')."""

    def __init__(self, conv: nn.Conv2d, norm: nn.Module) -> None:
        super().__init__()
        self.conv, self.norm = conv, norm
        self.activation = nn.LeakyReLU(0.2, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.activation(self.norm(self.conv(x)))
        return y


class _Discriminator(nn.Module):
    """``blocks`` and the convolution ``logits``: (B, C, H, W) to the maps after every block, then (B, 1, h, w)."""

    def __init__(self, blocks: list[Judged], logits: nn.Conv2d) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.logits = logits

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for block in self.blocks:
            x = block(x)
            maps.append(x)
        return [*maps, self.logits(x)]


class PatchGAN(_Discriminator):
    """A fully convolutional judge of overlapping patches: 70x70 px with 3 layers (Isola et al. 2017, section 3.2.2).

    *layers* 4x4 convolutions with stride 2, then two with stride 1, all with padding 1. Channels double from layer to
    layer, up to 8 * width.
    """

    small = {"width": 4}  # noqa: RUF012

    def __init__(
        self,
        in_channels: int,
        *,
        width: Annotated[Count, Field(description="Channels of the first layer; others double them, to 8 * width.")] = 64,
        layers: Annotated[int, Field(ge=1, le=5, description="Convolutions with stride 2; 3 see patches of 70 px.")] = 3,
        norm: Annotated[Norm, Field(description="The norm of all layers but the first and the last.")] = "batch",
        init: Init = "normal",
        init_gain: Gain = 0.02,
    ) -> None:
        channels = [width * min(2**i, 8) for i in range(layers + 1)]
        blocks = [Judged(nn.Conv2d(in_channels, width, 4, 2, 1), nn.Identity())]
        for i in range(1, layers + 1):
            stride = 2 if i < layers else 1
            conv = nn.Conv2d(channels[i - 1], channels[i], 4, stride, 1, bias=norm == "instance")
            blocks.append(Judged(conv, normalisation(norm, channels[i])))
        super().__init__(blocks, nn.Conv2d(channels[-1], 1, 4, 1, 1))
        self.smallest = 3 * 2**layers
        initialise(self, init, init_gain)

    def forward(self, x: Tensor) -> list[Tensor]:
        check_sides(x, 1, self.smallest, "discriminator 'patchgan'", "Use a larger crop, or fewer 'layers'.")
        return super().forward(x)


class PixelGAN(_Discriminator):
    """A judge of single pixels: three 1x1 convolutions, logits (B, 1, H, W) (Isola et al. 2017, section 4.4)."""

    small = {"width": 4}  # noqa: RUF012

    def __init__(
        self,
        in_channels: int,
        *,
        width: Annotated[Count, Field(description="Channels of the first layer; the second has twice as many.")] = 64,
        norm: Annotated[Norm, Field(description="The norm of the second layer.")] = "batch",
        init: Init = "normal",
        init_gain: Gain = 0.02,
    ) -> None:
        bias = norm == "instance"
        blocks = [
            Judged(nn.Conv2d(in_channels, width, 1), nn.Identity()),
            Judged(nn.Conv2d(width, 2 * width, 1, bias=bias), normalisation(norm, 2 * width)),
        ]
        super().__init__(blocks, nn.Conv2d(2 * width, 1, 1, bias=bias))
        initialise(self, init, init_gain)


def fitted(options: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """The options with as many ``downs`` as halve a (height, width), at most the published 8, where they say none."""
    both = gcd(*size)
    return {"downs": min(8, max(2, (both & -both).bit_length() - 1)), **options}


unet = per_direction(UNet)
vars(unet)["fitted"] = fitted
patchgan = per_domain(PatchGAN, features=True)
pixel = per_domain(PixelGAN, features=True)
