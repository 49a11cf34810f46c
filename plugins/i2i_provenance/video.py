"""XMP in MP4 files: a top-level ``uuid`` box (XMP specification, part 3), which other programs read too."""

import os
import struct
from pathlib import Path

from i2i.pictures.formats import is_video

UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
LARGEST = 2**20
"""So many bytes of XMP are read."""
_BOXES = 1000
"""So many boxes are looked at; a file with more is not an ordinary video."""


def xmp_box(packet: str) -> bytes:
    """The box that holds an XMP packet, to be appended to an MP4 file."""
    data = UUID + packet.encode()
    return struct.pack(">I4s", 8 + len(data), b"uuid") + data


def xmp_of(path: Path) -> bytes | None:
    """The XMP packet of an MP4 or QuickTime file, and empty if it has none; None for any other file.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        head, end = file.read(12), file.seek(0, os.SEEK_END)
        if head[4:8] != b"ftyp" or not is_video(head):
            return None
        file.seek(0)
        for _ in range(_BOXES):
            start, head = file.tell(), file.read(8)
            size, kind = struct.unpack(">I4s", head) if len(head) == 8 else (0, b"")
            if size == 1:
                size = int.from_bytes(file.read(8))
            if kind == b"uuid" and file.read(16) == UUID:
                return file.read(min(max(0, start + size - file.tell()), LARGEST))
            if size < 8 or start + size >= end:  # the last one, or no box
                return b""
            file.seek(start + size)
    return b""
