"""UNIT's networks: one variational autoencoder for each domain, and a discriminator at several scales.

Liu, Breuel, Kautz: Unsupervised Image-to-Image Translation Networks, NeurIPS 2017, as in its later PyTorch program.
B batch, C channels, H height, W width; images in [-1, 1] or one-hot labels.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from i2i.errors import UserError
from i2i.init import Gain, Init, initialise
from i2i.layers import Count, check_sides, judged_at_scales, judged_channels, output_activation, with_condition
from i2i.protocols import Direction, Domain, Translation, Verdict
from i2i_unit.layers import (
    Activation,
    Block,
    LayerNorm,
    Norm,
    Padding,
    Residual,
    ResidualBlocks,
    UpsamplingConv,
    activation_layer,
    convolution,
)

GAIN: dict[Init, float] = {"normal": 0.02, "xavier": 2**0.5, "kaiming": 1.0, "orthogonal": 2**0.5}


class Encoder(nn.Module):
    """(B, C, H, W) to the mean of the latent (B, width * 2^downs, H / 2^downs, W / 2^downs)."""

    def __init__(
        self,
        channels: int,
        width: int,
        downs: int,
        blocks: int,
        norm: Norm,
        padding: Padding,
        activation: Activation,
        first_norm: Norm,
    ) -> None:
        super().__init__()
        first = convolution(channels, width, 7, padding=padding)
        layers: list[nn.Module] = [Block(first, first_norm, activation_layer(activation))]
        for c in (width * 2**i for i in range(downs)):
            conv = convolution(c, 2 * c, 4, stride=2, padding=padding)
            layers.append(Block(conv, norm, activation_layer(activation)))
        layers.append(ResidualBlocks(width * 2**downs, blocks, norm, padding, activation))
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.model(x)
        return h


class Decoder(nn.Module):
    """(B, width * 2^downs, h, w) to an image or to label probabilities (B, C, h * 2^downs, w * 2^downs)."""

    def __init__(
        self, domain: Domain, width: int, downs: int, blocks: int, norm: Norm, padding: Padding, activation: Activation
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [ResidualBlocks(width * 2**downs, blocks, norm, padding, activation)]
        for c in (width * 2**i for i in range(downs, 0, -1)):
            # Two entries for each step, as published: with reflection padding the convolution doubles the size itself.
            fused = padding == "reflect"
            layers.append(nn.Identity() if fused else nn.Upsample(scale_factor=2, mode="nearest"))
            conv = UpsamplingConv(c, c // 2) if fused else convolution(c, c // 2, 5, padding=padding)
            layers.append(Block(conv, "layer", activation_layer(activation)))
        layers.append(Block(convolution(width, domain.channels, 7, padding=padding), "none", output_activation(domain)))
        self.model = nn.Sequential(*layers)

    def forward(self, h: Tensor) -> Tensor:
        x: Tensor = self.model(h)
        return x


class UnitGenerator(nn.Module):
    """One autoencoder for each domain; the latent means the same in both (Liu et al. 2017, section 3 and fig. 1).

    Training decodes mean + N(0, noise^2), evaluation decodes the mean; *noise* is 1 as published, and less gives sharper
    pictures in short runs. Both extras are the mean,
    (B, width * 2^downs, H / 2^downs, W / 2^downs). Only the encoders of sources and the decoders of targets exist.

    *norm* is that of the encoder and the residual blocks. Instance norm, as published, forgets how light a plain image is;
    ``layer`` keeps the channels' levels apart, for domains in which colour carries the meaning.

    With *brightness_start* all autoencoders start as the same one, which passes on how light each pixel is: the first
    convolution has the same weight for every channel and no norm after it, every residual block is the identity (its last
    gain is 0; Goyal et al. 2017, section 5.1), and the last convolution is the first one's transpose (tied weights, Vincent
    et al. 2010, section 2.2). From random weights a translation that swaps light and dark is as likely as the other, and
    cycle consistency then keeps it. It is for pictures, and needs ``norm: layer`` and ``downs: 0``.
    """

    exposes: frozenset[str] = frozenset({"mean", "latent"})
    accepts: frozenset[str] = frozenset({"latent"})
    small = {"width": 4, "blocks": 1}  # noqa: RUF012

    def __init__(
        self,
        *,
        domains: Mapping[str, Domain],
        directions: tuple[Direction, ...],
        width: Annotated[Count, Field(description="Channels at the full size; each halving doubles them.")] = 64,
        downs: Annotated[int, Field(ge=0, le=12, description="The number of halvings of the size.")] = 2,
        blocks: Annotated[int, Field(ge=0, description="Residual blocks in the encoder, and again in the decoder.")] = 4,
        norm: Annotated[
            Literal["instance", "layer"], Field(description="The norm of the encoder and of the residual blocks.")
        ] = "instance",
        padding: Annotated[Padding, Field(description="How convolutions pad the border.")] = "reflect",
        activation: Annotated[Activation, Field(description="The activation of all layers but the last.")] = "relu",
        init: Init = "kaiming",
        init_gain: Annotated[Gain | None, Field(description="The scale of the initial weights. Default: that of init.")] = None,
        noise: Annotated[float, Field(ge=0, description="The deviation of the latent's noise in training.")] = 1.0,
        brightness_start: Annotated[bool, Field(description="Start with networks that pass on brightness.")] = False,
    ) -> None:
        super().__init__()
        if brightness_start and (norm != "layer" or downs or any(domain.kind == "labels" for domain in domains.values())):
            raise UserError("'brightness_start' is for pictures, and needs 'norm: layer' and 'downs: 0'.")
        first_norm: Norm = "none" if brightness_start else norm
        self.noise = noise
        self.divisor = 2**downs
        self.smallest = max(4, 2 * self.divisor)
        self.vaes = nn.ModuleDict()
        for key, domain in domains.items():
            vae = nn.ModuleDict()
            if any(key == source for source, _ in directions):
                vae["enc"] = Encoder(domain.channels, width, downs, blocks, norm, padding, activation, first_norm)
            if any(key == target for _, target in directions):
                vae["dec"] = Decoder(domain, width, downs, blocks, norm, padding, activation)
            self.vaes[key] = vae
        initialise(self, init, GAIN[init] if init_gain is None else init_gain)
        if norm == "layer":
            self._start_with_unit_gain()
        if brightness_start:
            self._start_with_brightness()

    def _start_with_unit_gain(self) -> None:
        """gamma = 1 in encoders and residual blocks: published gammas in (0, 1) leave a latent that its noise drowns."""
        for module in self.modules():
            if isinstance(module, Encoder | ResidualBlocks):
                for norm in (m for m in module.modules() if isinstance(m, LayerNorm)):
                    nn.init.ones_(norm.gamma)

    @torch.no_grad()
    def _start_with_brightness(self) -> None:
        """Equal autoencoders; before the last activation each channel is, on average over weights, the mean of the channels.

        That is for ``relu``; other activations give another contrast.
        """
        first, *others = (dict(vae.named_parameters()) for vae in self.vaes.values())
        for name, parameter in ((n, p) for other in others for n, p in other.items()):
            if name in first and first[name].shape == parameter.shape:
                parameter.copy_(first[name])
        for block in (m for m in self.modules() if isinstance(m, Residual)):
            nn.init.zeros_(block.last_gain)
        entries = [_convolutions(m)[0] for m in self.modules() if isinstance(m, Encoder)]
        exits = [_convolutions(m)[-1] for m in self.modules() if isinstance(m, Decoder)]
        kernel = entries[0].weight.sum(1, keepdim=True)
        # A plain picture of brightness v becomes relu(k v) with k = sum(kernel), and leaves as the sum of k relu(k v).
        gain = kernel.sum((2, 3)).square().sum() / 2
        for conv in entries:
            conv.weight.copy_(kernel.expand_as(conv.weight) / conv.in_channels)
        for conv in exits:
            conv.weight.copy_((kernel.flip(2, 3) / gain).transpose(0, 1).expand_as(conv.weight))

    def forward(self, x: Tensor, source: str, *targets: str, latent: Tensor | None = None) -> Translation:
        """Translate x (B, C, H, W). With *latent*, an earlier ``extras["latent"]``, x is ignored.

        One noise sample serves every target.
        """
        mean = self._encode(x, source) if latent is None else latent
        h = mean + self.noise * torch.randn_like(mean) if self.training and targets and self.noise else mean
        images = {target: self._part(target, "dec")(h) for target in targets}
        return Translation(images, {"mean": mean, "latent": mean})

    def _encode(self, x: Tensor, source: str) -> Tensor:
        check_sides(x, self.divisor, self.smallest, "generator 'unit'", "Change the crop or the option 'downs'.")
        mean: Tensor = self._part(source, "enc")(x)
        return mean

    def _part(self, key: str, part: str) -> nn.Module:
        try:
            return self.vaes.get_submodule(f"{key}.{part}")
        except AttributeError:
            role = "source" if part == "enc" else "target"
            raise UserError(f"generator 'unit': '{key}' is a {role} in none of the directions it was built for") from None


def _convolutions(part: nn.Module) -> list[nn.Conv2d]:
    return [module for module in part.modules() if isinstance(module, nn.Conv2d)]


class MultiscaleDiscriminator(nn.Module):
    """For each domain, one patch discriminator at each scale, every scale half the size of the one before.

    Wang et al. 2018 (pix2pixHD), section 3.2, in UNIT's form: 4x4 convolutions with stride 2, a last 1x1 convolution.
    The scales share no weights. A condition is concatenated before the image: (B, C_condition + C, H, W).
    """

    exposes: frozenset[str] = frozenset({"features"})
    small = {"width": 4}  # noqa: RUF012

    def __init__(
        self,
        *,
        domains: Mapping[str, Domain],
        conditions: Mapping[str, Domain],
        width: Annotated[Count, Field(description="Channels of the first layer; each other one doubles them.")] = 64,
        layers: Annotated[Count, Field(description="Convolutions before the logits, which halve the size.")] = 4,
        scales: Annotated[Count, Field(description="Judges, each of images half the size of the one before.")] = 3,
        norm: Annotated[Norm, Field(description="The norm of all layers but the first and the logits.")] = "none",
        padding: Annotated[Padding, Field(description="How convolutions pad the border.")] = "reflect",
        activation: Annotated[Activation, Field(description="The activation of all layers but the logits.")] = "leaky_relu",
        init: Init = "normal",
        init_gain: Annotated[Gain | None, Field(description="The scale of the initial weights. Default: that of init.")] = None,
    ) -> None:
        super().__init__()
        self.smallest = (2**layers - 1) * 2 ** (scales - 1) + 1
        self.judges = nn.ModuleDict()
        for key, channels in judged_channels(domains, conditions).items():
            cnns = [_patch_judge(channels, width, layers, norm, padding, activation) for _ in range(scales)]
            self.judges[key] = nn.ModuleDict({"cnns": nn.ModuleList(cnns)})
        initialise(self, init, GAIN[init] if init_gain is None else init_gain)

    def forward(self, image: Tensor, domain: str, condition: Tensor | None = None) -> Verdict:
        """Judge image (B, C, H, W). For each scale: ``layers`` feature maps, then the logits (B, 1, h, w)."""
        remedy = "Use a larger crop, or fewer 'scales' or 'layers'."
        check_sides(image, 1, self.smallest, "discriminator 'multiscale'", remedy)
        x = with_condition(image, condition)
        return judged_at_scales(self.judges.get_submodule(f"{domain}.cnns").children(), x)


def _patch_judge(channels: int, width: int, layers: int, norm: Norm, padding: Padding, activation: Activation) -> nn.Sequential:
    blocks: list[nn.Module] = []
    for i in range(layers):
        conv = convolution(channels if i == 0 else width * 2 ** (i - 1), width * 2**i, 4, stride=2, padding=padding)
        blocks.append(Block(conv, "none" if i == 0 else norm, activation_layer(activation)))
    return nn.Sequential(*blocks, nn.Conv2d(width * 2 ** (layers - 1), 1, 1))
