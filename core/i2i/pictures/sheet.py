"""Contact sheets: rows of pictures under captions."""

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from i2i.pictures.pixels import to_picture
from i2i.protocols import Batch, Direction, Domain

Column = tuple[str, Tensor, Domain]
"""Caption, images (B, C, H, W) as networks see them, and their domain."""

_MARGIN, _CAPTION, _SMALLEST = 4, 16, 96
_PICTURE = Domain("picture", "image", 3)
_NONE = Image.new("RGB", (1, 1), "white")

WIDEST = 1600
"""Of a table of many domains, in pixels."""


def contact_sheet(columns: Sequence[Column]) -> Image.Image:
    """Columns of images under their captions."""
    pictures = [[to_picture(image, domain) for image in images] for _, images, domain in columns]
    return in_rows([caption for caption, _, _ in columns], list(zip(*pictures, strict=True)))


def in_rows(captions: Sequence[str], rows: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """Rows of pictures, enlarged (nearest) so that small crops can be looked at; those of other sizes are centred."""
    w, h = (max((picture.size[axis] for row in rows for picture in row), default=_SMALLEST) for axis in (0, 1))
    zoom = max(1, -(-_SMALLEST // min(h, w)))
    w, h = w * zoom, h * zoom
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


def table(columns: Sequence[str], rows: Sequence[Sequence[Tensor | None]], domains: Sequence[Sequence[Domain]]) -> Image.Image:
    """Images (C, H, W), each of its domain, in rows at most WIDEST pixels wide; None leaves a cell white."""
    side = (WIDEST - _MARGIN) // len(columns) - _MARGIN
    drawn: list[list[Image.Image]] = []
    for images, kinds in zip(rows, domains, strict=True):
        cells = [_NONE if x is None else in_rgb(to_picture(x, kind)) for x, kind in zip(images, kinds, strict=True)]
        for cell in cells:
            cell.thumbnail((side, side))
        drawn.append(cells)
    sheet = in_rows(columns, drawn)
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
    return table(["given", *(f"{word} {domains[target].name}" for target in targets)], rows, of_rows)


def stacked(sheets: Sequence[Image.Image]) -> Image.Image:
    """Sheets one below the other."""
    whole = Image.new("RGB", (max(sheet.width for sheet in sheets), sum(sheet.height for sheet in sheets)), "white")
    top = 0
    for sheet in sheets:
        whole.paste(sheet, (0, top))
        top += sheet.height
    return whole


def in_rgb(picture: Image.Image) -> Image.Image:
    """The picture to look at; of 16 bits, numbers above 255 are white."""
    return (picture.convert("L") if picture.mode == "I;16" else picture).convert("RGB")
