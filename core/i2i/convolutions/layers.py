"""Convolutions that use the fastest of several equivalent algorithms on CPUs: B batch, C channels, H height, W width.

Parameters and their names are those of torch's layers. Each layer has an attribute ``fast``; if it is false, on other
devices, and in compiled and exported programs, they use torch's own algorithm.
"""

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from i2i.convolutions import winograd

FEW_POSITIONS = 64
"""Up to this number of positions in the whole batch, reading the weight dominates the cost of a convolution."""
PARTS = 8
"""A product of few rows with a large matrix is faster as this number of products with parts of the matrix."""
FEW_CHANNELS, LARGE_KERNEL = 4, 5
"""With at most this number of channels and at least this kernel size, two passes are faster."""


class Conv2d(nn.Conv2d):
    """``nn.Conv2d``: (B, C, H, W) to (B, C', H', W'); ``fast = False`` turns off its faster ways."""

    fast = True

    def forward(self, x: Tensor) -> Tensor:
        if not self.fast or elsewhere(x) or self.groups > 1 or self.dilation != (1, 1) or isinstance(self.padding, str):
            return super().forward(x)
        padding = self.padding
        if self.padding_mode != "zeros" and padding != (0, 0):
            (rows, columns), padding = padding, (0, 0)
            x = F.pad(x, (columns, columns, rows, rows), mode=self.padding_mode)
        return convolved(x, self.weight, self.bias, self.stride, padding, self.training)


class ConvTranspose2d(nn.ConvTranspose2d):
    """``nn.ConvTranspose2d``: (B, C, H, W) to (B, C', H', W'); ``fast = False`` turns off its faster way."""

    fast = True

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        ordinary = self.groups == 1 and self.dilation == (1, 1) and output_size is None
        if self.fast and ordinary and not elsewhere(x) and _positions(x) <= FEW_POSITIONS:
            return self._as_product(x)
        return super().forward(x, output_size)

    def _as_product(self, x: Tensor) -> Tensor:
        """Every position times the weight, a matrix (C, C' * k * k); the overlapping patches are summed."""
        b, c, h, w = x.shape
        rows: Tensor = _Rows.apply(x)
        patches = _product(rows.view(b * h * w, c), self.weight.flatten(1))
        size = [
            (side - 1) * self.stride[i] - 2 * int(self.padding[i]) + self.kernel_size[i] + self.output_padding[i]
            for i, side in enumerate((h, w))
        ]
        columns = patches.view(b, h * w, -1).transpose(1, 2)
        y = F.fold(columns, size, self.kernel_size, padding=self.padding, stride=self.stride)  # type: ignore[arg-type]
        return y if self.bias is None else y + self.bias.to(y.dtype).view(-1, 1, 1)


class _Rows(torch.autograd.Function):
    """(B, C, H, W) to (B, H * W, C), with a gradient that is laid out as x: norms on CPUs get the other one wrong."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.sides = x.shape[2:]
        return x.flatten(2).transpose(1, 2).contiguous()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].transpose(1, 2).contiguous()
        return gradient.view(*gradient.shape[:2], *ctx.sides)


def elsewhere(x: Tensor) -> bool:
    """Whether the ways of CPUs are not for this place: another device, a compiler, an exporter."""
    return x.device.type != "cpu" or torch.compiler.is_compiling()


def convolved(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, ...], padding: tuple[int, ...], training: bool
) -> Tensor:
    """``F.conv2d`` with zeros around x, in the cheapest of four ways.

    Winograd's is not used in evaluation with gradients: its rounding depends on some neighbouring pixels, and tiling uses
    gradients to measure on which pixels a result depends.
    """
    if elsewhere(x):
        return F.conv2d(x, weight, bias, stride, padding)
    sides = [(x.shape[2 + i] + 2 * padding[i] - weight.shape[2 + i]) // stride[i] + 1 for i in range(2)]
    if len(x) * sides[0] * sides[1] <= FEW_POSITIONS:
        return _as_product(x, weight, bias, stride, padding, sides)
    if len(weight) <= FEW_CHANNELS and min(weight.shape[2:]) >= LARGE_KERNEL and tuple(stride) == (1, 1):
        return _by_columns(x, weight, bias, padding)
    if (training or not torch.is_grad_enabled()) and winograd.suits(x, weight, sides, stride):
        made = winograd.convolved(F.pad(x, (padding[1], padding[1], padding[0], padding[0])) if any(padding) else x, weight)
        return made if bias is None else made.add_(bias.view(-1, 1, 1))
    return F.conv2d(x, weight, bias, stride, padding)


def _as_product(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, ...], padding: tuple[int, ...], sides: list[int]
) -> Tensor:
    """Every patch times the weight, a matrix (C', C * k * k) that is used as it lies in memory.

    The library's convolution first brings a large weight into an order of its own, at each call and again for both
    gradients, which for a small map costs many times what the multiplication does.
    """
    patches = F.unfold(x, weight.shape[2:], padding=padding, stride=stride).transpose(1, 2)
    rows = _product(patches.flatten(0, 1), weight.flatten(1).t()).view(len(x), -1, len(weight))
    y = rows.transpose(1, 2).contiguous()  # else it looks channels_last, which norms on CPUs get wrong
    y = y.view(len(x), -1, *sides)
    return y if bias is None else y + bias.to(y.dtype).view(-1, 1, 1)


def _product(rows: Tensor, matrix: Tensor) -> Tensor:
    """``rows @ matrix``: (M, K) and (K, N) to (M, N), where M is small."""
    if torch.is_autocast_enabled("cpu"):
        return rows @ matrix
    y: Tensor = _Product.apply(rows, matrix)
    return y


class _Product(torch.autograd.Function):
    """In parts, but for the matrix's gradient: to put that together from parts would copy something as large as the weight."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, matrix: Tensor) -> Tensor:
        ctx.save_for_backward(rows, matrix)
        return _in_parts(rows, matrix)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        rows, matrix = ctx.saved_tensors
        of_rows, of_matrix = ctx.needs_input_grad
        return (
            _in_parts(gradients[0], matrix.t()) if of_rows else None,
            _laid_out_as(matrix, rows, gradients[0]) if of_matrix else None,
        )


def _laid_out_as(matrix: Tensor, rows: Tensor, gradient: Tensor) -> Tensor:
    """``rows.t() @ gradient`` in the matrix's order in memory, so that it need not be copied into the weight's."""
    return rows.t() @ gradient if matrix.is_contiguous() else (gradient.t() @ rows).t()


def _in_parts(rows: Tensor, matrix: Tensor) -> Tensor:
    if len(rows) == 1 or matrix.shape[1] % PARTS:
        return rows @ matrix
    parts = torch.unflatten(matrix, 1, (PARTS, -1)).transpose(0, 1)
    return torch.bmm(rows.expand(PARTS, -1, -1), parts).transpose(0, 1).flatten(1)


def _by_columns(x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, ...]) -> Tensor:
    """A (k, 1) convolution for each column of the kernel, as C' * k channels at once; then the shifted results' sum.

    The library computes at least eight or sixteen channels, of which a convolution to three would waste most.
    """
    k = weight.shape[3]
    x = F.pad(x, (padding[1], padding[1])) if padding[1] else x
    made = F.conv2d(x, rearrange(weight, "o c y x -> (o x) c y 1"), padding=(padding[0], 0))
    made = rearrange(made, "b (o x) h w -> b o x h w", x=k)
    width = x.shape[3] - k + 1
    y = torch.stack([made[:, :, i, :, i : i + width] for i in range(k)]).sum(0)
    return y if bias is None else y.add_(bias.view(-1, 1, 1))


def _positions(x: Tensor) -> int:
    return len(x) * x.shape[2] * x.shape[3]
