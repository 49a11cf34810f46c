"""The data set ``labels``: ids, palettes, colours, instances, "don't care", and the layouts of public data."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from i2i.data import SeededDataset, to_device
from i2i.errors import UserError
from i2i.pictures.reading import read
from i2i.pictures.sources import Blob
from i2i_data.ids import Table, label_domain
from i2i_data.label_maps import labels
from i2i_data.layouts import LAYOUTS
from i2i_data.transforms import Transform
from pictures_on_disk import noise, png, write

PLAIN = Transform(flip=False)
COLORS = [(0, 0, 0), (255, 0, 0), (0, 255, 0), (1, 2, 3)]


def ids(seed: int, classes: int = 4, dtype: type[np.generic] = np.uint8) -> NDArray[np.generic]:
    return np.random.default_rng(seed).integers(0, classes, (20, 24)).astype(dtype)


def own(root: Path, maps: list[NDArray[np.generic]], **options: object) -> dict[str, object]:
    """Maps and pictures in folders of one's own, and the options for them."""
    for i, pixels in enumerate(maps):
        write(root / "maps" / f"{i}.png", pixels)
        write(root / "images" / f"{i}.png", noise(i))
    return {"maps": str(root / "maps"), "images": str(root / "images"), "transform": PLAIN, **options}


def test_grey_ids_come_back_exactly_on_either_side(tmp_path: Path) -> None:
    options = own(tmp_path, [ids(0), ids(1)], classes=["sea", "land", "ice", "city"])
    data = labels(**options)  # type: ignore[arg-type]
    assert data.domains["a"].classes == ("sea", "land", "ice", "city")
    assert torch.equal(data[1]["a"], torch.from_numpy(ids(1).astype(np.int64))[None])
    assert (data[1]["b"].dtype, data.paired) == (torch.float32, True)
    turned = labels(**options, side="b")  # type: ignore[arg-type]
    assert turned.domains["b"].kind == "labels"
    assert torch.equal(turned[0]["b"], data[0]["a"])


@given(colors=st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=9, unique=True), seed=st.integers(0, 99))
def test_colours_become_ids_exactly(colors: list[tuple[int, int, int]], seed: int) -> None:
    table = Table(len(colors), colors=tuple(colors))
    domain = label_domain("x", table, [], colors, False)
    truth = ids(seed, len(colors))
    rgb = np.array(colors, np.uint8)[truth.astype(np.int64)]
    assert np.array_equal(read(Blob(png(rgb), "x"), domain).pixels[0], truth)
    palette = Image.fromarray(rgb).quantize(256, dither=Image.Dither.NONE)
    if np.array_equal(np.asarray(palette.convert("RGB")), rgb):
        assert np.array_equal(read(Blob(png(np.asarray(palette.convert("RGB"))), "x"), domain).pixels[0], truth)


def test_a_palette_holds_ids_unless_a_colour_table_is_given(tmp_path: Path) -> None:
    options = own(tmp_path, [ids(0)])
    picture = Image.fromarray(ids(0))
    picture.putpalette([value for color in COLORS for value in color])
    picture.save(tmp_path / "maps" / "0.png")
    truth = torch.from_numpy(ids(0).astype(np.int64))[None]
    assert torch.equal(labels(**options, classes=4)[0]["a"], truth)  # type: ignore[arg-type]
    assert torch.equal(labels(**options, colors=COLORS[::-1])[0]["a"], 3 - truth)  # type: ignore[arg-type]


def test_a_colour_that_is_not_in_the_table_is_named_or_counted_as_dont_care(tmp_path: Path) -> None:
    rgb = np.array([*COLORS, (9, 9, 9)], np.uint8)[ids(0, 5).astype(np.int64)]
    options = own(tmp_path, [rgb], colors=COLORS)
    with pytest.raises(UserError, match=r"0\.png: \d+ of 480 pixels have a colour .* \(9, 9, 9\); .*or set dont_care"):
        labels(**options)[0]  # type: ignore[arg-type]
    data = labels(**options, dont_care=[-1])  # type: ignore[arg-type]
    assert torch.equal(data[0]["a"][0], torch.from_numpy(ids(0, 5).astype(np.int64)))
    assert data.domains["a"].label_count == 5


def test_dont_care_ids_become_the_last_class(tmp_path: Path) -> None:
    pixels = ids(0)
    pixels[:5] = 255
    data = labels(**own(tmp_path, [pixels], classes=4, dont_care=[255]))  # type: ignore[arg-type]
    assert data.domains["a"].channels == 5
    assert (data[0]["a"][0, :5] == 4).all()
    assert torch.equal(data[0]["a"][0, 5:], torch.from_numpy(pixels[5:].astype(np.int64)))


def test_ids_of_sixteen_bits_and_arrays(tmp_path: Path) -> None:
    options = own(tmp_path, [ids(0, 900, np.uint16)], classes=900)
    assert labels(**options)[0]["a"].max() > 255  # type: ignore[arg-type]
    (tmp_path / "maps" / "0.png").unlink()
    np.save(tmp_path / "maps" / "0.npy", ids(3, 900, np.int32))
    assert np.array_equal(labels(**options)[0]["a"][0].numpy(), ids(3, 900, np.int32))  # type: ignore[arg-type]


def test_a_label_map_saved_as_jpeg_is_refused(tmp_path: Path) -> None:
    options = own(tmp_path, [ids(0)], classes=4)
    (tmp_path / "maps" / "0.png").unlink()
    write(tmp_path / "maps" / "0.jpg", ids(0))
    with pytest.raises(UserError, match=r"0\.jpg: this label map is a JPEG: its compression has changed the ids"):
        labels(**options)[0]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pixels", "options", "message"),
    [
        (ids(0, 9), {"classes": 4}, r"0\.png: \d+ pixels hold 4, 5, 6, 7, 8, outside the 4 classes of 'labels' .values 0 to 3"),
        (ids(0), {"classes": 3, "offset": -1}, r"pixels hold 0, outside .* .values 1 to 3"),
        (noise(0), {"classes": 4}, r"this picture is RGB\. For training, give 'colors'"),
        (ids(0)[:7], {"classes": 4}, r"24 x 7, but its partner .* 24 x 20"),
        (ids(0), {}, "give 'classes'"),
        (ids(0), {"classes": 3, "colors": COLORS}, "3 classes and 4 colors"),
        (ids(0), {"classes": ["x", "x"]}, "x occurs twice"),
        (ids(0), {"colors": [(1, 1, 1), (1, 1, 1)]}, "occurs twice"),
        (ids(0), {"classes": 4, "instances": True}, "does not know where the instances are"),
        (ids(0), {"classes": 4, "root": "x"}, "no 'root'"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, pixels: NDArray[np.uint8], options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        labels(**own(tmp_path, [pixels]), **options)[0]  # type: ignore[arg-type]


def cityscapes(root: Path, split: str = "train") -> Path:
    for city, name in (("aachen", "aachen_000000_000019"), ("bochum", "bochum_000000_000885")):
        write(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", noise(0))
        write(root / "gtFine" / split / city / f"{name}_gtFine_labelIds.png", ids(0, 34))
        write(root / "gtFine" / split / city / f"{name}_gtFine_instanceIds.png", ids(1, 27000, np.uint16))
        write(root / "gtFine" / split / city / f"{name}_gtFine_color.png", noise(1))
    return root


def test_cityscapes_with_and_without_instances(tmp_path: Path) -> None:
    root = str(cityscapes(tmp_path))
    data = labels(layout="cityscapes", root=root, instances=True, transform=PLAIN)
    domain = data.domains["a"]
    assert (len(data), domain.channels, domain.label_count, domain.classes[26]) == (2, 36, 35, "car")
    sample = data[1]
    assert sample["a"].shape == (2, 20, 24)
    assert np.array_equal(sample["a"][1].numpy(), ids(1, 27000, np.uint16))
    stacked = {key: image[None] for key, image in SeededDataset(data, 0)[0, 0].items()}
    batch = to_device(stacked, data.domains, torch.device("cpu"))
    assert batch["a"].shape == (1, 36, 20, 24)
    assert labels(layout="cityscapes", root=root, transform=PLAIN).domains["a"].channels == 35


def test_ade20k_counts_zero_as_the_last_class(tmp_path: Path) -> None:
    pixels = ids(0, 151)
    for split in ("training", "validation"):
        write(tmp_path / "annotations" / split / "ADE_1.png", pixels)
        write(tmp_path / "images" / split / "ADE_1.jpg", noise(0))
    for split in ("train", "val"):
        data = labels(layout="ade20k", root=str(tmp_path), split=split, transform=PLAIN)  # type: ignore[arg-type]
        assert data.domains["a"].channels == 151
        expected = np.where(pixels == 0, 150, pixels.astype(np.int64) - 1)
        assert np.array_equal(data[0]["a"][0].numpy(), expected)


@pytest.mark.parametrize("layout", [("stuffthingmaps/train2017", "images/train2017", "instances/train2017"),
                                    ("train_label", "train_img", "train_inst")])  # fmt: skip
def test_coco_stuff_counts_255_as_the_last_class(tmp_path: Path, layout: tuple[str, str, str]) -> None:
    pixels = ids(0, 182)
    pixels[0] = 255
    write(tmp_path / layout[0] / "1.png", pixels)
    write(tmp_path / layout[1] / "1.jpg", noise(0))
    data = labels(layout="coco_stuff", root=str(tmp_path), transform=PLAIN)
    assert data.domains["a"].channels == 183
    assert (data[0]["a"][0, 0] == 182).all()
    with pytest.raises(UserError, match="has no instances here"):
        labels(layout="coco_stuff", root=str(tmp_path), instances=True)
    write(tmp_path / layout[2] / "1.png", ids(2, 9))
    assert labels(layout="coco_stuff", root=str(tmp_path), instances=True).domains["a"].channels == 184


def test_a_layout_that_is_not_there_says_what_it_looked_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no folders gtFine/val and leftImg8bit/val of the layout 'cityscapes'"):
        labels(layout="cityscapes", root=str(cityscapes(tmp_path)), split="val")
    with pytest.raises(UserError, match="needs 'root'"):
        labels(layout="ade20k")
    with pytest.raises(UserError, match="knows its files and classes"):
        labels(layout="ade20k", root=str(tmp_path), classes=3)


def test_the_layouts_have_the_published_numbers_of_classes() -> None:
    totals = {name: layout.table.total for name, layout in LAYOUTS.items()}
    assert totals == {"cityscapes": 35, "ade20k": 151, "coco_stuff": 183}
