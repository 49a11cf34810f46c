"""The layers of UNIT's networks: B batch, C channels, H height, W width."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from i2i.convolutions import Conv2d, convolved
from i2i.layers import InstanceNorm

Activation = Literal["relu", "leaky_relu", "prelu", "selu", "tanh"]
Norm = Literal["none", "instance", "layer", "batch"]
Padding = Literal["reflect", "replicate", "zeros"]


class LayerNorm(nn.Module):
    """(x - mean) / (std + eps) over C, H, W of each sample, then gamma and beta for each channel; keeps (B, C, H, W).

    std is the unbiased one (n - 1), and eps is added to it and not to the variance, so this is not ``nn.LayerNorm``
    (Ba et al. 2016). gamma starts uniform in (0, 1), as published.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.rand(channels))
        self.beta = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(torch.promote_types(x.dtype, torch.float32))  # statistics in half precision would be too coarse
        n = x[0].numel()
        if torch.compiler.is_exporting():  # fewer operations, for the runtimes of other programs
            apart = x - x.mean((1, 2, 3), keepdim=True)
            std = (apart.square().mean((1, 2, 3), keepdim=True) * (n / (n - 1))).sqrt()
            return torch.addcmul(self.beta.view(1, -1, 1, 1), apart, self.gamma.view(1, -1, 1, 1) / (std + self.eps))
        std = torch.std(x, dim=(1, 2, 3), keepdim=True)
        # A group norm divides by sqrt(biased variance + eps); multiplying by the same root undoes that.
        root = (std.square() * ((n - 1) / n) + self.eps).sqrt()
        scale = self.gamma.view(1, -1, 1, 1) * (root / (std + self.eps))
        return torch.addcmul(self.beta.view(1, -1, 1, 1), F.group_norm(x, 1, eps=self.eps), scale)


class UpsamplingConv(nn.Conv2d):
    """Nearest-neighbour x2, reflection padding of 2, 5x5 convolution: (B, C, H, W) to (B, C', 2H, 2W), H, W >= 2.

    Computed exactly as a 3x3 convolution at the low resolution, which does 2.8 times fewer multiplications. Of the five
    taps over doubled pixels u[j] = x[j // 2], an even output row sees x[m-1] twice, x[m] twice and x[m+1] once; an odd
    one x[m-1] once, x[m] twice and x[m+1] twice. Sums of taps give one 3x3 kernel for each of the four phases, which a
    pixel shuffle interleaves. At the border the low resolution is padded by repeating its edge. That equals reflection
    (u[-1] = x[0], u[-2] = x[1]) but for the outermost tap of the outermost row and column: ``_mend`` puts that right.
    """

    fast = True

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 5)
        taps = torch.tensor(
            [[[1.0, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1]], [[1, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 1, 1]]],
            device="cpu",  # on the meta device torch would take a second for the next line
        )  # phase, low-resolution tap, original tap
        both = torch.einsum("pay,qbx->yxpqab", taps, taps).reshape(25, 36)
        self.register_buffer("taps", both.to(self.weight.device), persistent=False)
        self.taps: Tensor

    def forward(self, x: Tensor) -> Tensor:
        if not self.fast:
            return super().forward(F.pad(F.interpolate(x, scale_factor=2.0, mode="nearest"), (2, 2, 2, 2), mode="reflect"))
        kernel = rearrange(self.weight.flatten(2) @ self.taps, "o c (phase y x) -> (o phase) c y x", y=3, x=3)
        bias = None if self.bias is None else self.bias.repeat_interleave(4)
        padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
        y = convolved(padded, kernel, bias, (1, 1), (0, 0), self.training)
        return self._mend(F.pixel_shuffle(y, 2), x)

    def _mend(self, y: Tensor, x: Tensor) -> Tensor:
        w = self.weight
        y[:, :, 0].add_(_line(x[:, :, 1] - x[:, :, 0], w[:, :, 0], "reflect"))
        y[:, :, -1].add_(_line(x[:, :, -2] - x[:, :, -1], w[:, :, 4], "reflect"))
        y[..., 0].add_(_line(x[..., 1] - x[..., 0], w[..., 0], "replicate"))
        y[..., -1].add_(_line(x[..., -2] - x[..., -1], w[..., 4], "replicate"))
        return y


def _line(difference: Tensor, weight: Tensor, padding: str) -> Tensor:
    """One border of the correction: (B, C, L) doubled, padded, and convolved with (C', C, 5) to (B, C', 2L)."""
    return F.conv1d(F.pad(difference.repeat_interleave(2, dim=2), (2, 2), mode=padding), weight)


class Block(nn.Module):
    """Padding, convolution with a bias, norm, activation: (B, C, H, W) to (B, C', H', W')."""

    def __init__(self, conv: nn.Conv2d, norm: Norm, activation: nn.Module) -> None:
        super().__init__()
        self.conv = conv
        self.norm = normalisation(norm, conv.out_channels)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.activation(self.norm(self.conv(x)))
        return y


class ResidualBlocks(nn.Module):
    """x + f(x), several times; f is two normalised 3x3 blocks, the second without activation."""

    def __init__(self, channels: int, count: int, norm: Norm, padding: Padding, activation: Activation) -> None:
        super().__init__()
        self.model = nn.Sequential(*(Residual(channels, norm, padding, activation) for _ in range(count)))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.model(x)
        return y


class Residual(nn.Module):
    """x + f(x), keeping (B, C, H, W)."""

    def __init__(self, channels: int, norm: Norm, padding: Padding, activation: Activation) -> None:
        super().__init__()
        self.model = nn.Sequential(
            Block(convolution(channels, channels, 3, padding=padding), norm, activation_layer(activation)),
            Block(convolution(channels, channels, 3, padding=padding), norm, nn.Identity()),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.model(x)
        return y

    @property
    def last_gain(self) -> Tensor:
        """The gain of f's last norm, which has one if it is a layer norm."""
        norm: Any = self.model[1].norm
        gain: Tensor = norm.gamma
        return gain


def convolution(in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, padding: Padding) -> nn.Conv2d:
    """A convolution that keeps the size, or halves it with stride 2 and kernel 4."""
    return Conv2d(in_channels, out_channels, kernel, stride, (kernel - 1) // 2, padding_mode=padding)


def normalisation(kind: Norm, channels: int) -> nn.Module:
    if kind == "instance":
        return InstanceNorm()
    if kind == "layer":
        return LayerNorm(channels)
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.Identity()


def activation_layer(kind: Activation) -> nn.Module:
    if kind in ("relu", "leaky_relu"):  # in place, as nothing else looks at what a block's norm returns
        return nn.ReLU(inplace=True) if kind == "relu" else nn.LeakyReLU(0.2, inplace=True)
    layers: dict[str, type[nn.Module]] = {"prelu": nn.PReLU, "selu": nn.SELU, "tanh": nn.Tanh}
    return layers[kind]()
