"""The data set ``folders``: finding, pairing by name, independent draws, splits, and folders as people have them."""

import itertools
import logging
import shutil
import unicodedata
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from i2i.data import BatchOrder, SeededDataset, batches
from i2i.errors import UserError
from i2i_data.folders import folders
from i2i_data.listing import find, keys, match
from i2i_data.sources import Read
from i2i_data.transforms import Transform
from pictures_on_disk import huge_png, noise, two_folders, write

SMALL = Transform(resize=20, crop=16)
PLAIN = Transform(flip=False)


def test_the_layout_of_cyclegan_is_found_and_unpaired(tmp_path: Path) -> None:
    data = folders(root=str(two_folders(tmp_path)), transform=SMALL, names=("horse", "zebra"))
    assert (len(data), data.paired, data.train) == (6, False, True)
    assert [domain.name for domain in data.domains.values()] == ["horse", "zebra"]
    sample = data[5]
    assert {key: (image.shape, image.dtype) for key, image in sample.items()} == {
        key: (torch.Size([3, 16, 16]), torch.float32) for key in "ab"
    }


@pytest.mark.parametrize("layout", ["train{}", "train/{}", "{}/train", "train_{}"])
def test_other_layouts_are_found(tmp_path: Path, layout: str) -> None:
    for side in "AB":
        write(tmp_path / layout.format(side) / "1.png", noise(1))
    assert len(folders(root=str(tmp_path), paired=True)) == 1


def test_b_is_drawn_independently_and_evenly(tmp_path: Path) -> None:
    data = folders(root=str(two_folders(tmp_path, 6, 6)), transform=PLAIN)
    seeded = SeededDataset(data, seed=0)
    epochs, n = 200, len(data)
    number = {data.sides["b"].load(i).pixels.float().sum().item(): i for i in range(n)}

    def met(epoch: int, index: int) -> int:
        return number[((seeded[epoch, index]["b"] + 1) * 127.5).round().sum().item()]

    drawn = torch.tensor([[met(epoch, index) for index in range(n)] for epoch in range(epochs)])
    assert (drawn[1:] != drawn[:-1]).float().mean() > 0.7  # the pairs change in each epoch
    expected = epochs * n / n**2
    table = torch.stack([drawn[:, i].bincount(minlength=n) for i in range(n)]).float()  # how often a met b
    chi_squared = ((table - expected) ** 2 / expected).sum()
    assert chi_squared < 70  # 30 degrees of freedom: above 70 in 1 of 20,000 cases if even and independent
    uses = drawn.flatten().bincount(minlength=n).float()
    assert ((uses - epochs) / epochs).abs().max() < 0.3


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")
def test_the_same_seed_gives_the_same_samples_with_any_number_of_workers(tmp_path: Path) -> None:
    data = folders(root=str(two_folders(tmp_path)), transform=Transform(resize=20, crop=16, rotate=10, jitter=0.3, cutout=0.2))

    def take(workers: int) -> list[torch.Tensor]:
        stream = batches(data, BatchOrder(len(data), 2, 3), device=torch.device("cpu"), workers=workers)
        return [batch[key] for batch in itertools.islice(stream, 5) for key in "ab"]

    alone = take(0)
    for workers in (1, 4):
        assert all(torch.equal(x, y) for x, y in zip(alone, take(workers), strict=True))


def test_pairs_match_by_name_and_orphans_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("1", "2", "lonely"):
        write(tmp_path / "trainA" / f"{name}.png", noise(0))
    for name in ("1", "2"):
        write(tmp_path / "trainB" / f"{name}.bmp", noise(1))
    told: list[str] = []
    monkeypatch.setattr(logging.getLogger("i2i.data"), "warning", told.append)
    data = folders(root=str(tmp_path), paired=True, transform=SMALL)
    assert len(data) == 2
    assert "1 of 3 files have no partner" in data.notes[0]
    assert "lonely.png" in told[0]
    for index in range(2):
        names = [Path(data.inventory()[key][index]).stem for key in "ab"]
        assert names[0] == names[1]


def test_a_pair_gets_one_crop_and_one_flip(tmp_path: Path) -> None:
    for part in ("trainA", "trainB"):
        write(tmp_path / part / "1.png", noise(7))
    data = folders(root=str(tmp_path), paired=True, transform=Transform(resize=30, crop=16, rotate=20))
    for _ in range(10):
        sample = data[0]
        assert torch.equal(sample["a"], sample["b"])


def test_endings_and_globs(tmp_path: Path) -> None:
    for i in range(3):
        write(tmp_path / "all" / f"{i}_day.png", noise(i))
        write(tmp_path / "all" / f"{i}_night.png", noise(i))
    place = str(tmp_path / "all")
    assert len(folders(a=place, b=place, paired=True, endings=("_day", "_night"))) == 3
    assert len(folders(a=f"{place}/*_day.png", b=f"{place}/**/*_night.png")) == 3
    with pytest.raises(UserError, match="no name ends in '_dawn'"):
        folders(a=place, b=place, paired=True, endings=("_dawn", "_night"))


def test_held_out_samples_are_fixed_and_not_varied(tmp_path: Path) -> None:
    two_folders(two_folders(tmp_path), 3, 3, "test")
    data = folders(root=str(tmp_path), split="test", transform=Transform(resize=20, crop=16, jitter=0.5))
    assert len(data) == 3
    first = [data[i] for i in range(3)]
    torch.manual_seed(9)
    assert all(torch.equal(data[i][key], first[i][key]) for i in range(3) for key in "ab")
    place = str(tmp_path / "{split}A")
    assert len(folders(a=place, b=place, split="test")) == 3


def test_names_in_unicode_with_spaces_and_very_long(tmp_path: Path) -> None:
    names = ["Ünïcode ß 山", "a  b\tc", "n" * 240, "with.dots.in.it", "[bracket]"]
    for name in names:
        write(tmp_path / "trainA" / f"{unicodedata.normalize('NFC', name)}.png", noise(0))
        write(tmp_path / "trainB" / f"{unicodedata.normalize('NFD', name)}.png", noise(0))
    data = folders(root=str(tmp_path), paired=True, transform=SMALL)
    assert len(data) == len(names)
    assert not data.notes
    assert data[4]["a"].shape == (3, 16, 16)
    with pytest.raises(UserError, match="cannot be read"):
        find("x" * 300)


def test_symbolic_links_in_a_circle_end(tmp_path: Path) -> None:
    two_folders(tmp_path)
    (tmp_path / "trainA" / "again").symlink_to(tmp_path / "trainA", target_is_directory=True)
    (tmp_path / "trainA" / "self.png").symlink_to(tmp_path / "trainA" / "self.png")
    (tmp_path / "linked").symlink_to(tmp_path / "trainA", target_is_directory=True)
    assert len(find(str(tmp_path / "trainA")).files) == 4
    assert len(find(str(tmp_path / "linked")).files) == 4


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    two_folders(tmp_path)
    for name in ("Thumbs.db", "notes.txt", ".hidden.png", "._0.png"):
        (tmp_path / "trainA" / name).write_bytes(b"no picture")
    assert len(find(str(tmp_path / "trainA")).files) == 4


def test_a_picture_in_name_only_is_refused(tmp_path: Path) -> None:
    two_folders(tmp_path)
    (tmp_path / "trainA" / "text.png").write_text("no picture")
    (tmp_path / "trainB" / "huge.png").write_bytes(huge_png(20_000))
    with pytest.raises(UserError, match=r"2 files cannot be read:(?s:.*)text\.png: not a picture(?s:.*)too large"):
        folders(root=str(tmp_path))


def half_corrupt(root: Path) -> Path:
    """Every other file broken: one without a head, the others cut off."""
    two_folders(root, 6, 6)
    for i in (0, 2, 4):
        path = root / "trainA" / f"{i}.png"
        path.write_bytes(b"junk" if i == 0 else path.read_bytes()[:200])
    return root


def test_corrupt_files_are_refused_with_their_names(tmp_path: Path) -> None:
    half_corrupt(tmp_path)
    with pytest.raises(UserError, match=r"0\.png(?s:.*)corrupt: skip"):
        folders(root=str(tmp_path))
    kept = folders(root=str(tmp_path), corrupt="keep", transform=SMALL)
    with pytest.raises(UserError, match=r"2\.png: the picture is corrupt or truncated"):
        kept[2]


@pytest.mark.parametrize("paired", [True, False])
def test_corrupt_files_are_skipped_and_counted_when_asked(tmp_path: Path, paired: bool) -> None:
    data = folders(root=str(half_corrupt(tmp_path)), paired=paired, corrupt="skip", transform=SMALL)
    assert "left out, as 3 files cannot be read" in data.notes[0]
    assert len(data.inventory()["a"]) == 3
    assert len(data.inventory()["b"]) == (3 if paired else 6)
    for index in range(len(data)):
        data[index]
    shutil.rmtree(tmp_path / "trainA")
    (tmp_path / "trainA").mkdir()
    (tmp_path / "trainA" / "0.png").write_bytes(b"junk")
    with pytest.raises(UserError, match="no file is left"):
        folders(root=str(tmp_path), corrupt="skip")


def test_a_pair_of_different_sizes_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "trainA" / "1.png", noise(0, 20, 24))
    write(tmp_path / "trainB" / "1.png", noise(0, 24, 20))
    data = folders(root=str(tmp_path), paired=True)
    with pytest.raises(UserError, match=r"1\.png is 24 x 20, but its partner .* is 20 x 24"):
        data[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give 'root'"),
        ({"a": "{0}/trainA"}, "give 'root'"),
        ({"root": "{0}", "a": "x", "b": "y"}, "not both"),
        ({"root": "{0}/mising"}, r"no such file or folder. Did you mean 'missing'"),
        ({"root": "{0}/trainA/0.png"}, "not a folder"),
        ({"root": "{0}", "split": "val"}, r"no folders valA and valB.*It holds: empty, missing, trainA, trainB"),
        ({"a": "{0}/empty", "b": "{0}/trainB"}, "no pictures in this folder .it is empty"),
        ({"a": "{0}/missing", "b": "{0}/trainB"}, r"1 other files, such as x\.txt"),
        ({"a": "{0}/*.jpg", "b": "{0}/trainB"}, "no picture matches"),
        ({"a": "{0}/trainA", "b": "{0}/trainB/100.png", "paired": True}, "no pair found"),
        ({"root": "{0}", "read_a": {"channels": 5}, "transform": {"jitter": 0.1}}, "jitter needs 1 or 3 channels"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, options: dict[str, object], message: str) -> None:
    from i2i.recipe.options import check_options, options_model

    two_folders(tmp_path)
    (tmp_path / "trainB" / "0.png").rename(tmp_path / "trainB" / "100.png")
    (tmp_path / "empty").mkdir()
    write(tmp_path / "missing" / "x.png", noise(0)).rename(tmp_path / "missing" / "x.txt")
    given = {key: value.replace("{0}", str(tmp_path)) if isinstance(value, str) else value for key, value in options.items()}
    with pytest.raises(UserError, match=message):
        folders(**check_options(options_model("dataset", folders), given))


def test_names_that_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    for suffix in (".png", ".bmp"):
        write(tmp_path / f"1{suffix}", noise(0))
    with pytest.raises(UserError, match="cannot be distinguished"):
        keys(find(str(tmp_path)))


@settings(deadline=None)
@given(a=st.sets(st.text("abc", min_size=1), min_size=1), b=st.sets(st.text("abc", min_size=1), min_size=1))
def test_matching_keeps_what_both_sides_have(a: set[str], b: set[str]) -> None:
    sides = [{name: Path(side, name) for name in names} for side, names in (("a", a), ("b", b))]
    if not a & b:
        with pytest.raises(UserError, match="no pair found"):
            match(sides, ["a", "b"])
        return
    matched = match(sides, ["a", "b"])
    assert [file.name for file in matched.files[0]] == sorted(a & b) == [file.name for file in matched.files[1]]
    assert len(matched.notes) == bool(a - b) + bool(b - a)


def test_a_sample_is_called_by_the_pictures_it_shows(tmp_path: Path) -> None:
    """Also where b is drawn: the name is that of the very picture."""
    for i in range(9):
        for side in "AB":
            path = tmp_path / f"train{side}" / f"{side}{i}.png"
            path.parent.mkdir(exist_ok=True)
            Image.new("L", (8, 8), 20 * i).save(path)
    grey = Read(channels=1)
    data = folders(root=str(tmp_path), paired=False, transform=PLAIN, read_a=grey, read_b=grey)
    seeded = SeededDataset(data, 5)
    for epoch in range(4):
        name, sample = seeded.name((epoch, 3)), seeded[epoch, 3]
        shown = [round(float(sample[key].mean() + 1) * 127.5 / 20) for key in "ab"]
        assert [int(Path(part).stem[1:]) for part in name.split(" + ")] == shown
