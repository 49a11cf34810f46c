"""A contact sheet of inputs and their results."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

SIDE, GAP, MOST = 256, 4, 64
"""Pictures are scaled into squares of SIDE pixels, GAP apart; the sheet shows the first MOST inputs."""


class Sheet:
    """One row for each input: the input, then its results."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[list[Image.Image]] = []

    def add(self, given: Image.Image, made: Sequence[Image.Image]) -> None:
        if len(self.rows) < MOST:
            self.rows.append([_thumbnail(picture) for picture in (given, *made)])

    def picture(self) -> Image.Image:
        """The sheet so far."""
        columns = max((len(row) for row in self.rows), default=1)
        size = (columns * (SIDE + GAP) + GAP, max(1, len(self.rows)) * (SIDE + GAP) + GAP)
        sheet = Image.new("RGB", size, "white")
        for y, row in enumerate(self.rows):
            for x, picture in enumerate(row):
                left, top = (SIDE - picture.width) // 2, (SIDE - picture.height) // 2
                sheet.paste(picture, (GAP + x * (SIDE + GAP) + left, GAP + y * (SIDE + GAP) + top))
        return sheet


def _thumbnail(picture: Image.Image) -> Image.Image:
    small = picture.convert("RGB") if picture.mode != "I;16" else picture.convert("L").convert("RGB")
    small.thumbnail((SIDE, SIDE))
    return small
