"""The Earth sample: alignment, splits, independence, refusals."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from i2i.errors import UserError
from i2i_earth.dataset import BANDS, ROWS, EarthDataset, Window, picture, sketch

IMAGES = {"day": 3, "night": 3, "relief": 1, "sketch": 1, "oldmap": 3}


@pytest.mark.parametrize(("side", "channels"), IMAGES.items())
def test_images_have_the_shape_and_range_of_the_contract(side: str, channels: int) -> None:
    data = EarthDataset(a=side, b="labels", paired=False, crop=64)  # type: ignore[arg-type]
    sample = data[3]["a"]
    assert sample.shape == (channels, 64, 64)
    assert sample.dtype == torch.float32
    assert -1 <= sample.min() <= sample.max() <= 1
    assert data.domains["a"].channels == channels


def test_labels_are_ids_of_the_declared_classes() -> None:
    data = EarthDataset(a="labels", b="day", crop=128)
    domain = data.domains["a"]
    assert (domain.kind, domain.channels, len(domain.classes), len(domain.colors)) == ("labels", 19, 19, 19)
    ids = data[0]["a"]
    assert ids.shape == (1, 128, 128)
    assert ids.dtype == torch.int64
    assert 0 <= ids.min() <= ids.max() < 19


def test_a_sketch_is_black_lines_on_white() -> None:
    values, counts = picture("sketch").unique(return_counts=True)
    assert values.tolist() == [0, 255]
    assert 0.1 < counts[0] / counts.sum() < 0.5


@given(seed=st.integers(0, 10_000), crop=st.sampled_from([8, 64, 128, 256]))
def test_a_training_crop_lies_within_one_band(seed: int, crop: int) -> None:
    torch.manual_seed(seed)
    row, column = EarthDataset(crop=crop).window(0)
    assert 0 <= row <= ROWS - crop
    assert any(left <= column and column + crop <= right for left, right in BANDS["train"])


@pytest.mark.parametrize(("split", "crop", "tiles"), [("val", 128, 15), ("test", 128, 12), ("val", 256, 4), ("test", 256, 4)])
def test_tiles_cover_a_held_out_band_once(split: str, crop: int, tiles: int) -> None:
    data = EarthDataset(crop=crop, split=split)  # type: ignore[arg-type]
    assert len(data) == tiles  # the table of data/README.md
    assert len(set(data.tiles)) == tiles
    ((left, right),) = BANDS[split]
    for row, column in data.tiles:
        assert row % crop == 0
        assert (column - left) % crop == 0
        assert column + crop <= right


def test_splits_share_no_column() -> None:
    used = [column for bands in BANDS.values() for left, right in bands for column in range(left, right)]
    assert len(used) == len(set(used))


def test_a_paired_sample_shows_one_place_on_both_sides() -> None:
    data = EarthDataset(a="day", b="labels", crop=64)
    both = EarthDataset(a="labels", b="day", crop=64)
    for index in range(8):  # flipped and not
        torch.manual_seed(index)
        first = data[index]
        torch.manual_seed(index)
        second = both[index]
        assert torch.equal(first["a"], second["b"])
        assert torch.equal(first["b"], second["a"])


def test_the_crops_are_the_pictures_own_pixels() -> None:
    data = EarthDataset(a="day", b="night", crop=128, split="test")
    row, column = data.tiles[5]
    for key, side in (("a", "day"), ("b", "night")):
        expected = picture(side)[:, row : row + 128, column : column + 128]  # type: ignore[arg-type]
        assert torch.equal(((data[5][key] + 1) * 127.5).round().byte(), expected)


def test_flips_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    def at(flip: bool) -> torch.Tensor:
        data = EarthDataset(crop=32, flip=flip)
        monkeypatch.setattr(data, "window", lambda _: Window(400, 1200))
        return torch.stack([data[0]["a"] for _ in range(16)])

    assert len(at(False).unique(dim=0)) == 1
    flipped = at(True).unique(dim=0)
    assert len(flipped) == 2
    assert torch.equal(flipped[0], flipped[1].flip(-1))


def test_unpaired_sides_are_drawn_independently(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    data = EarthDataset(paired=False, crop=64)
    drawn: list[Window] = []
    whole = data.window
    monkeypatch.setattr(data, "window", lambda index: drawn.append(whole(index)) or drawn[-1])  # type: ignore[func-returns-value]
    for _ in range(300):
        data[0]
    places = torch.tensor(drawn, dtype=torch.float).view(300, 2, 2)
    for coordinate in range(2):
        assert abs(torch.corrcoef(places[:, :, coordinate].T)[0, 1]) < 0.2
    assert len({tuple(window) for window in drawn}) > 500


def test_held_out_tiles_never_change() -> None:
    data = EarthDataset(paired=False, split="val")
    first = data[2]
    torch.manual_seed(5)
    again = data[2]
    assert all(torch.equal(first[key], again[key]) for key in first)


@given(seed=st.integers(0, 1000))
def test_crops_that_are_nearly_all_sea_are_left_out(seed: int) -> None:
    torch.manual_seed(seed)
    data = EarthDataset(a="labels", b="day", crop=32, max_ocean=0.5)
    assert (data[0]["a"] < 4).float().mean() <= 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"a": "day", "b": "day"}, "both 'day'"),
        ({"a": "day", "b": "oldmap"}, "set paired to false"),
        ({"crop": 300}, r"crop of 300 .* 256 columns"),
        ({"crop": 256, "split": "test", "max_ocean": 0.0}, "raise max_ocean"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        len(EarthDataset(**options))  # type: ignore[arg-type]


def test_the_attribution_is_shipped_beside_the_pictures() -> None:
    from importlib.resources import files

    text = (files("i2i_earth") / "data" / "README.md").read_text(encoding="utf-8")
    for words in ("NASA", "Natural Earth", "BSD 3-Clause", "Public domain"):
        assert words in text


def test_a_sketch_hatches_water_level_and_dark_land_slanting_and_dots_sand() -> None:
    sea = sketch(torch.tensor([2, 5, 40], dtype=torch.uint8).view(3, 1, 1).expand(3, 24, 24))[0]
    assert (sea == sea[:, :1]).all()
    assert sea[:, 0].tolist() == [0 if row % 3 == 0 else 255 for row in range(24)]
    forest = sketch(torch.tensor([20, 40, 10], dtype=torch.uint8).view(3, 1, 1).expand(3, 24, 24))[0]
    assert torch.equal(forest[1:, :-1], forest[:-1, 1:])
    assert (forest == 0).any()
    sand = sketch(torch.tensor([180, 150, 110], dtype=torch.uint8).view(3, 1, 1).expand(3, 24, 24))[0]
    assert (sand == 0).sum() == 24 * 24 / 16
    ice = sketch(torch.full((3, 24, 24), 250, dtype=torch.uint8))
    assert (ice == 255).all()
