"""Small picture files for the tests of data sets."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def noise(seed: int, h: int = 20, w: int = 24, channels: int = 3) -> NDArray[np.uint8]:
    """(H, W, C) or (H, W), uint8."""
    pixels = np.random.default_rng(seed).integers(0, 256, (h, w, channels), dtype=np.uint8)
    return pixels[..., 0] if channels == 1 else pixels


def write(path: Path, pixels: NDArray[np.generic], **options: object) -> Path:
    """A picture file, its folders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)  # type: ignore[arg-type]
    return path


def png(pixels: NDArray[np.generic]) -> bytes:
    """The bytes of a PNG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def deep_png(pixels: NDArray[np.uint16]) -> bytes:
    """A PNG of 16 bits: (H, W, C) with 2 to 4 channels, which Pillow cannot write."""
    h, w, channels = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", w, h, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def huge_png(side: int) -> bytes:
    """The head of a PNG of side x side pixels; its few bytes of data are not worth decoding."""
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    chunks = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in body)
    return b"\x89PNG\r\n\x1a\n" + chunks


def two_folders(root: Path, a: int = 4, b: int = 6, split: str = "train") -> Path:
    """CycleGAN's layout, pictures of noise."""
    for side, count, start in (("A", a, 0), ("B", b, 100)):
        for i in range(count):
            write(root / f"{split}{side}" / f"{i}.png", noise(start + i + (1000 if split != "train" else 0)))
    return root
