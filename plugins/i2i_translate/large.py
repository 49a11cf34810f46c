"""Large images through a translator, tile by tile: memory holds the picture, its result, and one tile's network."""

from collections.abc import Mapping
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from PIL import Image
from torch import Tensor, nn

from i2i.conversion import reflected
from i2i.labels import to_network
from i2i.pictures import to_picture
from i2i.preparation import finished
from i2i.protocols import Domain
from i2i.randomness import seeded
from i2i.tiling import CannotTileError, in_tiles, margin_of, rehearse, windows
from i2i.together import Network

__all__ = ["AUTOMATIC", "TILE", "CannotTileError", "Canvas", "tiled"]

AUTOMATIC = 2**22
"""Images of more pixels go through in tiles, if the model can, unless the caller says otherwise."""
TILE = 1024
"""The side of a tile's core where the caller gives none."""

_MARGINS: "WeakKeyDictionary[nn.Module, dict[tuple[Any, ...], int]]" = WeakKeyDictionary()
"""What was measured and rehearsed, for each generator and direction."""


class Canvas:
    """An image that is read in parts, and its result, which is written in parts.

    ``given`` are samples (B, C, H, W), and the result is a tensor; or with ``picture`` the pixels of a file, see
    ``i2i.reading.read``, which become samples part by part, and the result is a picture.
    """

    def __init__(self, given: Tensor, picture: bool = False) -> None:
        self.given, self._is_picture = given, picture
        self._made: Tensor | Image.Image | None = None
        self.height, self.width = given.shape[-2:]

    @property
    def tensor(self) -> Tensor:
        assert isinstance(self._made, Tensor)
        return self._made

    @property
    def picture(self) -> Image.Image:
        """The result."""
        assert isinstance(self._made, Image.Image)
        return self._made

    def part(self, rows: Tensor, columns: Tensor, domain: Domain, device: torch.device) -> Tensor:
        """The network's input at these rows and columns, (B, C, h, w)."""
        top, left = (max(0, int(places.min()) - 1) for places in (rows, columns))  # instances' borders look at the next pixel
        bottom, right = int(rows.max()) + 2, int(columns.max()) + 2
        samples = self.given[:, :, top:bottom, left:right]
        if self._is_picture:
            samples = finished(samples, domain.kind == "labels")
        samples = samples.to(device)
        x = samples if samples.is_floating_point() else to_network(samples, domain)
        return x.index_select(2, (rows - top).to(device)).index_select(3, (columns - left).to(device))

    def put(self, top: int, left: int, made: Tensor, domain: Domain) -> None:
        """Write a part of the result (B, C', h, w)."""
        if not self._is_picture:
            if self._made is None:
                self._made = torch.empty(*made.shape[:2], self.height, self.width)
            self.tensor[:, :, top : top + made.shape[2], left : left + made.shape[3]] = made.cpu()
            return
        part = to_picture(made[0], domain)
        if not isinstance(self._made, Image.Image):
            self._made = Image.new(part.mode, (self.width, self.height))
            if part.mode == "P":
                self._made.putpalette(part.getpalette() or [])
        self._made.paste(part, (left, top))


def tiled(model: Network, canvas: Canvas, here: str, there: str, given: Mapping[str, Tensor], seed: int, tile: int) -> Canvas:
    """Translate the canvas in tiles; its result equals the whole image's.

    Raises:
        CannotTileError: the generator sees more of the image than tiles can give it.
    """
    divisor = int(getattr(model.module, "divisor", 1))
    (top, rows), (left, columns) = (reflected(size, divisor) for size in (canvas.height, canvas.width))

    def run(x: Tensor, exact: bool = False) -> Tensor:
        with seeded(seed):
            return model.network(x, here, there, given, exact)

    def read(first: int, last: int, start: int, end: int) -> Tensor:
        return canvas.part(rows[first:last], columns[start:end], model.domains[here], model.device)

    def write(first: int, start: int, made: Tensor) -> None:
        skipped, cut = max(0, top - first), max(0, left - start)
        inside = made[:, :, skipped : top + canvas.height - first, cut : left + canvas.width - start]
        if inside.numel():
            canvas.put(first + skipped - top, start + cut - left, inside, model.domains[there])

    known = _MARGINS.setdefault(model.module, {})
    key = (here, there, tuple(sorted(given)))
    if key not in known:
        with torch.inference_mode(False):
            example = read(0, min(len(rows), 512), 0, min(len(columns), 512))[:1].clone()
            exact = partial(run, exact=True)  # rounding to 16 bits is larger than what a rehearsal accepts
            margin = margin_of(exact, example, divisor)
            rehearse(exact, example, margin, divisor)
        known[key] = margin
    with torch.no_grad():
        in_tiles(run, read, write, list(windows(len(rows), len(columns), tile, known[key], divisor)), divisor)
    return canvas
