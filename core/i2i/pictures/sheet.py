"""Contact sheets: rows of pictures under captions."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from i2i.pictures.labels import colors_of_ids, painted
from i2i.pictures.pixels import shown, to_pixels
from i2i.protocols import Batch, Direction, Domain

Column = tuple[str, Tensor, Domain]
"""Caption, images (B, C, H, W) as networks see them, and their domain."""

_MARGIN, _CAPTION, _SMALLEST = 4, 16, 96
_PICTURE = Domain("picture", "image", 3)
_NONE = Image.new("RGB", (1, 1), "white")

WIDEST, FOLDED = 1600, 3200
"""The widths of a table of many domains, and of what was a strip, in pixels at most."""
STRIP = 2.5
"""A sheet this many times as high as wide is a strip, and becomes a grid that is about square."""


def contact_sheet(columns: Sequence[Column]) -> Image.Image:
    """Columns of images under their captions."""
    pictures = [[_seen(image, domain) for image in images] for _, images, domain in columns]
    return in_rows([caption for caption, _, _ in columns], list(zip(*pictures, strict=True)))


def in_rows(
    captions: Sequence[str], rows: Sequence[Sequence[Image.Image]], above: Sequence[Sequence[Image.Image]] = ()
) -> Image.Image:
    """Rows of pictures, enlarged (nearest) so that small crops can be looked at; those of other sizes are centred.

    A long strip becomes several blocks side by side (:data:`STRIP`), each under the captions and the rows *above*.
    """
    every = [*above, *rows]
    w, h = (max((picture.size[axis] for row in every for picture in row), default=_SMALLEST) for axis in (0, 1))
    zoom = max(1, -(-_SMALLEST // min(h, w)))
    cell = (w * zoom, h * zoom)
    width = len(captions) * (cell[0] + _MARGIN) + _MARGIN
    heights = [-(-len(rows) // n) * (cell[1] + _MARGIN) for n in range(1, max(2, FOLDED // width + 1))]
    blocks = next((n for n, high in enumerate(heights, 1) if high <= width * n), len(heights))
    each = -(-len(rows) // blocks) if heights[0] > STRIP * width else max(1, len(rows))
    parts = [[*above, *rows[start : start + each]] for start in range(0, max(1, len(rows)), each)]
    return _arranged([_block(captions, part, cell, zoom) for part in parts], len(parts))


def _block(captions: Sequence[str], rows: Sequence[Sequence[Image.Image]], cell: tuple[int, int], zoom: int) -> Image.Image:
    w, h = cell
    size = (len(captions) * (w + _MARGIN) + _MARGIN, len(rows) * (h + _MARGIN) + _CAPTION + _MARGIN)
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for x, caption in enumerate(captions):
        draw.text((x * (w + _MARGIN) + _MARGIN, 1), caption, fill="black", font=font)
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            large = in_rgb(picture).resize((picture.width * zoom, picture.height * zoom), Image.Resampling.NEAREST)
            left, top = (w - large.width) // 2, (h - large.height) // 2
            sheet.paste(large, (x * (w + _MARGIN) + _MARGIN + left, y * (h + _MARGIN) + _CAPTION + top))
    return sheet


def table(
    columns: Sequence[str], rows: Sequence[Sequence[Tensor | None]], domains: Sequence[Sequence[Domain]], above: int = 0
) -> Image.Image:
    """Images (C, H, W), each of its domain, in rows at most WIDEST pixels wide; None leaves a cell white.

    The first *above* rows are repeated above each block of a strip that is folded.
    """
    side = (WIDEST - _MARGIN) // len(columns) - _MARGIN
    drawn: list[list[Image.Image]] = []
    for images, kinds in zip(rows, domains, strict=True):
        cells = [_NONE if x is None else _seen(x, kind) for x, kind in zip(images, kinds, strict=True)]
        for cell in cells:
            cell.thumbnail((side, side))
        drawn.append(cells)
    sheet = in_rows(columns, drawn[above:], drawn[:above])
    sheet.thumbnail((WIDEST, sheet.height))
    return sheet


def columns(
    domains: Mapping[str, Domain],
    way: Direction,
    given: Batch,
    made: Mapping[str, Mapping[Direction, Tensor]],
    back: Mapping[Direction, Tensor],
    truth: Batch,
) -> list[Column]:
    """Of one direction: what was *given*, *made* of it, the truth if there is any, and the way *back* if there is one.

    ``made[""]`` are translations, and ``made["heatmap"]`` pictures of that name (B, 3, H, W), which come after them.
    """
    source, target = (domains[key] for key in way)
    found: list[Column] = [(source.name, given[way[0]], source), (f"to {target.name}", made[""][way], target)]
    found += [(name, own[way], _PICTURE) for name, own in made.items() if name and way in own]
    if truth:
        found.append((f"true {target.name}", truth[way[1]], target))
    if way in back:
        found.append((f"back to {source.name}", back[way], source))
    return found


def by_target(
    domains: Mapping[str, Domain], given: Batch, made: Mapping[Direction, Tensor], name: str = "", references: bool = False
) -> Image.Image:
    """A row for each sample of each source, a column for each target: what was *made*, or pictures called *name*.

    With *references* each column stands below its target's first sample, whose style was taken.
    """
    sources, targets = ([key for key in domains if key in keys] for keys in zip(*made, strict=True))
    kinds = [_PICTURE if name else domains[target] for target in targets]
    rows: list[list[Tensor | None]] = [[None, *(given[target][0] for target in targets)]] if references else []
    of_rows = [[kinds[0], *kinds]] if references else []
    for source in sources:
        for i, image in enumerate(given[source]):
            rows.append([image, *(made[source, t][i] if (source, t) in made else None for t in targets)])
            of_rows.append([domains[source], *kinds])
    word = "as this" if references else f"{name} to".strip()
    return table(["given", *(f"{word} {domains[target].name}" for target in targets)], rows, of_rows, int(references))


def stacked(sheets: Sequence[Image.Image]) -> Image.Image:
    """Sheets one below the other; in rows of several where that would be a long strip (:data:`STRIP`)."""
    width, height = max(sheet.width for sheet in sheets), sum(sheet.height for sheet in sheets)
    strip = height > STRIP * width
    return _arranged(sheets, min(len(sheets), round((height / width) ** 0.5), max(1, FOLDED // width)) if strip else 1)


def _arranged(sheets: Sequence[Image.Image], across: int) -> Image.Image:
    """Sheets in rows of *across*, each in a column as wide as the widest."""
    width = max(sheet.width for sheet in sheets)
    rows = [sheets[start : start + across] for start in range(0, len(sheets), across)]
    heights = [max(sheet.height for sheet in row) for row in rows]
    whole = Image.new("RGB", (width * across, sum(heights)), "white")
    for y, row in enumerate(rows):
        for x, sheet in enumerate(row):
            whole.paste(sheet, (x * width, sum(heights[:y])))
    return whole


def _seen(made: Tensor, domain: Domain) -> Image.Image:
    """An output (C, H, W) to look at; of labels, the classes' colours."""
    pixels = to_pixels(made, domain)
    return painted(pixels[0].numpy(), domain) if domain.kind == "labels" else in_rgb(shown(pixels, domain))


def in_rgb(picture: Image.Image) -> Image.Image:
    """The picture to look at; numbers of 16 bits, which are those of labels, get colours."""
    if picture.mode == "I;16":
        return Image.fromarray(colors_of_ids(np.array(picture)))
    return picture.convert("RGB")
