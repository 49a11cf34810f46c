"""Moving pictures: what is one, what its results are written as, and its frames one after the other."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from PIL import Image

from i2i.errors import UserError
from i2i.pictures.files import opened_picture
from i2i.pictures.formats import is_video
from i2i.pictures.sources import head_of

VIDEOS = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi"})
"""What names of videos end in; a folder's other files are no inputs."""


class Clip(Protocol):
    """An open moving picture. Its frames can be gone through several times."""

    name: str
    count: int
    size: tuple[int, int]

    def frames(self) -> Iterator[Image.Image]:
        """The frames in their order, upright, at the clip's rate.

        Raises:
            UserError: one of them cannot be read.
        """

    def write(self, path: Path, frames: Iterable[Image.Image], statement: str) -> list[str]:
        """Write results of the frames, with their durations; the file appears whole or not at all.

        ``statement`` is an XMP packet, or empty. Returns what is worth telling people.

        Raises:
            UserError: it cannot be written.
        """


def suffix_of_results(path: Path) -> str:
    """``.mp4`` for a video, an animated picture's own suffix, and nothing for a picture that does not move.

    The content decides. Only files with the first bytes of MP4, QuickTime, Matroska, WebM and AVI are handed to FFmpeg, which
    would read playlists, and with them other files.
    """
    head = head_of(path)
    if is_video(head):
        return ".mp4"
    if head.startswith(b"GIF8"):
        form, suffix = "GIF", ".gif"
    elif head.startswith(b"\x89PNG"):
        form, suffix = "PNG", ".png"
    elif head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        form, suffix = "WEBP", ".webp"
    else:
        return ""
    try:
        with opened_picture(path, formats=[form]) as opened:
            return suffix if getattr(opened, "is_animated", False) else ""
    except UserError:
        return ""  # reading it as a picture says what is wrong


def clip_of(path: Path, suffix: str) -> Clip:
    """The moving picture at *path*, of which ``suffix_of_results`` said *suffix*.

    Raises:
        UserError: it cannot be read, has no frames or is too large; or what reads videos is missing.
    """
    if suffix == ".mp4":
        from i2i_translate.video import Video

        return Video(path)
    from i2i_translate.animation import Animation

    return Animation(path, suffix)
