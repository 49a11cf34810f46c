"""Translates large images tile by tile: memory holds the picture, its result, and the network for one tile."""

from collections.abc import Mapping
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from i2i.allocator import return_freed_memory
from i2i.labels import to_network
from i2i.pictures.pixels import to_pixels
from i2i.pictures.preparation import finished
from i2i.protocols import Direction, Domain
from i2i.randomness import seeded
from i2i.translation.conversion import reflected
from i2i.translation.translator import Translator
from i2i_translate.tiling import in_tiles, margin_of, rehearse, windows

TILE, TILE_ON_CPU = 1024, 384
"""The side of a tile's core where the caller gives none. Smaller tiles compute margins more often; but on a CPU feature maps of
more than 32 MB cost more than that, as the C library takes new pages from the system for each: see
benchmarks/large_pictures.py."""

_MARGINS: "WeakKeyDictionary[nn.Module, dict[tuple[Any, ...], int]]" = WeakKeyDictionary()
"""What was measured and rehearsed, for each generator and direction."""


def tiled(
    model: Translator, image: Tensor, way: Direction, given: Mapping[str, Tensor], seed: int, tile: int | None, files: bool
) -> Tensor:
    """Translate an image in tiles; the result equals the whole image's. See the hook ``translate_large``.

    ``tile`` is the side of a tile's core, by default TILE or TILE_ON_CPU.

    Raises:
        CannotTileError: the generator sees more of the image than tiles can give it.
    """
    divisor, (height, width) = model.divisor, image.shape[-2:]
    (top, rows), (left, columns) = (reflected(size, divisor) for size in (height, width))
    source, target = (model.domains[key] for key in way)
    tile = tile or (TILE_ON_CPU if model.device.type == "cpu" else TILE)
    made: list[Tensor] = []

    def run(x: Tensor, exact: bool = False) -> Tensor:
        with seeded(seed):
            return model.network(x, way, given, exact)

    def read(first: int, last: int, start: int, end: int) -> Tensor:
        return part(image, rows[first:last], columns[start:end], source, files, model.device)

    def write(first: int, start: int, tile: Tensor) -> None:
        skipped, cut = max(0, top - first), max(0, left - start)
        inside = tile[:, :, skipped : top + height - first, cut : left + width - start]
        if inside.numel():
            inside = (to_pixels(inside, target) if files else inside).cpu()
            made[:] = made or [_room(inside, height, width, files)]
            y, x = first + skipped - top, start + cut - left
            made[0][:, :, y : y + inside.shape[2], x : x + inside.shape[3]] = inside

    return_freed_memory()  # of reading the picture
    known = _MARGINS.setdefault(model.module, {})
    key = (way, tuple(sorted(given)))
    if key not in known:
        with torch.inference_mode(False):
            example = read(0, min(len(rows), 512), 0, min(len(columns), 512))[:1].clone()
            exact = partial(run, exact=True)  # rounding to 16 bits is larger than what a rehearsal accepts
            margin = margin_of(exact, example, divisor)
            rehearse(exact, (example, drawn(source).to(example.device)), margin, divisor)
        known[key] = margin
    with torch.no_grad():
        in_tiles(run, read, write, list(windows(len(rows), len(columns), tile, known[key], divisor)), divisor)
    return_freed_memory()  # of the network
    return made[0]


def _room(part: Tensor, height: int, width: int, picture: bool) -> Tensor:
    """(B, C, height, width) for parts like this; a picture's is laid out as a picture is, which then needs no copy."""
    if picture:
        return part.new_empty(part.shape[0], height, width, part.shape[1]).permute(0, 3, 1, 2)
    return part.new_empty(*part.shape[:2], height, width)


def drawn(domain: Domain) -> Tensor:
    """A random input of a network, (1, C, 64, 64): an image, or a label map of which each pixel is another class."""
    generator = torch.Generator().manual_seed(0)
    if domain.kind == "image":
        return torch.rand(1, domain.channels, 64, 64, generator=generator) * 2 - 1
    ids = torch.randint(domain.label_count, (1, 1 + domain.instances, 64, 64), generator=generator)
    return to_network(ids, domain)


def part(image: Tensor, rows: Tensor, columns: Tensor, domain: Domain, files: bool, device: torch.device) -> Tensor:
    """The network's input at these rows and columns, (B, C, h, w), of an image (B, C or 1, H, W)."""
    top, left = (max(0, int(places.min()) - 1) for places in (rows, columns))  # instances' borders look at the next pixel
    samples = image[:, :, top : int(rows.max()) + 2, left : int(columns.max()) + 2]
    if files:
        samples = finished(samples, domain.kind == "labels")
    samples = samples.to(device)
    x = samples if samples.is_floating_point() else to_network(samples, domain)
    return x.index_select(2, (rows - top).to(device)).index_select(3, (columns - left).to(device))
