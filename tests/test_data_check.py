"""``i2i data check`` and ``i2i data pack``: what they find, what they write, and their exit codes."""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import datasets  # type: ignore[import-untyped]
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import i2i_data
import i2i_metrics
import terminal
import toy
from i2i.errors import UserError
from i2i.registry import Registry
from i2i_data import pack as packing
from i2i_data.folders import folders
from i2i_data.hub import hub
from i2i_data.label_maps import labels
from i2i_data.side_by_side import side_by_side
from i2i_data.sources import Read
from i2i_data.transforms import Transform
from pictures_on_disk import noise, two_folders, write

REST = "generator: {name: toy}\ndiscriminator: {name: judge}\nloss: {name: toy}\n"
SMALL = "transform: {resize: 20, crop: 16}"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory; the toys, the data sets and the metrics are the only plugins."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    terminal.install(monkeypatch, Registry(plugins={"toys": toy, "data": i2i_data, "metrics": i2i_metrics}))
    return tmp_path


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    return terminal.call(monkeypatch, "data", *arguments)


def recipe(dataset: str, rest: str = "") -> str:
    Path("r.yaml").write_text(f"dataset: {{{dataset}}}\n{REST}{rest}")
    return "r.yaml"


def test_good_data_pass_and_are_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    two_folders(Path("d"))
    assert call(monkeypatch, "check", recipe(f"name: folders, root: d, {SMALL}")) == 0
    out = capsys.readouterr().out
    assert "dataset: 6 samples in an epoch, unpaired" in out
    assert "a (a): 4 pictures, all 24 x 20" in out
    assert "error" not in out
    assert "The data can be trained on." in out
    assert "r-data.png" in out
    with Image.open("r-data.png") as sheet:
        assert sheet.width > 2 * 96


def test_everything_odd_is_found(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(8):
        for side in "AB":
            write(Path("d") / f"train{side}" / f"{i}.png", noise(i + (50 if side == "B" else 0)))
    write(Path("d/trainA/orphan.png"), noise(90))
    for side in "AB":
        write(Path(f"d/test{side}/x.png"), noise(0 if side == "A" else 91))  # A is a training picture too
    write(Path("d/trainB/1.png"), noise(1, 30, 24))
    shutil.copy("d/trainA/2.png", "d/trainA/3.png")
    Path("d/trainA/4.png").write_bytes(Path("d/trainA/4.png").read_bytes()[:300])
    Path("d/trainA/5.png").write_bytes(b"junk")
    write(Path("d/trainB/6.png"), np.full((20, 24), 7, np.uint8))
    write(Path("d/trainB/7.png"), (noise(7, channels=1) // 2).astype(np.uint16))
    path = recipe(f"name: folders, root: d, paired: true, {SMALL}", "samples: {dataset: {split: test}}\n")
    assert call(monkeypatch, "check", path, "--sheet", "sheet.png") == 2
    out = capsys.readouterr().out
    for words in (
        "1 of 9 files have no partner and are left out: orphan.png",
        "error: dataset: a (a): 2 of 8 cannot be used",
        "4.png: the picture is corrupt or truncated",
        "5.png: not a picture",
        "error: dataset: 1 pairs of different sizes",
        "1.png is 24 x 20, d/trainB/1.png is 24 x 30",
        "1 group of pictures that are the same:\n  d/trainA/2.png = d/trainA/3.png",
        "error: a: 1 held-out pictures are also trained on:\n  d/testA/x.png = d/trainA/0.png",
        "1 pictures: grey, repeated to 3 channels; the first: d/trainB/6.png",
        "1 pictures of one colour only",
        "16 bits of which 8 are used (nearly black): declare range: [0, 255]; the first: d/trainB/7.png",
    ):
        assert words in out
    assert Path("sheet.png").exists()


def test_the_pictures_of_an_evaluation_are_read(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """They are those of the split val, unless the recipe names another."""
    for split in ("train", "val", "test"):
        for side in "AB":
            for i in range(2):
                write(Path(f"d/{split}{side}/{i}.png"), noise(len(split) * 10 + i + ord(side)))
    bad = Path("d/valB/1.png")
    bad.write_bytes(bad.read_bytes()[:300])
    for over, errors in (("", 2), ("dataset: {split: test}, ", 0), ("dataset: {split: vall}, ", 2)):
        path = recipe(f"name: folders, root: d, {SMALL}", f"evaluate: {{{over}metrics: [cycle]}}\n")
        assert call(monkeypatch, "check", path, "--sheet", "sheet.png") == errors
        out = capsys.readouterr().out
        if not over:
            assert "error: evaluate.dataset: b (b): 1 of 2 cannot be used:\n  d/valB/1.png: the picture is corrupt" in out
        assert "error: evaluate.dataset: dataset 'folders': d: no folders vallA" in out or "vall" not in over


def test_label_maps_are_counted_by_class(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for i, value in enumerate((0, 2, 9)):
        write(Path(f"maps/{i}.png"), np.full((20, 24), value, np.uint8))
        write(Path(f"photos/{i}.png"), noise(i))
    write(Path("maps/3.jpg"), noise(0, channels=1))
    write(Path("photos/3.png"), noise(3))
    path = recipe(f"name: labels, maps: maps, images: photos, classes: [sea, land, ice], {SMALL}")
    assert call(monkeypatch, "check", path) == 2
    out = capsys.readouterr().out
    assert "a (labels): sea 50.00%, ice 50.00%" in out
    assert "1 of 3 classes never occur: land" in out
    assert "maps/2.png: 480 pixels hold 9, outside the 3 classes" in out
    assert "maps/3.jpg: this label map is a JPEG" in out


def test_half_the_files_corrupt_are_all_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    two_folders(Path("d"), 10, 4)
    for i in range(0, 10, 2):
        Path(f"d/trainA/{i}.png").write_bytes(b"junk")
    path = recipe(f"name: folders, root: d, {SMALL}")
    assert call(monkeypatch, "check", path) == 2
    assert terminal.call(monkeypatch, "run", path, "--out", "out", "--set", "train.steps=1") == 2
    out, refused = capsys.readouterr()
    assert all(f"d/trainA/{i}.png: not a picture" in text for i in range(0, 10, 2) for text in (out, refused))


def test_samples_that_make_no_batch_are_a_warning(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(4):
        for side in "AB":
            write(Path(f"d/train{side}/{i}.png"), noise(i + (9 if side == "B" else 0), 20 + i, 24))
    assert call(monkeypatch, "check", recipe("name: folders, root: d, transform: {flip: true}")) == 0
    out = capsys.readouterr().out
    assert "24 x 20 to 24 x 23" in out
    assert "warning: samples have different sizes" in out


def test_a_data_set_without_files_is_looked_at_by_its_samples(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recipe("name: stripes, length: 5")
    assert call(monkeypatch, "check", path) == 0
    assert "a (plain): 5 pictures, all 16 x 16" in capsys.readouterr().out
    assert call(monkeypatch, "pack", path, "--out", "packed") == 2
    assert "'inventory' of single pictures" in capsys.readouterr().err


def test_more_channels_are_shown_by_their_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def sheet(*changed: int) -> bytes:
        """The picture that shows five channels, of which some are black."""
        pixels = np.random.default_rng(0).random((16, 16, 5))
        pixels[:, :, list(changed)] = 0
        for side in "AB":
            Path(f"d/train{side}").mkdir(parents=True, exist_ok=True)
            np.save(f"d/train{side}/1.npy", pixels)
        sides = "read_a: {channels: 5}, read_b: {channels: 5}"
        path = recipe(f"name: folders, root: d, {sides}, transform: {{resize: 16, crop: 16, flip: false}}")
        assert call(monkeypatch, "check", path) == 0
        return Path("r-data.png").read_bytes()

    whole = sheet()
    assert sheet(3, 4) == whole
    assert whole not in [sheet(0), sheet(1), sheet(2)]


PLAIN = Transform(flip=False)


def pack(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], dataset: str) -> str:
    """The recipe line that reads back what was packed."""
    path = recipe(dataset + ", transform: {flip: false}")
    assert call(monkeypatch, "pack", path, "--out", "packed", "--rows", "2") == 0
    return capsys.readouterr().out.splitlines()[-1]


def test_packed_pairs_are_read_back_bit_by_bit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(5):
        write(Path(f"d/trainA/{i}.png"), noise(i))
        write(Path(f"d/trainB/{i}.png"), (noise(i, channels=1).astype(np.uint16) * 257))
    line = pack(monkeypatch, capsys, "name: folders, root: d, paired: true")
    assert line == "dataset: {name: hub, source: packed, columns: [imageA, imageB], split: train}"
    shards = [f"train-{i:05d}-of-00003.parquet" for i in range(3)]
    assert sorted(p.name for p in Path("packed").iterdir()) == [*shards, "train.index.json"]
    index = json.loads(Path("packed/train.index.json").read_text())
    assert (index["samples"], [part["samples"] for part in index["shards"]]) == (5, [2, 2, 1])
    assert index["bytes"] == sum(Path("packed", name).stat().st_size for name in shards)
    before, after = folders(root="d", paired=True, transform=PLAIN), hub(source="packed", transform=PLAIN, cache="cache")
    assert len(before) == len(after) == 5
    for i in range(5):
        assert all(torch.equal(before[i][key], after[i][key]) for key in "ab")
    shutil.rmtree("d/trainA")
    assert call(monkeypatch, "pack", "r.yaml", "--out", "packed") == 2


def test_packing_twice_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    two_folders(Path("d"))
    line = pack(monkeypatch, capsys, "name: folders, root: d")
    assert "source: packed/a, source_b: packed/b, columns: [image, image], paired: false" in line
    after = hub(
        source="packed/a", source_b="packed/b", columns=("image", "image"), paired=False, transform=PLAIN, cache="cache"
    )
    assert [len(names) for names in after.inventory().values()] == [4, 6]
    assert call(monkeypatch, "pack", "r.yaml", "--out", "packed") == 2
    assert "shards of the split 'train' already" in capsys.readouterr().err


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda folder: [path.unlink() for path in sorted(folder.glob("*.parquet"))[2:]],
            "3 of 5 shards are missing, .*00002-of",
        ),
        (lambda folder: (folder / "train.index.json").unlink(), r"not complete: train\.index\.json, .*, is missing"),
        (lambda folder: cut(folder / "train-00001-of-00005.parquet"), r"00001-of-00005\.parquet: it has \d+ bytes, not \d+"),
    ],
)
def test_a_pack_that_is_not_whole_is_not_read(
    damage: Any, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    two_folders(Path("d"), 10, 10)
    line = pack(monkeypatch, capsys, "name: folders, root: d")
    Path("r.yaml").write_text(f"{line[:-1]}, {SMALL}}}\n{REST}")
    assert call(monkeypatch, "check", "r.yaml") == 0
    damage(Path("packed/b"))
    capsys.readouterr()
    assert call(monkeypatch, "check", "r.yaml") == 2
    assert re.search(rf"packed/b.*{message}", capsys.readouterr().err)
    for streaming in (False, True):
        with pytest.raises(UserError, match=message):
            hub(source="packed/b", columns=("image", "image"), cache="cache", streaming=streaming)


def test_a_pack_that_was_interrupted_is_not_read(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    two_folders(Path("d"), 10, 10)
    path, write_shard = recipe("name: folders, root: d"), packing.write_shard

    def until_the_fourth(path: Path, *rest: Any) -> None:
        if path.parent.name == "b" and len(list(path.parent.glob("*.parquet"))) == 3:
            raise KeyboardInterrupt
        write_shard(path, *rest)

    monkeypatch.setattr(packing, "write_shard", until_the_fourth)
    assert call(monkeypatch, "pack", path, "--out", "packed", "--rows", "2") != 0
    assert sorted(found.name for found in Path("packed/b").iterdir()) == [f"train-{i:05d}-of-00005.parquet" for i in range(3)]
    with pytest.raises(UserError, match=r"the pack of the split 'train' is not complete"):
        hub(source="packed/b", columns=("image", "image"), cache="cache")
    with pytest.raises(UserError, match=r"the pack of the split 'train' is not complete"):
        hub(source="packed/b/train-*.parquet", columns=("image", "image"), cache="cache")


def test_a_pack_stays_in_its_folder(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    two_folders(Path("d"), 2, 2)
    pack(monkeypatch, capsys, "name: folders, root: d")
    Path("secret.parquet").write_bytes(Path("packed/b/train-00000-of-00001.parquet").read_bytes())
    datasets.load_dataset("packed/b", split="train", cache_dir="cache").save_to_disk("saved")
    line = "name: hub, source: saved, columns: [image, image], paired: false, split: '../../x'"
    assert call(monkeypatch, "pack", recipe(line), "--out", "deep/packed") == 2
    assert "dataset.split: '../../x' is not a name for a file" in capsys.readouterr().err
    assert not Path("deep").exists()
    index = json.loads(Path("packed/b/train.index.json").read_text())
    index["shards"].append({**index["shards"][0], "name": "../../secret.parquet"})
    Path("packed/b/train.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match=r"'\.\./\.\./secret\.parquet' is not a name for a file"):
        hub(source="packed/b", columns=("image", "image"), cache="cache")
    index["shards"][-1]["name"] = "1" * 5000
    Path("packed/b/train.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match=r"1' is not a name for a file.*, at most 200 bytes"):
        hub(source="packed/b", columns=("image", "image"), cache="cache")


@pytest.mark.parametrize("instances", [False, True])
def test_packed_label_maps_hold_ids(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], instances: bool
) -> None:
    maps = np.random.default_rng(0).integers(0, 4, (20, 24)).astype(np.uint8)
    maps[0] = 255
    write(Path("maps/1.png"), maps)
    write(Path("photos/1.png"), noise(1))
    write(Path("inst/1.png"), maps.astype(np.uint16) * 1000)
    more = ", instances: inst" if instances else ""
    line = pack(monkeypatch, capsys, f"name: labels, maps: maps, images: photos, classes: 4, dont_care: [255]{more}")
    assert line.endswith("labels: a, classes: 5, instances: true}" if instances else "labels: a, classes: 5}")
    before = labels(
        maps="maps", images="photos", classes=4, dont_care=[255], instances="inst" if instances else False, transform=PLAIN
    )
    after = hub(source="packed", labels="a", classes=5, instances=instances, transform=PLAIN, cache="cache")
    assert before.domains["a"].channels == after.domains["a"].channels
    assert all(torch.equal(before[0][key], after[0][key]) for key in "ab")


def test_packed_halves(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(3):
        write(Path(f"d/train/{i}.png"), np.concatenate([noise(i), noise(i + 9)], 1))
    pack(monkeypatch, capsys, "name: side_by_side, root: d, order: ba")
    before, after = side_by_side(root="d", order="ba", transform=PLAIN), hub(source="packed", transform=PLAIN, cache="cache")
    assert all(torch.equal(before[i][key], after[i][key]) for i in range(3) for key in "ab")


def test_packed_values_are_read_as_they_were(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(3):
        write(Path(f"d/trainA/{i}.png"), noise(i, channels=1).astype(np.uint16) * 16)
        write(Path(f"d/trainB/{i}.png"), noise(i, channels=4))
        write(Path(f"halves/train/{i}.png"), noise(i, 20, 48))
    grey, dark = "{channels: 1, range: [0, 4095]}", "{alpha: black}"
    line = pack(monkeypatch, capsys, f"name: folders, root: d, paired: true, read_a: {grey}, read_b: {dark}")
    assert line.endswith(f"read_a: {grey}, read_b: {dark}}}")
    halves = "name: side_by_side, root: halves, read: {channels: 1, range: [20, 200]}"
    path = recipe(f"{halves}, transform: {{flip: false}}")
    assert call(monkeypatch, "pack", path, "--out", "whole") == 0
    other = capsys.readouterr().out.splitlines()[-1]
    assert other.endswith("read_a: {channels: 1}, read_b: {channels: 1}}")
    given: dict[str, Any] = {"read_a": Read(channels=1, range=(0, 4095)), "read_b": Read(alpha="black")}
    before = {
        line: folders(root="d", paired=True, transform=PLAIN, **given),
        other: side_by_side(root="halves", read=Read(channels=1, range=(20, 200)), transform=PLAIN),
    }
    for told, data in before.items():
        options = yaml.safe_load(told)["dataset"]
        reads = {key: Read(**options.pop(key)) for key in ("read_a", "read_b")}
        assert options.pop("name") == "hub"
        again = hub(**options, **reads, cache="cache", transform=PLAIN)
        assert all(torch.equal(data[i][key], again[i][key]) for i in range(3) for key in "ab")


def test_nested_options_pass_through_a_run_and_its_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    from i2i.recipe import load_recipe

    two_folders(two_folders(Path("d"), 3, 3), 3, 3, "test")
    rest = "train: {steps: 2}\nsamples: {dataset: {split: test}, count: 2}\ncheckpoint: {every: 1}\n"
    path = recipe(f"name: folders, root: d, paired: true, {SMALL}", rest)
    for arguments in ([], ["--resume", "--set", "train.steps=3"]):
        assert terminal.call(monkeypatch, "run", path, "--out", "out", *arguments) == 0
    resolved = load_recipe(Path("out/recipe.yaml"))
    assert resolved.dataset == load_recipe(Path(path)).dataset
    assert resolved.dataset.options["transform"] == Transform(resize=20, crop=16)


def test_misspelt_transform_options_are_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    path = recipe("name: folders, root: d, transform: {crp: 16, rotate: 500}")
    assert call(monkeypatch, "check", path) == 2
    error = capsys.readouterr().err
    assert "dataset.transform.crp: unknown key. Did you mean 'crop'?" in error
    assert "dataset.transform.rotate: must be at most 180" in error


def test_help_needs_no_torch() -> None:
    import subprocess

    code = "import sys, i2i.cli; sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'datasets')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
