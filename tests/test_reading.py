"""Reading pictures of any kind: bits, channels, ranges, transparency, orientation, and what is broken."""

import io
import os
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from i2i.errors import UserError
from i2i.pictures.arrays import from_array
from i2i.pictures.pixels import read_picture
from i2i.pictures.reading import plain_jpeg, probe, read
from i2i.pictures.sources import Blob
from i2i.protocols import Domain
from i2i_data.sides import image_domain
from i2i_data.sources import Read
from pictures_on_disk import deep_png, huge_png, noise, png, write


def jpeg(pixels: NDArray[np.uint8], **options: Any) -> Blob:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **options)
    return Blob(file.getvalue(), "x.jpg")


def images(**options: Any) -> Domain:
    return image_domain("day", Read(**options))


RGB = images()
RAMP = np.arange(65536, dtype=np.uint16).reshape(256, 256)


@given(pixels=arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_eight_bits_come_back_exactly(pixels: NDArray[np.uint8]) -> None:
    loaded = read(Blob(png(pixels), "x.png"), RGB)
    assert loaded.remarks == ()
    assert np.array_equal(loaded.pixels.permute(1, 2, 0).numpy(), pixels)


@given(array=arrays(np.uint16, st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6))))
def test_arrays_of_any_shape_become_unit_floats(array: NDArray[np.uint16]) -> None:
    domain = images(channels=array.shape[-1], range=(0, 65535))
    out = from_array(array, domain, Path("x.npy")).pixels
    assert out.dtype == torch.float32
    assert out.shape == (array.shape[-1], *array.shape[:2])
    assert 0 <= out.min() <= out.max() <= 1


@pytest.mark.parametrize("kind", ["grey.png", "grey.tif", "colour.png", "colour.tif", "alpha.png", "x.npy"])
def test_sixteen_bits_are_not_read_as_eight(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    colour = np.stack([RAMP, RAMP.T, RAMP], -1)
    if kind in ("grey.png", "grey.tif"):
        write(path, RAMP)
    elif kind == "colour.tif":
        tifffile.imwrite(path, colour)
    elif kind == "x.npy":
        np.save(path, colour)
    else:
        full = np.full((256, 256, 1), 65535, np.uint16)
        path.write_bytes(deep_png(colour if kind == "colour.png" else np.concatenate([colour, full], -1)))
    probe(path)
    pixels = read(path, RGB).pixels
    assert pixels.shape == (3, 256, 256)
    assert len(pixels[0].unique()) == 65536
    assert torch.allclose(pixels[0], torch.from_numpy(RAMP.astype(np.float32) / 65535))


def test_sixteen_bits_that_hold_eight_are_remarked(tmp_path: Path) -> None:
    loaded = read(write(tmp_path / "dark.png", (RAMP // 256).astype(np.uint16)), RGB)
    assert "declare range: [0, 255]" in loaded.remarks[0]
    declared = read(tmp_path / "dark.png", images(channels=1, range=(0, 255)))
    assert declared.remarks == ()
    assert float(declared.pixels.max()) == 1


@pytest.mark.parametrize("name", ["x.tif", "x.npy"])
def test_more_channels_are_read(tmp_path: Path, name: str) -> None:
    bands = np.random.default_rng(0).random((5, 20, 24)).astype(np.float32)
    if name == "x.tif":
        tifffile.imwrite(tmp_path / name, bands)
    else:
        np.save(tmp_path / name, bands)
    loaded = read(tmp_path / name, images(channels=5))
    assert np.array_equal(loaded.pixels.numpy(), bands)
    with pytest.raises(UserError, match="5 channels, not the 3 of 'day'"):
        read(tmp_path / name, RGB)


def test_floats_need_a_declared_range(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.linspace(-3, 7, 100).reshape(10, 10))
    with pytest.raises(UserError, match=r"lie in \[-3, 7\].*range: \[-3, 7\]"):
        read(tmp_path / "x.npy", RGB)
    declared = read(tmp_path / "x.npy", images(channels=1, range=(-3, 7)))
    assert (float(declared.pixels.min()), float(declared.pixels.max())) == (0, 1)
    clipped = read(tmp_path / "x.npy", images(channels=1, range=(0, 5)))
    assert "outside the declared range" in clipped.remarks[0]


def test_transparency_is_laid_on_a_colour_or_dropped(tmp_path: Path) -> None:
    path = write(tmp_path / "x.png", np.full((2, 2, 4), [200, 100, 0, 0], np.uint8))
    for alpha, expected in (("white", [255] * 3), ("black", [0] * 3), ("drop", [200, 100, 0])):
        loaded = read(path, images(alpha=alpha))
        assert loaded.pixels[:, 0, 0].tolist() == expected
        assert "transparency" in loaded.remarks[0]
    assert read(path, images(channels=4)).pixels[:, 0, 0].tolist() == [200, 100, 0, 0]
    deep = Blob(deep_png(np.full((2, 2, 4), [65535, 0, 0, 0], np.uint16)), "deep")
    assert read(deep, images(alpha="white")).pixels[:, 0, 0].tolist() == [1, 1, 1]
    assert read(deep, images(alpha="drop")).pixels[:, 0, 0].tolist() == [1, 0, 0]
    grey = Blob(deep_png(np.full((2, 2, 2), [257, 65535], np.uint16)), "deep grey")
    assert read(grey, images(channels=1, range=(0, 257))).pixels.unique().tolist() == [1]


def test_grey_and_colour_become_what_is_declared(tmp_path: Path) -> None:
    grey = write(tmp_path / "grey.png", noise(0, channels=1))
    loaded = read(grey, RGB)
    assert torch.equal(loaded.pixels[0], loaded.pixels[2])
    assert "grey" in loaded.remarks[0]
    colour = read(write(tmp_path / "colour.png", noise(1)), images(channels=1))
    assert colour.pixels.shape == (1, 20, 24)
    assert "colour" in colour.remarks[0]


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = noise(0)
    path = write(tmp_path / "x.png", pixels, exif=exif)
    assert np.array_equal(read(path, RGB).pixels.permute(1, 2, 0).numpy(), np.rot90(pixels, -1))


def test_an_animation_gives_its_first_frame_and_says_so(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((8, 8), value, np.uint8)) for value in (10, 200)]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    assert probe(tmp_path / "x.gif") == ("an animation: its first frame is used",)
    assert read(tmp_path / "x.gif", RGB).pixels.unique().tolist() == [10]


def test_a_huge_picture_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(huge_png(20_000))
    for attempt in (probe, lambda path: read(path, RGB)):
        with pytest.raises(UserError, match=r"x.png: the picture is too large"):
            attempt(tmp_path / "x.png")
    with pytest.raises(UserError, match="too large"):
        read(Blob(huge_png(20_000), "blob"), RGB)


@pytest.mark.parametrize("data", [b"", b"no picture", png(noise(0))[:60], b"\x93NUMPY broken", b"II*\x00broken"])
def test_what_is_broken_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.png").write_bytes(data)
    with pytest.raises(UserError, match=r"x\.png"):
        read(tmp_path / "x.png", RGB)
    with pytest.raises(UserError, match="row 3"):
        read(Blob(data, "row 3"), RGB)


@settings(deadline=None)
@given(
    pixels=arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))),
    quality=st.integers(1, 100),
    subsampling=st.sampled_from([0, 1, 2]),
    progressive=st.booleans(),
)
def test_jpegs_are_decoded_as_pillow_does_bit_by_bit(
    pixels: NDArray[np.uint8], quality: int, subsampling: int, progressive: bool
) -> None:
    blob = jpeg(pixels, quality=quality, subsampling=subsampling, progressive=progressive)
    decoded = plain_jpeg(blob)
    assert decoded is not None
    assert np.array_equal(decoded.permute(1, 2, 0).numpy(), np.asarray(read_picture(blob)))


def test_jpegs_that_are_turned_grey_or_of_four_colours_are_left_to_pillow() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = jpeg(noise(0), exif=exif)
    assert plain_jpeg(turned) is None
    assert read(turned, RGB).pixels.shape == (3, 24, 20)
    for mode in ("L", "CMYK"):
        file = io.BytesIO()
        Image.fromarray(noise(0)).convert(mode).save(file, "JPEG")
        assert plain_jpeg(Blob(file.getvalue(), mode)) is None
        assert read(Blob(file.getvalue(), mode), RGB).pixels.shape == (3, 20, 24)


@settings(deadline=None)
@given(cut=st.floats(0, 1), at=st.integers(0, 10_000), value=st.integers(0, 255))
def test_damaged_jpegs_are_refused_or_read_as_pillow_reads_them(cut: float, at: int, value: int) -> None:
    data = bytearray(jpeg(noise(1)).data)
    data[at % len(data)] = value
    blob = Blob(bytes(data[: round(cut * len(data))]), "x.jpg")
    decoded = plain_jpeg(blob)
    if decoded is not None:
        assert np.array_equal(decoded.permute(1, 2, 0).numpy(), np.asarray(read_picture(blob)))


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")
    for attempt in (probe, lambda path: read(path, RGB)):
        with pytest.raises(UserError, match="not an ordinary file"):
            attempt(tmp_path / "x.png")


def test_tiffs_that_expand_without_end_are_refused(tmp_path: Path) -> None:
    floats = np.zeros((64, 64), np.float32)
    for compression in (None, "zlib", "lzma"):
        tifffile.imwrite(tmp_path / f"{compression}.tif", floats, compression=compression, rowsperstrip=64)
    for name in ("None.tif", "zlib.tif"):
        assert read(tmp_path / name, images(channels=1)).pixels.shape == (1, 64, 64)
    with pytest.raises(UserError, match=r"lzma\.tif: i2i reads such a TIFF only uncompressed or deflated, not LZMA"):
        read(tmp_path / "lzma.tif", images(channels=1))
    bomb = zlib.compress(bytes(200 * 2**20), 9)  # 200 MB in 200 kB, where 16 kB belong
    with tifffile.TiffFile(tmp_path / "zlib.tif") as tiff:
        count, page = tiff.pages[0].tags["StripByteCounts"], tiff.pages[0]
        places = (count.valueoffset, page.tags["StripOffsets"].valueoffset)
    data = bytearray((tmp_path / "zlib.tif").read_bytes())
    for place, value in zip(places, (len(bomb), len(data)), strict=True):
        data[place : place + 4] = value.to_bytes(4, "little")
    for source in (Blob(bytes(data) + bomb, "bomb.tif"), Blob(bytes(data), "short.tif")):
        tracemalloc.start()
        with pytest.raises(UserError, match=r"(bomb|short)\.tif: the TIFF (holds more than its header says|is corrupt)"):
            read(source, images(channels=1))
        assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
        tracemalloc.stop()


def test_objects_and_nan_in_arrays_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "o.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "n.npy", np.full((3, 3), np.nan))
    with pytest.raises(UserError, match="objects"):
        read(tmp_path / "o.npy", RGB)
    with pytest.raises(UserError, match="NaN or infinite"):
        read(tmp_path / "n.npy", RGB)


@pytest.mark.parametrize("header", [b"(" * 79, b"{'descr': '|u1', 'fortran_order': False, 'shape': (70000000000, 7000)}"])
def test_headers_of_arrays_that_cannot_be_are_one_sentence(tmp_path: Path, header: bytes) -> None:
    data = b"\x93NUMPY\x01\x00\x50\x00" + header.ljust(79) + b"\n"
    (tmp_path / "x.npy").write_bytes(data)
    for source in (tmp_path / "x.npy", Blob(data, "x.npy")):
        with pytest.raises(UserError, match=r"x\.npy: the array is corrupt"):
            read(source, RGB)
