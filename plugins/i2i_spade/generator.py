"""SPADE's generator: noise or a small map, grown to an image by blocks that the source modulates at every scale.

Park, Liu, Wang, Zhu: Semantic Image Synthesis with Spatially-Adaptive Normalization, CVPR 2019, appendix A.
B batch, C channels, H height, W width; images in [-1, 1] or one-hot labels.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from i2i.convolutions import Conv2d
from i2i.errors import UserError
from i2i.init import Gain, Init, initialise
from i2i.layers import Count, check_sides, output_activation
from i2i.protocols import Direction, Domain, Translation
from i2i_spade.encoder import StyleEncoder, drawn
from i2i_spade.layers import SpadeBlock, notes_on, resized

DOUBLINGS = {"normal": 5, "more": 6, "most": 7}


class SpadeNetwork(nn.Module):
    """One direction: the source (B, C, H, W) to an image or label probabilities (B, C', H, W).

    Without *style_size* the first map is a convolution of the source at 1 / 2^doublings of its size, with it a linear
    layer of the style at *start* (height, width).
    """

    def __init__(
        self,
        source: Domain,
        target: Domain,
        *,
        width: int,
        doublings: int,
        hidden: int,
        kernel: int,
        norm: Literal["batch", "sync_batch", "instance"],
        spectral: bool,
        style_size: int | None,
        start: tuple[int, int],
        encoder_width: int,
    ) -> None:
        super().__init__()
        self.doublings, self.style_size, self.start = doublings, style_size, start
        widths = [16 * width, 16 * width, 16 * width, 16 * width, 8 * width, 4 * width, 2 * width, width]
        if doublings == 7:
            widths.append(width // 2)
        # Every block but the first follows a doubling; with five of them the third block does not either.
        self.doubled = [i > 0 and (i != 2 or doublings > 5) for i in range(len(widths) - 1)]
        first = 16 * width
        self.first: nn.Module
        if style_size is None:
            self.first = Conv2d(source.channels, first, 3, padding=1)
        else:
            self.first = nn.Linear(style_size, first * start[0] * start[1])
        self.blocks = nn.ModuleList(
            SpadeBlock(before, after, source.channels, hidden=hidden, kernel=kernel, norm=norm, spectral=spectral)
            for before, after in pairwise(widths)
        )
        self.last = nn.Conv2d(widths[-1], target.channels, 3, padding=1)
        self.activation = output_activation(target)
        self.encoder = None if style_size is None else StyleEncoder(target.channels, encoder_width, style_size)

    def forward(self, source: Tensor, style: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """*style* is an image of the target domain (B, C', H'', W''); without it, styles are drawn from N(0, 1)."""
        x, extras = self._first_map(source, style)
        for block, doubled in zip(self.blocks, self.doubled, strict=True):
            x = block(F.interpolate(x, scale_factor=2.0, mode="nearest") if doubled else x, source)
        return self.activation(self.last(F.leaky_relu(x, 0.2))), extras

    def _first_map(self, source: Tensor, style: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """(B, 16 * width, H / 2^doublings, W / 2^doublings), and the distribution of the style if an image gave it."""
        size = tuple(side >> self.doublings for side in source.shape[-2:])
        if self.style_size is None:
            return self.first(resized(source, size)), {}
        extras: dict[str, Tensor] = {}
        if style is None or self.encoder is None:
            z = torch.randn(source.shape[0], self.style_size, device=source.device, dtype=source.dtype)
        else:
            mean, logvar = self.encoder(style)
            z = drawn(mean, logvar) if self.training else mean
            extras = {"style_mean": mean, "style_logvar": logvar}
        x = self.first(z).unflatten(1, (-1, *self.start))
        return F.interpolate(x, size, mode="nearest"), extras  # without a branch, which an export would fix


class SpadeGenerator(nn.Module):
    """One network for each direction, modulated by its own source: labels, or images of any number of channels.

    With *vae* an encoder of the target domain's images gives the network a style. Training draws one from the
    distribution that the encoder finds, evaluation takes its mean. ``style_mean`` and ``style_logvar`` (B, style_size) are
    among the extras where a style image is given; without one, a style is drawn from N(0, 1).

    *size* (height, width), which the core gives, is that of the training images. Only the VAE needs it: the first layer's
    number of weights depends on it. Other sizes work too, by resizing the first map. H and W are multiples of 32, 64 or 128
    for the *upsampling* "normal", "more" or "most".
    """

    small = {"width": 2, "hidden": 4}  # noqa: RUF012

    def __init__(
        self,
        *,
        domains: Mapping[str, Domain],
        directions: tuple[Direction, ...],
        size: tuple[int, int] | None = None,
        width: Annotated[Count, Field(description="Channels at the full size; the first map has 16 times as many.")] = 64,
        hidden: Annotated[Count, Field(description="Channels inside a modulation.")] = 128,
        norm: Annotated[
            Literal["batch", "sync_batch", "instance"],
            Field(description="The norm that is modulated; sync_batch sees all GPUs' batches."),
        ] = "sync_batch",
        kernel: Annotated[Literal[1, 3, 5, 7], Field(description="The side of the modulation's convolutions.")] = 3,
        upsampling: Annotated[
            Literal["normal", "more", "most"], Field(description="Doublings of the first map: 5, 6 (more) or 7 (most).")
        ] = "normal",
        spectral: Annotated[bool, Field(description="Spectral norm of the blocks' convolutions.")] = True,
        vae: Annotated[bool, Field(description="Encode a target image as a style.")] = False,
        style_size: Annotated[Count, Field(description="The length of a style, with vae.")] = 256,
        encoder_width: Annotated[
            Count | None, Field(description="Channels of the style encoder's first layer. Default: width.")
        ] = None,
        init: Init = "xavier",
        init_gain: Gain = 0.02,
    ) -> None:
        super().__init__()
        doublings = DOUBLINGS[upsampling]
        self.divisor, self.norm, self.notes = 2**doublings, norm, notes_on(norm)
        if upsampling == "most" and width < 2:
            raise UserError("'upsampling: most' halves the width in its last block; set 'width' to 2 or more.")
        self.accepts = frozenset({"style"} if vae else ())
        self.exposes = frozenset({"style_mean", "style_logvar"} if vae else ())
        start = self._start(size) if vae else (1, 1)
        self.networks = nn.ModuleDict(
            {
                f"{source}_{target}": SpadeNetwork(
                    domains[source],
                    domains[target],
                    width=width,
                    doublings=doublings,
                    hidden=hidden,
                    kernel=kernel,
                    norm=norm,
                    spectral=spectral,
                    style_size=style_size if vae else None,
                    start=start,
                    encoder_width=width if encoder_width is None else encoder_width,
                )
                for source, target in directions
            }
        )
        self.parts = {"style": tuple(f"networks.{key}.encoder" for key in self.networks if vae)}
        initialise(self, init, init_gain)

    def _start(self, size: tuple[int, int] | None) -> tuple[int, int]:
        """The size of the first map."""
        if size is None:
            raise UserError("with 'vae' it needs the size of the training images, which is not known here.")
        if size[0] % self.divisor or size[1] % self.divisor:
            raise UserError(
                f"the training images are {size[1]} x {size[0]}; with 'vae' both must be multiples of {self.divisor}. Change "
                "the crop."
            )
        return size[0] // self.divisor, size[1] // self.divisor

    def forward(self, x: Tensor, source: str, *targets: str, style: Tensor | None = None) -> Translation:
        """Translate x (B, C, H, W) by the network of each (source, target); *style* is an image of the only target."""
        check_sides(x, self.divisor, 1, "generator 'spade'", "Change the crop or the option 'upsampling'.")
        H, W = x.shape[-2:]
        if self.norm == "instance" and H == self.divisor == W:
            raise UserError(
                f"generator 'spade': an image of {W}x{H} px starts from a single pixel, which instance norm sets to zero. "
                "Use a larger crop, or the option 'norm: batch'."
            )
        if style is not None and (not self.accepts or len(targets) != 1):
            reason = "one target at a time" if self.accepts else "the option 'vae: true', and to be trained with styles"
            raise UserError(f"generator 'spade': a style image needs {reason}.")
        images: dict[str, Tensor] = {}
        extras: dict[str, Tensor] = {}
        for target in targets:
            if f"{source}_{target}" not in self.networks:
                raise UserError(f"generator 'spade': it was not built for the direction from '{source}' to '{target}'.")
            images[target], extras = self.networks[f"{source}_{target}"](x, style)
        return Translation(images, extras)
