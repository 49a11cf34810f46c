"""CycleGAN's generator: a residual network between strided and transposed convolutions.

Johnson et al. 2016 (supplementary material), in the form of Zhu, Park, Isola, Efros: Unpaired Image-to-Image Translation
using Cycle-Consistent Adversarial Networks, ICCV 2017, and its later PyTorch program. B batch, C channels, H height,
W width; images in [-1, 1] or one-hot labels.
"""

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from i2i.adapters import per_direction
from i2i.convolutions import Conv2d
from i2i.errors import UserError
from i2i.init import Gain, Init, initialise
from i2i.layers import Count, InstanceNorm, check_sides, folded

Downs = Annotated[int, Field(ge=1, le=12)]  # 12 need multiples of 4096 pixels
Norm = Literal["instance", "batch", "none"]
Upsampling = Literal["transposed", "resize"]


class Block(nn.Module):
    """Convolution, norm, activation, after an optional enlargement: (B, C, H, W) to (B, C', H', W')."""

    def __init__(self, conv: nn.Module, norm: nn.Module, *, relu: bool = True, enlarge: bool = False) -> None:
        super().__init__()
        self.enlarge = nn.Upsample(scale_factor=2, mode="nearest") if enlarge else nn.Identity()
        self.conv, self.norm = conv, norm
        self.activation = nn.ReLU(inplace=True) if relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.activation(self.norm(self.conv(self.enlarge(x))))
        return y

    def fold(self) -> None:
        self.conv, self.norm = folded(self.conv, self.norm)


class Residual(nn.Module):
    """x + second(dropout(first(x))), with no activation after the sum; keeps (B, C, H, W)."""

    def __init__(self, channels: int, norm: Norm, dropout: bool) -> None:
        super().__init__()
        self.first = Block(_reflecting(channels, channels, 3, norm), _normalisation(norm, channels))
        self.dropout = nn.Dropout(0.5) if dropout else nn.Identity()
        self.second = Block(_reflecting(channels, channels, 3, norm), _normalisation(norm, channels), relu=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.second(self.dropout(self.first(x)))
        return y


class ResNet(nn.Module):
    """(B, C_in, H, W) to (B, C_out, H, W); H and W are multiples of 2^downs, and at least 2^(downs + 1) and 4.

    A 7x7 convolution, *downs* halvings that double the channels, *blocks* residual blocks (9 for 256 px, 6 for 128 px),
    as many doublings of the size, a 7x7 convolution. Convolutions have a bias where the norm is ``instance``, and not
    where it is ``batch`` or ``none``; the last one has it in any case.

    *upsampling*: ``transposed`` convolutions, as published, or ``resize`` by repeating pixels before a 3x3 convolution,
    which leaves no checkerboard pattern (Odena et al. 2016, "Deconvolution and Checkerboard Artifacts").

    With *residual* the network adds to the picture x + 2 f(x), f in [-1, 1], and f starts at 0 (Zhang et al. 2017, "Beyond a
    Gaussian Denoiser", section III-A): an untrained generator gives its input back, as sharp as it is, and learns what is to
    change. Values outside [-1, 1] are clamped at inference only, so that no gradient is lost. It is for pictures of two
    domains that resemble each other; a grey input is repeated for each channel.
    """

    small = {"width": 4, "blocks": 1}  # noqa: RUF012

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        activation: nn.Module,
        *,
        width: Annotated[Count, Field(description="Channels at the full size; each halving doubles them.")] = 64,
        blocks: Annotated[Count, Field(description="Residual blocks: 9 suit 256 px, 6 suit 128 px.")] = 9,
        downs: Annotated[Downs, Field(description="The number of halvings of the size.")] = 2,
        norm: Annotated[Norm, Field(description="The norm of all layers but the last.")] = "instance",
        dropout: Annotated[bool, Field(description="Dropout (p 0.5) in the residual blocks.")] = False,
        upsampling: Annotated[Upsampling, Field(description="How sizes double; resize avoids checkerboards.")] = "transposed",
        residual: Annotated[bool, Field(description="Add to the picture instead of drawing it anew.")] = False,
        init: Init = "normal",
        init_gain: Gain = 0.02,
    ) -> None:
        super().__init__()
        if residual and (not isinstance(activation, nn.Tanh) or in_channels not in (1, out_channels)):
            raise UserError(
                "'residual' adds to a picture, so both sides must be pictures with as many channels, or the first one grey: "
                "leave it out."
            )
        self.residual = residual
        self.divisor = 2**downs
        self.smallest = max(4, 2 * self.divisor)  # a reflection needs more pixels than it pads: 3 outside, 1 inside
        channels = [width * 2**i for i in range(downs + 1)]
        self.stem = Block(_reflecting(in_channels, width, 7, norm), _normalisation(norm, width))
        self.down = nn.Sequential(*(_halving(c, 2 * c, norm) for c in channels[:-1]))
        self.blocks = nn.Sequential(*(Residual(channels[-1], norm, dropout) for _ in range(blocks)))
        self.up = nn.Sequential(*(_doubling(c, c // 2, norm, upsampling) for c in channels[:0:-1]))
        self.last = Conv2d(width, out_channels, 7, padding=3, padding_mode="reflect")
        self.activation = activation
        initialise(self, init, init_gain)
        if residual:
            nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor) -> Tensor:
        check_sides(x, self.divisor, self.smallest, "generator 'resnet'", "Change the crop or the option 'downs'.")
        y: Tensor = self.activation(self.last(self.up(self.blocks(self.down(self.stem(x))))))
        return x + 2 * y if self.residual else y


def _reflecting(in_channels: int, out_channels: int, kernel: int, norm: Norm) -> nn.Conv2d:
    """A convolution that keeps the size."""
    bias = norm == "instance"
    return Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, padding_mode="reflect", bias=bias)


def _halving(in_channels: int, out_channels: int, norm: Norm) -> Block:
    conv = nn.Conv2d(in_channels, out_channels, 3, 2, 1, bias=norm == "instance")
    return Block(conv, _normalisation(norm, out_channels))


def _doubling(in_channels: int, out_channels: int, norm: Norm, upsampling: Upsampling) -> Block:
    after = _normalisation(norm, out_channels)
    if upsampling == "resize":
        return Block(_reflecting(in_channels, out_channels, 3, norm), after, enlarge=True)
    conv = nn.ConvTranspose2d(in_channels, out_channels, 3, 2, 1, output_padding=1, bias=norm == "instance")
    return Block(conv, after)


def _normalisation(kind: Norm, channels: int) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    return InstanceNorm() if kind == "instance" else nn.Identity()


resnet = per_direction(ResNet)
