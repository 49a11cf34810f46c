"""The sample grids of a run within a page: all steps, compressed so that the page stays small."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from i2i.errors import UserError
from i2i.pictures.pixels import read_picture
from i2i.pictures.sheet import in_rgb

BYTES, MOST, SIDE = 13_500_000, 200, 1600
"""Of all pictures of a page; of a page; in pixels."""
QUALITIES = (85, 70, 50, 30)


class Grids:
    """The compressed grids of a folder, kept from one page to the next."""

    def __init__(self) -> None:
        self.made: dict[tuple[str, int, int], str] = {}
        self.room = 0

    def of(self, folder: Path, expected: int = 0, most: int | None = None) -> list[tuple[int, str]]:
        """Steps and pictures as addresses (``data:``) of the grids in *folder*, evenly spread where there are many.

        The room is shared by as many grids as are *expected*. At most *most* are compressed, the newest first; those that are
        left out for now come with the next page.
        """
        paths = sorted(folder.glob("step-[0-9]*.png"))
        if len(paths) > MOST:  # the first and the last among them
            paths = [paths[place * (len(paths) - 1) // (MOST - 1)] for place in range(MOST)]
        room = BYTES // max(len(paths), min(MOST, expected), 1)
        if room < self.room or not self.made:
            self.made, self.room = {}, room
        found: dict[Path, str] = {}
        left = len(paths) if most is None else most
        for path in reversed(paths):
            state = path.stat()
            key = (path.name, state.st_size, state.st_mtime_ns)
            if key not in self.made and left > 0:
                left -= 1
                try:
                    self.made[key] = address(read_picture(path), self.room)
                except UserError:  # damaged since it was written
                    continue
            if key in self.made:
                found[path] = self.made[key]
        return [(int(path.stem.removeprefix("step-")), found[path]) for path in paths if path in found]


def address(picture: Image.Image, room: int) -> str:
    """A picture as ``data:image/webp;base64,…``, made coarser and smaller until it has at most *room* bytes before base64."""
    picture = in_rgb(picture)
    picture.thumbnail((SIDE, SIDE * 2), Image.Resampling.LANCZOS)
    while True:
        for quality in QUALITIES:
            file = io.BytesIO()
            picture.save(file, "WEBP", quality=quality, method=2)
            if file.tell() <= room or max(picture.size) <= 64:
                return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
        picture = picture.resize((max(1, picture.width * 7 // 10), max(1, picture.height * 7 // 10)), Image.Resampling.LANCZOS)


def slider(grids: Sequence[tuple[int, str]], written: int) -> str:
    """The newest grid, and what moves through all of them; *written* is how many the run has written."""
    if not grids:
        return '<h2>Samples</h2><p class="soft">No grid is drawn yet.</p>'
    step, source = grids[-1]
    shown = "" if len(grids) == written else f"{len(grids)} of the {written} grids are shown. "
    move = (
        '<div class="slide"><label>Step <input type="range" id="slider" min="0" max="0" value="0">'
        f'<output id="told">step {step}</output></label></div>'
        if len(grids) > 1
        else f'<p id="told">step {step}</p>'
    )
    return (
        f'<h2>Samples</h2>{move}<img id="grid" alt="the sample grid of step {step}" src="{html.escape(source)}">'
        f'<p class="soft">{shown}They are compressed so that this page stays small; the folder samples has the originals.</p>'
    )
