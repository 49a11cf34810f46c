"""A U-Net whose encoder is any of timm's backbones (Ronneberger et al. 2015).

B batch, C channels, H height, W width; images in [-1, 1] or one-hot labels.
"""

from typing import Annotated, Any, Literal

import timm
import torch
import torch.nn.functional as F
from pydantic import Field
from timm.layers import Conv2dSame  # type: ignore[attr-defined]
from timm.models import adapt_input_conv
from torch import Tensor, nn
from torch.nn.utils import skip_init

from i2i.adapters import per_direction
from i2i.convolutions import Conv2d
from i2i.errors import UserError, one_line
from i2i.init import Gain, Init, initialise
from i2i.layers import Count, InstanceNorm
from i2i_timm.backbones import check_backbone, create

Norm = Literal["batch", "instance"]


class UpBlock(nn.Module):
    """Nearest-neighbour x2, with the encoder's map of that size, two 3x3 blocks: (B, C, H, W) to (B, C', 2H, 2W)."""

    def __init__(self, channels: int, kept: int, width: int, norm: Norm) -> None:
        super().__init__()
        self.first = Conv2d(channels + kept, width, 3, padding=1, bias=norm == "instance")
        self.second = Conv2d(width, width, 3, padding=1, bias=norm == "instance")
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) if norm == "batch" else InstanceNorm() for _ in range(2))

    def forward(self, x: Tensor, kept: Tensor | None) -> Tensor:
        x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        x = x if kept is None else torch.cat((kept, x), 1)
        for conv, norm in zip((self.first, self.second), self.norms, strict=True):
            x = F.relu(norm(conv(x)))
        return x


class EvenConv2d(nn.Conv2d):
    """timm's ``Conv2dSame`` for sides that are multiples of the stride, where what it pads is the same at every size.

    (B, C, H, W) to (B, C', H / stride, W / stride). timm's own computes the padding from the sides, which torch.export
    follows through a whole backbone as one growing formula, for hours.
    """

    @classmethod
    def of(cls, conv: nn.Conv2d) -> "EvenConv2d":
        """The same convolution, with the same parameters; no random numbers are drawn."""
        shape = (conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, 0, conv.dilation, conv.groups)
        made: EvenConv2d = skip_init(cls, *shape, bias=conv.bias is not None)  # type: ignore[no-untyped-call]
        made.weight, made.bias = conv.weight, conv.bias
        return made

    def forward(self, x: Tensor) -> Tensor:
        spare = [(k - 1) * d + 1 - s for k, d, s in zip(self.kernel_size, self.dilation, self.stride, strict=True)]
        rows, columns = (max(0, n) for n in spare)
        return super().forward(F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)))


class TimmUNet(nn.Module):
    """(B, C_in, H, W) to (B, C_out, H, W); H and W are multiples of the backbone's largest reduction, ``divisor``.

    The encoder is trained like the rest. The decoder doubles the size until it is the image's, and is handed the
    encoder's last map of every size on the way, and the image itself at the end. It has *width* channels at the image's
    size, twice as many at each smaller one, at most 8 * width. *norm* is the decoder's; the encoder keeps its own.

    *weights*: None starts the encoder at random; "hub", "bundled" or a path start it from trained weights, see
    ``i2i_timm.backbones``. Then images of 1 or 3 channels are given the mean and deviation that it was trained with, and
    the first convolution is adapted to other numbers of channels, as timm does. Where it is *rebuilt* to take a trained
    model's weights, none are read or fetched.
    """

    small = {"backbone": "test_resnet", "width": 4}  # noqa: RUF012

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        activation: nn.Module,
        *,
        backbone: Annotated[str, Field(description="The encoder: any of timm's networks by its name.")] = "resnet18",
        weights: Annotated[str | None, Field(description="The encoder's weights: hub, bundled, a file; else random.")] = None,
        width: Annotated[Count, Field(description="Channels of the decoder at the full size.")] = 32,
        norm: Annotated[Norm, Field(description="The norm of the decoder.")] = "batch",
        init: Init = "kaiming",
        init_gain: Gain = 0.02,
        rebuilt: bool = False,
    ) -> None:
        super().__init__()
        self.encoder, config = _encoder(backbone, in_channels, None if rebuilt else weights)
        info: Any = self.encoder.feature_info
        self.reductions: list[int] = info.reduction()
        self.divisor = max(self.reductions)
        if self.divisor & (self.divisor - 1):
            raise UserError(f"the backbone '{backbone}' divides the size by {self.divisor}, which doubling cannot undo.")
        kept = {1: in_channels} | {r: c for r, c in zip(self.reductions, info.channels(), strict=True) if r > 1}
        channels, self.decoder = kept[self.divisor], nn.ModuleList()
        for level in reversed(range(self.divisor.bit_length() - 1)):
            wide = width * min(2**level, 8)
            self.decoder.append(UpBlock(channels, kept.get(2**level, 0), wide, norm))
            channels = wide
        self.last = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.activation = activation
        initialise(self.decoder, init, init_gain)
        initialise(self.last, "normal", 0.02)
        normalised = weights is not None and in_channels in (1, 3)
        for name, neutral in (("mean", 0.0), ("std", 1.0)):
            value = torch.tensor(config[name]) * 2 - 1 + neutral if normalised else torch.tensor([neutral])
            value = value.mean(0, keepdim=True) if in_channels == 1 else value
            self.register_buffer(name, value.view(1, -1, 1, 1), persistent=False)
        self.mean: Tensor  # of images in [-1, 1]
        self.std: Tensor

    def forward(self, x: Tensor) -> Tensor:
        H, W = x.shape[-2:]
        if H % self.divisor or W % self.divisor or H == self.divisor == W:
            raise UserError(
                f"generator 'timm_unet': an image of {W}x{H} px (width x height) does not fit; both sides must be multiples "
                f"of {self.divisor}, and one of them larger. Change the crop or the option 'backbone'."
            )
        maps = dict(zip(self.reductions, self.encoder((x - self.mean) / self.std), strict=True)) | {1: x}
        h, size = maps[self.divisor], self.divisor
        for block in self.decoder:
            size //= 2
            h = block(h, maps.get(size))
        y: Tensor = self.activation(self.last(h))
        return y


def _encoder(backbone: str, channels: int, weights: str | None) -> tuple[nn.Module, Any]:
    """The backbone's feature levels for images with this number of channels, and its configuration."""
    check_backbone(backbone)
    try:
        encoder: Any = timm.create_model(backbone, features_only=True, in_chans=channels)
    except (RuntimeError, ValueError, TypeError, AssertionError, AttributeError) as error:
        reason = one_line(error)
        raise UserError(f"backbone '{backbone}' gives no maps of several sizes: {reason}") from error
    for name, module in list(encoder.named_modules()):
        if isinstance(module, Conv2dSame):
            encoder.set_submodule(name, EvenConv2d.of(module))
    if weights is not None:
        trained, _ = create(backbone, tuple(range(len(encoder.feature_info.channels()))), weights)
        encoder.load_state_dict(_adapted(trained.state_dict(), encoder.state_dict(), channels))
    return encoder, encoder.pretrained_cfg


def _adapted(trained: dict[str, Tensor], own: dict[str, Tensor], channels: int) -> dict[str, Tensor]:
    """The trained weights, the first convolution's for another number of channels."""
    return {
        name: value if value.shape == own[name].shape else adapt_input_conv(channels, value) for name, value in trained.items()
    }


timm_unet = per_direction(TimmUNet)
