"""3x3 convolutions with half the multiplications, or a quarter: B batch, C channels, H height, W width.

Four neighbouring results of a row and three weights are the coefficients of polynomials; their products are taken at six
points instead of term by term (Toom 1963, Cook 1966; for convolutions Winograd 1980, and Lavin & Gray 2016, "Fast Algorithms
for Convolutional Neural Networks"). For training it is done along the rows only: six convolutions of (3, 1) on maps a quarter
as wide, so 18 multiplications for four results and not 36; with these points the error is less than twice that of an ordinary
convolution. In both directions it is 9 of 36, and the error five times an ordinary one's, still a millionth of the values.
That is for passes without gradients, and for maps of many channels that are neither small nor too large for the caches, as
the transforms move much memory.
"""

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)
"""The finite points; the sixth lies at infinity. Small fractions of opposite signs keep the errors low."""
RESULTS = 4
"""Results at a time; a padded row has a multiple of it and two more pixels."""
LEAST_CHANNELS, LEAST_POSITIONS = 64, 1024
"""With fewer channels or positions the transforms cost more than they save."""
BOTH_CHANNELS, BOTH_POSITIONS = 256, range(2**12, 2**14 + 1)
"""The same for both directions; with more positions the transforms' results overflow the caches."""


def suits(x: Tensor, weight: Tensor, sides: list[int], stride: tuple[int, ...]) -> bool:
    """Whether the convolution of x (B, C, H, W), to maps of these sides, is faster this way."""
    return (
        tuple(weight.shape[2:]) == (3, 3)
        and tuple(stride) == (1, 1)
        and min(weight.shape[:2]) >= LEAST_CHANNELS
        and len(x) * sides[0] * sides[1] >= LEAST_POSITIONS
        and sides[1] % RESULTS == 0
        and not torch.is_autocast_enabled("cpu")  # half precision has instructions of its own, and too few digits for this
        and x.dtype == weight.dtype
        and x.dtype in (torch.float32, torch.float64)
    )


def convolved(x: Tensor, weight: Tensor) -> Tensor:
    """``F.conv2d(x, weight)``: (B, C, H, W) and (C', C, 3, 3) to (B, C', H - 2, W - 2), where W - 2 is a multiple of 4."""
    if not torch.is_grad_enabled() and _suits_both(x, weight):
        return in_both_directions(x, weight)
    y: Tensor = _AtPoints.apply(x, weight)
    return y


def _suits_both(x: Tensor, weight: Tensor) -> bool:
    h, w = x.shape[2] - 2, x.shape[3] - 2
    return min(weight.shape[:2]) >= BOTH_CHANNELS and h % RESULTS == 0 and len(x) * h * w in BOTH_POSITIONS


def in_both_directions(x: Tensor, weight: Tensor) -> Tensor:
    """Pieces of 6 x 6 pixels and the kernel at 36 pairs of points, a product of matrices for each, and 4 x 4 results."""
    inputs, kernel, result = _matrices(x.dtype)
    points, channels = len(kernel), len(weight)
    kernels = torch.kron(kernel, kernel) @ weight.reshape(-1, 9).t()
    pieces = x.unfold(2, points, RESULTS).unfold(3, points, RESULTS)
    b, c, h, w, *_ = pieces.shape
    # One name for all that follows: no more than two of these large tensors are kept at a time.
    made = inputs @ rearrange(pieces, "b c h w i j -> i j (c b h w)")
    made = inputs @ made.view(points, -1)
    made = torch.bmm(kernels.view(-1, channels, c), made.view(points**2, c, -1))
    made = result @ made.view(points, -1)
    made = result @ made.view(RESULTS, points, -1)
    return rearrange(made, "i j (k b h w) -> b k (h i) (w j)", b=b, h=h, w=w)


class _AtPoints(torch.autograd.Function):
    """Keeps x and the weight for the gradients, and not the larger transformed ones."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        made = F.conv2d(_tiles(x), _kernels(weight), groups=len(POINTS) + 1)
        return _rows(made)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        wanted = [*ctx.needs_input_grad, False]
        places = ((1, 1), (0, 0), (1, 1), False, (0, 0), len(POINTS) + 1)
        of_tiles, of_kernels, _ = torch.ops.aten.convolution_backward(
            _rows_adjoint(gradients[0]), _tiles(x), _kernels(weight), None, *places, wanted
        )
        return (
            _tiles_adjoint(of_tiles) if wanted[0] else None,
            _kernels_adjoint(of_kernels, weight.shape) if wanted[1] else None,
        )


def _tiles(x: Tensor) -> Tensor:
    """Overlapping pieces of six pixels of every row, transformed: (B, 6 * C, H, (W - 2) / 4)."""
    pieces = x.unfold(3, RESULTS + 2, RESULTS)
    made = _matrices(x.dtype)[0] @ rearrange(pieces, "b c h n i -> b i (c h n)")
    return rearrange(made, "b p (c h n) -> b (p c) h n", c=x.shape[1], h=x.shape[2])


def _tiles_adjoint(tiles: Tensor) -> Tensor:
    _, _, h, count = tiles.shape
    made = _matrices(tiles.dtype)[0].t() @ rearrange(tiles, "b (p c) h n -> b p (c h n)", p=len(POINTS) + 1)
    pieces = rearrange(made, "b i (c h n) -> b c h n i", h=h, n=count)
    own, next_ones = pieces[..., :RESULTS], pieces[..., RESULTS:]
    # A piece's last two pixels are the first two of the next one.
    summed = F.pad(own, (0, 0, 0, 1)) + F.pad(next_ones, (0, RESULTS - 2, 1, 0))
    return summed.flatten(3)[..., : RESULTS * count + 2].contiguous()


def _kernels(weight: Tensor) -> Tensor:
    """The rows of the kernel at the six points: (6 * C', C, 3, 1)."""
    rows = _matrices(weight.dtype)[1] @ weight.reshape(-1, 3).t()
    return rows.view(-1, weight.shape[1], 3, 1)


def _kernels_adjoint(kernels: Tensor, shape: torch.Size) -> Tensor:
    return (kernels.view(len(POINTS) + 1, -1).t() @ _matrices(kernels.dtype)[1]).view(shape)


def _rows(made: Tensor) -> Tensor:
    """Products (B, 6 * C', H, count) to rows (B, C', H, 4 * count)."""
    _, _, h, count = made.shape
    four = _matrices(made.dtype)[2] @ rearrange(made, "b (p k) h n -> b p (k h n)", p=len(POINTS) + 1)
    return rearrange(four, "b r (k h n) -> b k h (n r)", h=h, n=count)


def _rows_adjoint(rows: Tensor) -> Tensor:
    made = _matrices(rows.dtype)[2].t() @ rearrange(rows, "b k h (n r) -> b r (k h n)", r=RESULTS)
    return rearrange(made, "b p (k h n) -> b (p k) h n", k=rows.shape[1], h=rows.shape[2])


@cache
def _matrices(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """For the input (6, 6), the kernel (6, 3) and the result (4, 6): y = R ((K g) * (I d)), Lavin & Gray 2016, eq. 6.

    With V(n) the powers 0 to n - 1 of the points, and for infinity the highest power alone: K = V(3), R = V(4)', and I =
    V(6)'^-1. Each row of I is scaled to absolute values of 2 in all, and that of K inversely, which balances the errors.
    """
    with torch.inference_mode(False), torch.no_grad():
        powers = [torch.tensor(POINTS, dtype=torch.double).unsqueeze(1) ** torch.arange(n) for n in (3, RESULTS, RESULTS + 2)]
        ends = [torch.eye(n, dtype=torch.double)[-1:] for n in (3, RESULTS, RESULTS + 2)]
        kernel, result, full = (torch.cat(pair) for pair in zip(powers, ends, strict=True))
        inputs = torch.linalg.inv(full).t()
        scale = 2 / inputs.abs().sum(1, keepdim=True)
        return (inputs * scale).to(dtype), (kernel / scale).to(dtype), result.t().to(dtype).contiguous()
