"""Pictures: every kind of file that a person may have, and every way in which it may be broken."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from i2i.errors import UserError
from i2i.labels import check_ids, to_network
from i2i.pictures.labels import colors_of
from i2i.pictures.pixels import read_picture, save_picture, to_picture, to_tensor
from i2i.pictures.sheet import contact_sheet, in_rgb, in_rows, stacked
from i2i.protocols import Domain, Preparation

RGB = Domain("day", "image", 3)
GREY = Domain("relief", "image", 1)
LABELS = Domain("land", "labels", 3, ("sea", "land", "ice"), ((0, 0, 255), (0, 128, 0), (255, 255, 255)))


def noise(mode: str = "RGB", size: tuple[int, int] = (7, 5)) -> Image.Image:
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], channels), dtype=np.uint8)
    return Image.frombytes(mode, size, pixels.tobytes())


def png_that_claims(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.png: there is no such file"):
        read_picture(tmp_path / "nowhere.png")
    with pytest.raises(UserError, match="this is a folder"):
        read_picture(tmp_path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "tiff", "webp", "bmp"])
def test_truncated_files(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut.{suffix}"
    noise(size=(64, 64)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=rf"cut\.{suffix}: .*Replace the file|not a picture"):
        read_picture(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"hello, I am no picture", "not a picture"),
        (b"\x89PNG\r\n\x1a\n" + bytes(60), "not a picture|corrupt"),
        (b"P6 0 0 255\n", "no pixels|corrupt|not a picture"),
    ],
)
def test_broken_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_picture(path)
    assert str(path) in str(caught.value)


def test_a_corrupt_checksum(tmp_path: Path) -> None:
    path = tmp_path / "bad.png"
    noise(size=(64, 64)).save(path)
    content = bytearray(path.read_bytes())
    content[200:220] = bytes(20)
    path.write_bytes(content)
    with pytest.raises(UserError, match="corrupt"):
        read_picture(path)


@pytest.mark.parametrize(("side", "size"), [(9000, "9000 x 9000 = 81000000"), (60000, "3600000000 pixels")])
def test_a_decompression_bomb_is_refused_by_its_header(tmp_path: Path, side: int, size: str) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_that_claims(side, side))
    with pytest.raises(UserError, match=rf"bomb\.png: .*too large: {size}.*limit is 67108864"):
        read_picture(path)


def test_the_limit_can_be_chosen(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    noise(size=(5, 4)).save(path)
    assert read_picture(path, max_pixels=20).size == (5, 4)
    with pytest.raises(UserError, match="5 x 4 = 20 pixels; the limit is 19"):
        read_picture(path, max_pixels=19)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    upright = Image.new("RGB", (8, 4))
    upright.paste((255, 0, 0), (0, 0, 4, 2))
    turned = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = upright if turned is None else upright.transpose(turned)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "x.png", exif=exif)
    assert np.array_equal(np.array(read_picture(tmp_path / "x.png")), np.array(upright))


def test_broken_exif_does_not_spoil_a_picture(tmp_path: Path) -> None:
    noise().save(tmp_path / "x.png", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert read_picture(tmp_path / "x.png").size == (7, 5)


def test_the_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (6, 6), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    assert to_tensor(read_picture(tmp_path / "x.gif"), RGB)[:, 0, 0].tolist() == [1, -1, -1]


@pytest.mark.parametrize("domain", [RGB, GREY])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "La", "P", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "HSV"])
def test_every_mode_becomes_the_domains_channels(mode: str, domain: Domain) -> None:
    picture = noise().convert("P") if mode == "P" else noise("L").convert("1") if mode == "1" else noise(mode)
    tensor = to_tensor(picture, domain)
    assert tensor.shape == (domain.channels, 5, 7)
    assert tensor.dtype == torch.float32
    assert tensor.abs().max() <= 1


def test_transparency_is_laid_on_white() -> None:
    picture = Image.new("RGBA", (3, 1), (0, 0, 0, 0))
    picture.putpixel((1, 0), (255, 0, 0, 255))
    assert to_tensor(picture, RGB)[:, 0].tolist() == [[1, 1, 1], [1, -1, 1], [1, -1, 1]]
    palette = Image.new("P", (1, 1))
    palette.info["transparency"] = 0
    assert to_tensor(palette, GREY).item() == 1


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bits_keep_their_range(tmp_path: Path, suffix: str) -> None:
    ramp = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    Image.fromarray(ramp).save(tmp_path / f"x.{suffix}")
    picture = to_picture(to_tensor(read_picture(tmp_path / f"x.{suffix}"), GREY), GREY)
    assert np.array(picture).tolist() == [[0, 1, 128, 255]]


def test_floats() -> None:
    values = np.array([[0, 0.2, 1.0]], dtype=np.float32)
    assert np.array(to_picture(to_tensor(Image.fromarray(values), GREY), GREY)).tolist() == [[0, 51, 255]]
    with pytest.raises(UserError, match=r"values of type float32 lie in \[0, 255\], not in \[0, 1\]"):
        to_tensor(Image.fromarray(values * 255), GREY)
    wide = Domain("relief", "image", 1, preparation=Preparation(range=(0, 255)))
    assert torch.equal(to_tensor(Image.fromarray(values * 255), wide), to_tensor(Image.fromarray(values), GREY))


@pytest.mark.parametrize(("mode", "domain"), [("RGB", RGB), ("L", GREY)])
def test_pixels_come_back(mode: str, domain: Domain) -> None:
    assert to_picture(to_tensor(noise(mode), domain), domain).tobytes() == noise(mode).tobytes()


def test_values_are_rounded_and_clamped() -> None:
    pixels = to_picture(torch.tensor([[[-9.0, -1, -0.997, 0.997, 9, float("nan")]]]), GREY)
    assert np.array(pixels).tolist() == [[0, 0, 0, 255, 255, 0]]


def test_a_domain_with_other_channels_takes_no_picture() -> None:
    with pytest.raises(UserError, match=r"has 3 channels, not the 5 of 'infrared'"):
        to_tensor(noise(), Domain("infrared", "image", 5))
    with pytest.raises(UserError, match=r"'infrared' has 5 channels; pictures have at most 4"):
        to_picture(torch.zeros(5, 2, 2), Domain("infrared", "image", 5))


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_labels_round_trip(width: int, height: int, seed: int) -> None:
    ids = torch.randint(0, 3, (1, height, width), generator=torch.Generator().manual_seed(seed))
    one_hot = to_network(ids[None], LABELS)
    assert one_hot.shape == (1, 3, height, width)
    assert one_hot.dtype == torch.float32
    assert torch.equal(one_hot.argmax(1), ids)
    assert torch.equal(one_hot.sum(1), torch.ones(1, height, width))
    for form in (one_hot[0], ids):
        picture = to_picture(form, LABELS)
        assert picture.mode == "P"
        assert torch.equal(to_tensor(picture, LABELS), ids)
    assert picture.convert("RGB").getpixel((0, 0)) == LABELS.colors[int(ids[0, 0, 0])]


def test_labels_survive_a_file(tmp_path: Path) -> None:
    ids = torch.tensor([[[0, 1, 2], [2, 1, 0]]])
    save_picture(to_picture(ids, LABELS), tmp_path / "x.png")
    assert torch.equal(to_tensor(read_picture(tmp_path / "x.png"), LABELS), ids)


def test_many_classes_and_no_colors() -> None:
    many = Domain("things", "labels", 300)
    ids = torch.tensor([[[0, 256, 299]]])
    assert torch.equal(to_tensor(to_picture(ids, many), many), ids)
    assert in_rgb(to_picture(ids, many)).getpixel((1, 0)) == (0, 0, 32)  # colours, though the file has none


def test_classes_without_colours_get_them_and_those_of_a_domain_win() -> None:
    few, more = Domain("few", "labels", 3), Domain("more", "labels", 40)
    ids = torch.tensor([[[0, 1, 2], [2, 1, 0]]])
    picture = to_picture(ids, few)
    assert (picture.mode, np.array(picture).tolist()) == ("P", ids[0].tolist())  # a file has the ids
    assert torch.equal(to_tensor(picture, few), ids)
    assert picture.convert("RGB").tobytes() == to_picture(ids, more).convert("RGB").tobytes()
    assert len({tuple(color) for color in colors_of(Domain("many", "labels", 5000)).tolist()}) == 5000
    assert colors_of(LABELS).tolist() == [list(color) for color in LABELS.colors]
    for domain in (few, LABELS):
        sheet = contact_sheet([("", ids[None], domain)])
        assert sheet.getpixel((4 + 48 + 10, 16 + 10)) == tuple(colors_of(domain)[1].tolist())


@pytest.mark.parametrize(("columns", "rows", "blocks"), [(2, 5, 1), (2, 6, 2), (1, 30, 6), (3, 6, 1), (20, 80, 1)])
def test_a_long_strip_becomes_a_grid(columns: int, rows: int, blocks: int) -> None:
    made = [[Image.new("RGB", (96, 96), (y, x, 0)) for x in range(columns)] for y in range(rows)]
    style = [[Image.new("RGB", (96, 96), (0, 0, 99)) for _ in range(columns)]]
    for above in ([], style):
        sheet, each = in_rows([str(x) for x in range(columns)], made, above), -(-rows // blocks)
        assert sheet.size == (blocks * (columns * 100 + 4), (each + len(above)) * 100 + 20)
        for y, row in enumerate(made):
            left, top = y // each * (columns * 100 + 4) + 4, (y % each + len(above)) * 100 + 16
            assert [sheet.getpixel((left + x * 100, top)) for x in range(columns)] == [p.getpixel((0, 0)) for p in row]


def test_many_sheets_become_rows_of_sheets() -> None:
    assert stacked([Image.new("RGB", (300, 200))] * 3).size == (300, 600)
    assert stacked([Image.new("RGB", (300, 200))] * 12).size == (900, 800)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "foreign"])
def test_labels_by_their_colours(mode: str) -> None:
    ids = torch.tensor([[[0, 1, 2], [2, 1, 0]]])
    coloured = to_picture(ids, LABELS).convert("RGB")
    if mode == "foreign":  # a palette in an order of its own
        coloured = coloured.quantize(3)
    shown = coloured if mode == "foreign" else to_picture(ids, LABELS).convert(mode)
    assert torch.equal(to_tensor(shown, LABELS), ids)
    assert torch.equal(to_tensor(shown.crop((1, 0, 3, 2)), LABELS), ids[:, :, 1:])


def test_palettes_of_ids() -> None:
    ids = torch.tensor([[[0, 1, 2], [2, 1, 0]]])
    grey = Image.fromarray(ids[0].numpy().astype(np.uint8))
    ramp = grey.copy()
    ramp.putpalette([value for index in range(256) for value in (index, index, index)])
    random = grey.copy()
    random.putpalette([200, 10, 10, 10, 200, 10, 10, 10, 200])
    assert torch.equal(to_tensor(ramp, LABELS), ids)
    assert torch.equal(to_tensor(random, Domain("few", "labels", 3)), ids)
    with pytest.raises(UserError, match="6 of 6 pixels have a colour that no class of 'land' has"):
        to_tensor(random, LABELS)


def test_an_unknown_colour_names_the_nearest_class() -> None:
    name, color = LABELS.classes[1], LABELS.colors[1]
    picture = Image.new("RGB", (4, 3), color)
    picture.putpixel((2, 1), (color[0], color[1], color[2] + 9))
    with pytest.raises(UserError, match=rf"map\.png: 1 of 12 pixels .* most often \(.*\); the nearest is '{name}'"):
        to_tensor(picture, LABELS, "map.png")
    with pytest.raises(UserError, match="lossy or smoothed copy"):
        to_tensor(Image.linear_gradient("L").convert("RGB"), LABELS)


def test_bad_labels() -> None:
    with pytest.raises(UserError, match=r"map\.png: 4 pixels hold 7, outside the 3 classes of 'land' \(values 0 to 2\)"):
        to_tensor(Image.new("L", (2, 2), 7), LABELS, "map.png")
    with pytest.raises(UserError, match="this picture is RGB"):
        to_tensor(noise(), Domain("few", "labels", 3))
    with pytest.raises(UserError, match="this picture is CMYK"):
        to_tensor(noise().convert("CMYK"), LABELS)
    for ids in (torch.tensor([[[-1]]]), torch.zeros(1, 2, 2), torch.zeros(2, 2).long(), torch.zeros(1, 0, 2).long()):
        with pytest.raises(UserError, match="sample 3: "):
            check_ids(ids, LABELS, "sample 3")


def test_images_reach_the_network_unchanged() -> None:
    batch = torch.rand(2, 3, 4, 4)
    assert to_network(batch, RGB) is batch


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tiff"])
@pytest.mark.parametrize("picture", [noise(), noise("L"), noise("RGBA"), to_picture(torch.ones(1, 4, 4).long(), LABELS)])
def test_saving(tmp_path: Path, picture: Image.Image, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    picture = picture.convert("RGB") if suffix == "jpg" else picture
    save_picture(picture, path)
    save_picture(picture, path)
    assert read_picture(path).size == picture.size
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_what_cannot_be_saved_leaves_nothing(tmp_path: Path) -> None:
    for name in ("x.nothing", "x", "missing/x.png"):
        with pytest.raises(UserError, match="cannot be written"):
            save_picture(noise(), tmp_path / name)
    with pytest.raises(UserError, match=r"x\.jpg: the picture cannot be written \(cannot write mode RGBA as JPEG\)"):
        save_picture(noise("RGBA"), tmp_path / "x.jpg")
    (tmp_path / "x.png").mkdir()
    with pytest.raises(UserError, match="cannot be written"):
        save_picture(noise(), tmp_path / "x.png")
    assert [file.name for file in tmp_path.iterdir()] == ["x.png"]
