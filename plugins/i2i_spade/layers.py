"""The layers of SPADE's networks: B batch, C channels, H height, W width."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from i2i.convolutions import Conv2d, convolved, elsewhere
from i2i.errors import UserError
from i2i.layers import InstanceNorm

Norm = Literal["none", "instance", "batch", "sync_batch"]


class SpectralConv2d(nn.Conv2d):
    """A convolution with its weight divided by an estimate of the weight's largest singular value (Miyato et al. 2018).

    Every forward pass in training mode, also one without gradient, improves the estimate by one power iteration:
    v = W'u / |W'u|, u = Wv / |Wv|, sigma = u'Wv, with W the weight as a matrix (out, in * k * k). The gradient flows
    through sigma; u and v count as constants. Evaluation uses the stored u and v. The function and the names
    ``weight_orig``, ``weight_u``, ``weight_v`` are those of ``torch.nn.utils.spectral_norm``.
    """

    fast = True
    weight_orig: nn.Parameter
    weight_u: Tensor
    weight_v: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, padding: int = 0, bias: bool = True
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, padding, bias=bias)
        weight = self._parameters.pop("weight")
        assert weight is not None
        self.register_parameter("weight_orig", weight)
        rows, columns = weight.flatten(1).shape
        self.register_buffer("weight_u", F.normalize(torch.randn(rows), dim=0, eps=1e-12))
        self.register_buffer("weight_v", F.normalize(torch.randn(columns), dim=0, eps=1e-12))

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The weight before its division: what an initialisation sets."""
        return self.weight_orig

    def forward(self, x: Tensor) -> Tensor:
        assert isinstance(self.padding, tuple)
        if not self.fast:
            return F.conv2d(x, self.normalised_weight(), self.bias, self.stride, self.padding)
        if elsewhere(x) or self._weight_is_smaller(x):
            return convolved(x, self.normalised_weight(), self.bias, self.stride, self.padding, self.training)
        weight, sigma = _WithSigma.apply(self.weight_orig, *self._estimate())
        y: Tensor = convolved(x, weight, None, self.stride, self.padding, self.training) / sigma
        return y if self.bias is None else y.add_(self.bias.view(-1, 1, 1))

    def _weight_is_smaller(self, x: Tensor) -> bool:
        """Than the result (B, C', H', W'), so that it is the cheaper one to divide."""
        positions = len(x) * x.shape[2] * x.shape[3] // (self.stride[0] * self.stride[1])
        return self.weight_orig[0].numel() < positions

    def normalised_weight(self) -> Tensor:
        """weight / sigma (out, in, k, k), after a power iteration in training mode."""
        u, v, sigma = self._estimate()
        if not self.fast:
            with _full_precision(self.weight_orig):
                return self.weight_orig / torch.dot(u, torch.mv(self.weight_orig.flatten(1), v))
        divided: Tensor = _DividedBySigma.apply(self.weight_orig, u, v, sigma)
        return divided

    def _estimate(self) -> tuple[Tensor, Tensor, Tensor]:
        """u, v and sigma without graphs, after a power iteration in training mode."""
        with _full_precision(self.weight_orig), torch.no_grad():
            matrix = self.weight_orig.flatten(1)
            if not self.training:  # copies, as a later pass in training mode changes the buffers before this one's backward
                u, v = self.weight_u.clone(), self.weight_v.clone()
                return u, v, torch.dot(u, torch.mv(matrix, v))
            v = F.normalize(torch.mv(matrix.t(), self.weight_u), dim=0, eps=1e-12)
            product = torch.mv(matrix, v)
            sigma = product.norm()  # u'Wv for the new u
            u = product / sigma.clamp_min(1e-12)
            self.weight_u.copy_(u)
            self.weight_v.copy_(v)
            return u, v, sigma

    def settle(self, iterations: int) -> None:
        """This number of power iterations, for a weight that was not set by training."""
        training = self.training
        self.train()
        with torch.no_grad():
            for _ in range(iterations):
                self.normalised_weight()
        self.train(training)


class _DividedBySigma(torch.autograd.Function):
    """W / sigma, where sigma = u'Wv is given: its gradient in closed form takes fewer passes over W than autograd's.

    With G the gradient of W / sigma, that of W is (G - <G, W> / sigma * u v') / sigma.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, u: Tensor, v: Tensor, sigma: Tensor) -> Tensor:
        ctx.save_for_backward(weight, u, v, sigma)
        return weight / sigma

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        weight, u, v, sigma = ctx.saved_tensors
        with _full_precision(weight):
            matrix, gradient = weight.flatten(1), gradients[0].to(weight.dtype).flatten(1)
            if torch.is_grad_enabled():  # this gradient is differentiated in turn, so sigma has to depend on W
                sigma = torch.dot(u, torch.mv(matrix, v))
            inner = torch.dot(gradient.flatten(), matrix.flatten())
            rank_one = torch.addr(gradient, u * (-inner / sigma), v)
            result = rank_one / sigma if torch.is_grad_enabled() else rank_one.div_(sigma)
        return result.view_as(weight), None, None, None


class _WithSigma(torch.autograd.Function):
    """W and sigma = u'Wv, which is given, for a convolution whose result is divided by sigma instead of W.

    Both gradients of W become one tensor: that of the convolution, to which that of sigma, a multiple of u v', is added.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, u: Tensor, v: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(u, v)
        return weight.view_as(weight), sigma.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        u, v = ctx.saved_tensors
        with _full_precision(u):
            matrix = gradients[0].to(u.dtype).flatten(1)
            add = torch.addr if torch.is_grad_enabled() else Tensor.addr_  # in place: only this function sees the gradient
            return add(matrix, u * gradients[1], v).view_as(gradients[0]), None, None, None


def _full_precision(like: Tensor) -> AbstractContextManager[object]:
    """Without autocast on this device, as sigma in half precision would be too coarse."""
    kind = like.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()


class BatchNorm(nn.BatchNorm2d):
    """Batch norm with running statistics; with *sync*, over the batches of all processes where they train on GPUs.

    It is no ``nn.SyncBatchNorm``, which DDP refuses on CPUs, and computes what that does on GPUs.
    """

    process_group = None
    _check_non_zero_input_channels = nn.SyncBatchNorm._check_non_zero_input_channels

    def __init__(self, channels: int, *, sync: bool, affine: bool) -> None:
        super().__init__(channels, affine=affine)
        self.sync = sync

    def forward(self, x: Tensor) -> Tensor:
        if self.sync and x.is_cuda and processes() > 1:
            return nn.SyncBatchNorm.forward(self, x)  # type: ignore[arg-type]
        if self.training and x.numel() == x.shape[1]:
            raise UserError(
                "spade: batch norm cannot train on one image whose feature map is a single pixel, as every value is its "
                "own mean. Use a larger crop or a larger batch."
            )
        return super().forward(x)


def processes() -> int:
    """The number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def notes_on(norm: Norm) -> tuple[str, ...]:
    """Notes on a norm for the run's log."""
    if norm != "sync_batch" or processes() == 1 or "nccl" in dist.get_backend():
        return ()
    return ("spade: 'norm: sync_batch' shares statistics on GPUs only; here each process takes those of its own batch",)


def normalisation(kind: Norm, channels: int, *, affine: bool) -> nn.Module:
    """A norm layer; instance norm never has parameters, even with *affine*."""
    if kind == "instance":
        return InstanceNorm()
    return nn.Identity() if kind == "none" else BatchNorm(channels, sync=kind == "sync_batch", affine=affine)


class Spade(nn.Module):
    """norm(x) * (1 + gamma) + beta, where gamma and beta are maps made from the source (Park et al. 2019, eq. 1).

    x (B, channels, H, W); the source (B, source_channels, H', W') is resized to x by nearest neighbour. A convolution to
    *hidden* channels with ReLU serves both maps.
    """

    def __init__(self, channels: int, source_channels: int, *, hidden: int, kernel: int, norm: Norm) -> None:
        super().__init__()
        self.norm = normalisation(norm, channels, affine=False)
        self.shared = Conv2d(source_channels, hidden, kernel, padding=kernel // 2)
        self.gamma = Conv2d(hidden, channels, kernel, padding=kernel // 2)
        self.beta = Conv2d(hidden, channels, kernel, padding=kernel // 2)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        h = self.shared(resized(source, x.shape[-2:])).relu_()
        return torch.addcmul(self.beta(h), self.norm(x), 1 + self.gamma(h))


class SpadeBlock(nn.Module):
    """A residual block of two modulated convolutions: (B, in_channels, H, W) to (B, out_channels, H, W).

    Where the channels change, the shortcut is a modulated 1x1 convolution without activation (Park et al. 2019, fig. 4).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        source_channels: int,
        *,
        hidden: int,
        kernel: int,
        norm: Norm,
        spectral: bool,
    ) -> None:
        super().__init__()
        middle = min(in_channels, out_channels)
        changes = in_channels != out_channels
        conv = SpectralConv2d if spectral else Conv2d
        self.conv_0 = conv(in_channels, middle, 3, padding=1)
        self.conv_1 = conv(middle, out_channels, 3, padding=1)
        self.conv_s = conv(in_channels, out_channels, 1, bias=False) if changes else None
        self.norm_0 = Spade(in_channels, source_channels, hidden=hidden, kernel=kernel, norm=norm)
        self.norm_1 = Spade(middle, source_channels, hidden=hidden, kernel=kernel, norm=norm)
        self.norm_s = Spade(in_channels, source_channels, hidden=hidden, kernel=kernel, norm=norm) if changes else None

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        source = resized(source, x.shape[-2:])  # once for all three layers
        h = self.conv_0(F.leaky_relu(self.norm_0(x, source), 0.2, inplace=True))
        h = self.conv_1(F.leaky_relu(self.norm_1(h, source), 0.2, inplace=True))
        shortcut = x if self.conv_s is None or self.norm_s is None else self.conv_s(self.norm_s(x, source))
        y: Tensor = shortcut + h
        return y


class ConvBlock(nn.Module):
    """Convolution, norm, LeakyReLU: (B, C, H, W) to (B, C', H', W'). A convolution in front of a norm has no bias."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int,
        padding: int,
        *,
        norm: Norm,
        spectral: bool,
        activated: bool = True,
    ) -> None:
        super().__init__()
        self.activated = activated
        conv = SpectralConv2d if spectral else Conv2d
        self.conv = conv(in_channels, out_channels, kernel, stride, padding, bias=norm == "none")
        self.norm = normalisation(norm, out_channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x))
        return F.leaky_relu(y, 0.2, inplace=True) if self.activated else y


def resized(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """x (B, C, H, W) at another size (height, width), by nearest neighbour."""
    return x if x.shape[-2:] == size else F.interpolate(x, size, mode="nearest")
