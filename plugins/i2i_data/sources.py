"""Picture files, on disk or in memory, and how they are to be read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from i2i.errors import UserError
from i2i.pictures import MAX_PIXELS

NPY, PNG, JPEG, TIFF = b"\x93NUMPY", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")


class Read(BaseModel):
    """How one side's files become images: their channels, what happens to transparency, and which values are black and white.

    Without ``range``, 8 and 16 bits stand for [0, 255] and [0, 65535], and floats must lie in [0, 1]. Values outside a
    declared range are clipped.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    channels: Annotated[int, Field(ge=1, le=1024)] = 3
    alpha: Literal["white", "black", "drop"] = "white"
    range: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if self.range is not None and not self.range[0] < self.range[1]:
            raise ValueError(f"range must be [black, white] with black below white, not {list(self.range)}")
        return self


READ = Read()


@dataclass(frozen=True)
class Blob:
    """A picture file in memory."""

    data: bytes
    name: str

    def __str__(self) -> str:
        return self.name


Source = Path | Blob


class Loaded(NamedTuple):
    """An image, uint8 or float32 in [0, 1], (C, H, W), and what is worth telling a person about its file."""

    pixels: Tensor
    remarks: tuple[str, ...] = ()


def head_of(source: Source) -> bytes:
    """The first 32 bytes; nothing where the file cannot be read, which reading it will explain."""
    if isinstance(source, Blob):
        return source.data[:32]
    try:
        with source.open("rb") as file:
            return file.read(32)
    except OSError:
        return b""


def content(source: Source) -> bytes:
    """The whole file."""
    return source.data if isinstance(source, Blob) else source.read_bytes()


def check_size(source: Source, width: int, height: int) -> None:
    """Refuse what would fill the memory, before it is decoded."""
    if width * height > MAX_PIXELS:
        raise UserError(
            f"{source}: the picture is too large: {width} x {height} pixels; the limit is {MAX_PIXELS} pixels. "
            "Scale it down or cut it into parts."
        )
