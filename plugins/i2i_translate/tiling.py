"""Images larger than memory allows, in tiles whose result equals the whole image's.

Every tile is surrounded by a margin, the farthest that a pixel of the result looks, which is measured; only its core is
kept. Statistics over the whole image are collected first, in one pass for each (``i2i_translate.statistics``). Networks
that see the whole image in another way, or draw noise for every pixel otherwise than by ``i2i.randomness.noise_like``, cannot
be tiled: a rehearsal on a strip finds that out.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from i2i.errors import UserError
from i2i.randomness import part_of_a_picture
from i2i_translate.statistics import Statistics, TileDoneError


class CannotTileError(UserError):
    """The model sees more of an image than tiles can give it."""


Run = Callable[[Tensor], Tensor]
"""The network: (1, C, h, w) to (1, C', h, w), for sides that are multiples of its divisor."""
Read = Callable[[int, int, int, int], Tensor]
"""(top, bottom, left, right) to that part of the network's input, (1, C, h, w)."""
Write = Callable[[int, int, Tensor], None]
"""Takes (top, left, part of the result (1, C', h, w))."""

TOLERANCE = 1e-4
"""The largest difference between tiles and the whole that a rehearsal accepts, for values in [-1, 1]."""
FARTHEST = 2048
"""A network whose pixels look farther than about half of this is not tiled."""


@dataclass(frozen=True)
class Window:
    """A core of a tile in the padded image, and the tile: the core with its margin, cut at the image's edges."""

    top: int
    bottom: int
    left: int
    right: int
    outer: tuple[int, int, int, int]

    @property
    def core(self) -> tuple[int, int, int, int]:
        """The core's place in the tile."""
        top, _, left, _ = self.outer
        return self.top - top, self.bottom - top, self.left - left, self.right - left

    @property
    def size(self) -> tuple[int, int]:
        top, bottom, left, right = self.outer
        return bottom - top, right - left


def windows(height: int, width: int, tile: int, margin: int, divisor: int) -> Iterator[Window]:
    """Windows that cover an image whose sides are multiples of the divisor, as is the margin."""
    for top, bottom in _cells(height, tile, divisor):
        for left, right in _cells(width, tile, divisor):
            rows = (max(0, top - margin), min(height, bottom + margin))
            yield Window(top, bottom, left, right, (*rows, max(0, left - margin), min(width, right + margin)))


def _cells(size: int, tile: int, divisor: int) -> Iterator[tuple[int, int]]:
    """Parts of nearly equal size, none larger than a tile rounded up to the divisor."""
    units = size // divisor
    count = -(-units // max(1, -(-tile // divisor)))
    for i in range(count):
        yield i * units // count * divisor, (i + 1) * units // count * divisor


def in_tiles(run: Run, read: Read, write: Write, places: list[Window], divisor: int) -> int:
    """Run the network tile by tile; returns the number of passes over the image.

    Raises:
        CannotTileError: the tiles do not take the same way through the network.
    """
    statistics, passes = Statistics(divisor), 0
    while True:
        passes += 1
        stopped = 0
        for window in places:
            x = read(*window.outer)
            statistics.begin(window.core, window.size)
            top, bottom, left, right = window.core
            try:
                with statistics, part_of_a_picture(window.outer[0], window.outer[2], *window.size):
                    made = run(x)
            except TileDoneError:
                stopped += 1
            else:
                write(window.top, window.left, made[:, :, top:bottom, left:right])
        if stopped == 0:
            return passes
        if stopped < len(places):
            raise CannotTileError("the model cannot translate in tiles: its network treats tiles in different ways.")
        statistics.pass_ended()


def margin_of(run: Run, example: Tensor, divisor: int) -> int:
    """How far a pixel of the result looks, rounded up to the divisor; measured by gradients on strips.

    ``example`` (1, C, h, w) tells the channels and the device.

    Raises:
        CannotTileError: it looks too far.
    """
    found = max(_reach(run, example, divisor, axis) for axis in (2, 3))
    return -(-found // divisor) * divisor


def _reach(run: Run, example: Tensor, divisor: int, axis: int) -> int:
    length = max(64, 4 * divisor)
    across = max(16, 2 * divisor)
    across = -(-across // divisor) * divisor
    while length <= FARTHEST:
        length = -(-length // divisor) * divisor
        shape = [1, example.shape[1], across, across]
        shape[axis] = length
        middle = length // 2 // divisor * divisor
        rows = _touched(run, torch.rand(shape, device=example.device) * 2 - 1, axis, middle, divisor)
        if rows and rows[0] > 0 and rows[-1] < length - 1:
            return max(middle - rows[0], rows[-1] + 1 - (middle + divisor), 0)
        length *= 2
    raise CannotTileError(
        f"the model cannot translate in tiles: a pixel of its result looks {FARTHEST // 2} pixels away or farther, or at the "
        "whole image. Translate without tiles."
    )


def _touched(run: Run, x: Tensor, axis: int, middle: int, count: int) -> list[int]:
    """The rows (axis 2) or columns (axis 3) of x that *count* of the result, from *middle* on, depend on."""
    frozen = Statistics(count, frozen=True)
    with torch.enable_grad():
        x = x.requires_grad_()
        frozen.begin((0, *x.shape[2:3], 0, *x.shape[3:4]), (x.shape[2], x.shape[3]))
        with frozen:
            made = run(x)
        part = made.narrow(axis, middle, count)
        (gradient,) = torch.autograd.grad(part, x, torch.rand_like(part) + 0.5)
    other = 5 - axis
    return [int(i) for i in (gradient != 0).any(other).any(1).flatten().nonzero().flatten()]


def rehearse(run: Run, examples: Iterable[Tensor], margin: int, divisor: int) -> float:
    """The largest difference between tiles and the whole on a strip that is longer than a tile.

    Each example (1, C, h, w) is repeated to fill it; one on which they are equal is enough. A picture of a single colour alone
    would say nothing: its channels hardly vary, and norms make the rounding of what is left as large as any picture.

    Raises:
        CannotTileError: they differ by more than the tolerance on every example.
    """
    core = max(divisor, -(-16 // divisor) * divisor)
    height, width = 2 * margin + 3 * core, max(2 * divisor, -(-16 // divisor) * divisor)
    difference = float("inf")
    for example in examples:
        times = [-(-height // example.shape[2]), -(-width // example.shape[3])]
        strip = example.repeat(1, 1, *times)[:, :, :height, :width]
        difference = _difference(run, strip, list(windows(height, width, height - margin - core, margin, divisor)), divisor)
        if difference <= TOLERANCE:
            return difference
    raise CannotTileError(
        f"the model cannot translate in tiles: on a strip they differ from the whole by {difference:.2g}, and "
        f"{TOLERANCE:.0e} is allowed. It sees the whole image by other ways than norms, or draws noise for every pixel "
        "otherwise than by i2i.randomness.noise_like."
    )


def _difference(run: Run, strip: Tensor, places: list[Window], divisor: int) -> float:
    with torch.no_grad():
        whole = run(strip)
        tiled = torch.zeros_like(whole)

        def write(top: int, left: int, part: Tensor) -> None:
            tiled[:, :, top : top + part.shape[2], left : left + part.shape[3]] = part

        in_tiles(run, lambda top, bottom, left, right: strip[:, :, top:bottom, left:right], write, places, divisor)
    return float((whole - tiled).abs().max())
