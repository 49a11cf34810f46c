"""Animated GIF, PNG and WebP pictures: their frames, durations and loops."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from i2i.errors import UserError
from i2i.pictures.files import opened_picture, save_picture, upright
from i2i_provenance.metadata import KEY

LARGEST = 2**27
"""Pixels of all frames together: the encoders of animations keep all results in memory."""

_FORMATS = {".gif": "GIF", ".png": "PNG", ".webp": "WEBP"}


class Animation:
    """An animated picture, see :class:`i2i_translate.moving.Clip`; its results are animated pictures of the same format."""

    def __init__(self, path: Path, suffix: str) -> None:
        self.path, self.name, self.suffix = path, str(path), suffix
        with self._opened() as opened:
            self.size = opened.size
            self._first = int(getattr(opened, "default_image", False))  # what a PNG shows where it cannot be animated
            self.count = getattr(opened, "n_frames", 1) - self._first
            self._loop = {"loop": opened.info["loop"]} if "loop" in opened.info else {}
        self.check(self.size)
        self._durations: list[float] = []

    def check(self, size: tuple[int, int]) -> None:
        """Refuse more results of that size than fit into memory."""
        if self.count * size[0] * size[1] > LARGEST:
            raise UserError(
                f"{self.name}: {self.count} frames of {size[0]} x {size[1]} are too many for an animated picture; all of them "
                f"together may have {LARGEST} pixels. Convert it to a video (ffmpeg -i {self.path.name} clip.mp4)."
            )

    def _opened(self) -> Any:
        return opened_picture(self.path, formats=[_FORMATS[self.suffix]])

    def frames(self) -> Iterator[Image.Image]:
        self._durations = []
        with self._opened() as opened:
            for i in range(self._first, self._first + self.count):
                opened.seek(i)
                frame = upright(opened)
                self._durations.append(opened.info.get("duration", 0))  # known once the frame is decoded
                yield frame

    def write(self, path: Path, frames: Iterable[Image.Image], statement: str) -> list[str]:
        whole = self.suffix != ".gif"
        first, *others = [frame.convert("RGBA" if whole and "A" in frame.getbands() else "RGB") for frame in frames]
        self.check(first.size)
        options: dict[str, Any] = {"save_all": True, "append_images": others, "duration": self._durations, **self._loop}
        if self.suffix == ".png":
            info = PngInfo()
            if statement:
                info.add_itxt(KEY, statement)
            options["pnginfo"] = info
        elif self.suffix == ".webp":
            options |= {"lossless": True, **({"xmp": statement.encode()} if statement else {})}
        save_picture(first, path, **options)
        return []
