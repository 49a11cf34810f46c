"""Files on disk or in memory, and what reading one gives."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from i2i.errors import UserError

NPY, PNG, JPEG, TIFF = b"\x93NUMPY", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")


@dataclass(frozen=True)
class Blob:
    """A picture file in memory."""

    data: bytes
    name: str

    def __str__(self) -> str:
        return self.name


Source = Path | Blob

MAX_BYTES = 2**30
"""So much is read of a file object: more than the largest picture takes, as a .npy file of three floats a pixel."""


@runtime_checkable
class Readable(Protocol):
    """A file that is open for reading bytes, an upload, an ``io.BytesIO``."""

    def read(self, size: int, /) -> bytes: ...


File = str | Path | bytes | bytearray | Blob | Readable
"""A picture file by its path, as its bytes, or open."""


def source_of(file: File) -> Source:
    """What is to be read; an open file is read from where it stands, at most MAX_BYTES.

    Raises:
        UserError: it is open as text, holds more, or is nothing of the kind.
    """
    if isinstance(file, Path | Blob):
        return file
    if isinstance(file, str):
        return Path(file)
    if isinstance(file, bytes | bytearray):
        return Blob(bytes(file), "the picture")
    if not hasattr(file, "read"):
        raise UserError(
            f"the picture: an object of type {type(file).__name__} is none. Give a path, the bytes of a file, an open file, "
            "a PIL picture, an array or a tensor, one at a time."
        )
    name, data = getattr(file, "name", None), file.read(MAX_BYTES + 1)
    where = name if isinstance(name, str) and name else "the picture"
    if not isinstance(data, bytes):
        raise UserError(f"{where}: the file is open as text. Open it as bytes, with open(…, 'rb').")
    if len(data) > MAX_BYTES:
        raise UserError(f"{where}: the file is larger than {MAX_BYTES // 2**20} MiB. Scale the picture down.")
    return Blob(data, where)


class Loaded(NamedTuple):
    """An image, uint8 or float32 in [0, 1], (C, H, W), or label ids, and what is worth telling a person about its file."""

    pixels: Tensor
    remarks: tuple[str, ...] = ()


def head_of(source: Source, count: int = 32) -> bytes:
    """The first bytes; nothing where there is no ordinary file that can be read, which reading it will explain."""
    if isinstance(source, Blob):
        return source.data[:count]
    try:
        if not source.is_file():  # opening a pipe would wait for its other end
            return b""
        with source.open("rb") as file:
            return file.read(count)
    except OSError:
        return b""


def content(source: Source) -> bytes:
    """The whole file."""
    return source.data if isinstance(source, Blob) else source.read_bytes()


def check_size(source: Source, width: int, height: int, max_pixels: int) -> None:
    """Refuse what has no pixels or would fill the memory, before it is decoded."""
    if width < 1 or height < 1:
        raise UserError(f"{source}: the picture has no pixels ({width} x {height}). Replace the file.")
    if width * height > max_pixels:
        raise too_large(source, f"{width} x {height} = {width * height} pixels", max_pixels)


def too_large(source: Source, size: str, limit: int) -> UserError:
    """The error for a picture of that size, in words."""
    return UserError(f"{source}: the picture is too large: {size}; the limit is {limit}. Scale it down or cut it into parts.")
