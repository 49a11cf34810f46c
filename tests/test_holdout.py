"""Held-out pictures are not those that were trained on: a part of a folder, and what is refused where nothing is held out."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from i2i.cli import app
from i2i.errors import UserError
from i2i.recipe import load_recipe
from i2i.registry import default_registry
from i2i.training.running import run_recipe
from i2i_data.folders import folders
from i2i_data.label_maps import labels
from i2i_data.side_by_side import side_by_side
from i2i_data.sides import Sides
from i2i_data.transforms import Transform
from pictures_on_disk import noise, write

CROP = Transform(crop=16)


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """Two folders of pictures of equal names, some of them in a folder below, and nothing that says which are held out."""
    for i in range(40):
        for side in ("day", "night"):
            write(tmp_path / side / ("deep" if i % 3 else "") / f"{i}.png", noise(i, 16, 16))
    return tmp_path


def names(data: Sides, side: str = "a") -> set[str]:
    return {Path(name).stem for name in data.inventory()[side]}


def of_all_kinds(root: Path, **options: Any) -> dict[str, Sides]:
    day, night = str(root / "day"), str(root / "night")
    for i in range(40):
        write(root / "maps" / f"{i}.png", np.full((16, 16), i % 3, np.uint8))
        write(root / "photos" / f"{i}.png", noise(i, 16, 16))
        write(root / "both" / f"{i}.png", noise(i, 16, 32))
    return {
        "paired": folders(a=day, b=night, paired=True, transform=CROP, **options),
        "unpaired": folders(a=day, b=night, transform=CROP, **options),
        "globs": folders(a=f"{day}/**/*.png", b=f"{night}/**/*.png", paired=True, transform=CROP, **options),
        "halves": side_by_side(root=str(root / "both"), transform=CROP, **options),
        "labels": labels(maps=str(root / "maps"), images=str(root / "photos"), classes=3, transform=CROP, **options),
    }


def test_a_part_is_held_out_of_every_kind_of_folder(two: Path) -> None:
    trained, val, test = (of_all_kinds(two, holdout=0.25, split=split) for split in ("train", "val", "test"))
    whole = of_all_kinds(two)
    for kind, data in whole.items():
        for side in "ab":
            kept, held = names(trained[kind], side), names(val[kind], side)
            assert kept | held == names(data, side)
            assert not kept & held
            assert 2 <= len(held) <= 18
            assert names(test[kind], side) == held
        assert names(val[kind], "a") == names(val[kind], "b"), "partners stay together"


def test_the_part_stays_when_pictures_are_added_and_folders_move(two: Path) -> None:
    def held(root: Path) -> set[str]:
        return names(
            folders(a=str(root / "day"), b=str(root / "night"), paired=True, transform=CROP, holdout=0.25, split="val")
        )

    before = held(two)
    for i in range(40, 80):
        for side in ("day", "night"):
            write(two / side / f"{i}.png", noise(i, 16, 16))
    after = held(two)
    assert before == {name for name in after if int(name) < 40}
    assert len(after) > len(before)
    shutil.copytree(two / "day", two / "moved" / "day")
    shutil.copytree(two / "night", two / "moved" / "night")
    assert held(two / "moved") == after


def test_endings_do_not_tear_partners_apart(tmp_path: Path) -> None:
    for i in range(30):
        for ending in ("A", "B"):
            write(tmp_path / "x" / f"{i}_{ending}.png", noise(i, 16, 16))
    options = {"paired": True, "endings": ("_A", "_B"), "transform": CROP, "holdout": 0.3}
    data = folders(a=str(tmp_path / "x"), b=str(tmp_path / "x"), split="val", **options)  # type: ignore[arg-type]
    assert 2 <= len(data) <= 18
    assert not data.notes
    assert {name.removesuffix("_A") for name in names(data, "a")} == {name.removesuffix("_B") for name in names(data, "b")}


def test_holding_out_what_is_split_already_or_all_is_refused(two: Path) -> None:
    with pytest.raises(UserError, match=r"holdout: the folders of the splits already say which"):
        folders(a=str(two / "{split}"), b=str(two / "night"), holdout=0.1)
    with pytest.raises(UserError, match=r"holdout: the folders of the splits already say which"):
        side_by_side(root=str(two / "{split}"), holdout=0.1)
    with pytest.raises(UserError, match=r"holdout: the folders of the splits already say which"):
        labels(layout="cityscapes", root=str(two), holdout=0.1)
    with pytest.raises(UserError, match=r"holdout: 1e-06 of 40 pictures in .*day leaves none for 'val'. Choose another share"):
        folders(a=str(two / "day"), b=str(two / "night"), holdout=1e-6, split="val")


RECIPE: dict[str, Any] = {
    "generator": {"name": "resnet", "width": 2, "blocks": 1},
    "discriminator": {"name": "patchgan", "width": 2, "layers": 1},
    "loss": {"name": "pix2pix"},
    "train": {"steps": 1},
    "samples": {"count": 1},
}


def recipe(root: Path, dataset: dict[str, Any], **more: Any) -> Path:
    (root / "mine.yaml").write_text(yaml.safe_dump({**RECIPE, "dataset": dataset, **more}))
    return root / "mine.yaml"


def ran(path: Path, out: Path) -> Path:
    registry = default_registry()
    run_recipe(load_recipe(path, [], registry), out, registry, resume=False, console=Console(quiet=True))
    return out


def in_two(root: Path, **more: Any) -> dict[str, Any]:
    return {
        "name": "folders",
        "a": str(root / "day"),
        "b": str(root / "night"),
        "paired": True,
        "transform": {"crop": 16},
        **more,
    }


EVALUATE = {"every": 1, "metrics": ["l1"]}


def called(*arguments: object) -> tuple[int, str]:
    """The exit code, and what is said."""
    done = CliRunner().invoke(app, list(map(str, arguments)))
    return (2, str(done.exception)) if isinstance(done.exception, UserError) else (done.exit_code, done.output)


def test_what_was_trained_on_is_not_evaluated(two: Path, tmp_path: Path) -> None:
    said = r"dataset 'folders': the pictures of the split '{}' are those that are trained on .*/day.*/night.*holdout: 0.1"
    with pytest.raises(UserError, match=r"^evaluate.dataset: " + said.format("val")):
        ran(recipe(two, in_two(two), evaluate=EVALUATE), tmp_path / "out")
    with pytest.raises(UserError, match=r"^samples.dataset: " + said.format("test")):
        ran(recipe(two, in_two(two), samples={"dataset": {"split": "test"}}), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    mine = recipe(two, in_two(two))
    one, other = ran(mine, tmp_path / "one"), ran(mine, tmp_path / "other")
    for more in ([], ["--data", mine], ["--split", "val"], ["--set", "dataset.holdout=0.3"], ["--set", "dataset.paired=false"]):
        code, text = called("eval", one, "--metrics", "l1" if "dataset.paired=false" not in more else "identity", *more)
        assert (code, "are those that are trained on" in text) == (2, True), (more, text)
    code, text = called("compare", one, other, "--metrics", "l1", "--out", tmp_path / "page.html")
    assert (code, "are those that are trained on" in text) == (2, True), text


def test_what_was_asked_for_and_other_pictures_are_evaluated(two: Path, tmp_path: Path) -> None:
    out = ran(recipe(two, in_two(two)), tmp_path / "out")
    code, text = called("eval", out, "--metrics", "l1", "--split", "train")
    assert (code, "the split train" in text) == (0, True), text
    shutil.copytree(two / "day", two / "other" / "day")
    shutil.copytree(two / "night", two / "other" / "night")
    code, text = called("eval", out, "--metrics", "l1", "--data", recipe(two / "other", in_two(two / "other")))
    assert code == 0, text
    shutil.rmtree(two / "day")  # what was trained on is elsewhere now
    code, text = called("eval", out, "--metrics", "l1", "--data", recipe(two / "other", in_two(two / "other")))
    assert code == 0, text


def test_a_run_with_a_part_held_out_is_evaluated_and_goes_on(two: Path, tmp_path: Path) -> None:
    path = recipe(two, in_two(two, holdout=0.25), evaluate=EVALUATE, samples={"count": 1, "dataset": {"split": "val"}})
    out = ran(path, tmp_path / "out")
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert any("eval/l1" in line for line in lines)
    registry = default_registry()
    more = load_recipe(path, ["train.steps=2"], registry)
    assert run_recipe(more, out, registry, resume=True, console=Console(quiet=True)).step == 2
    code, text = called("eval", out, "--metrics", "l1")
    assert code == 0, text
    code, text = called("eval", out, "--metrics", "l1", "--set", "dataset.holdout=0.5")  # a part of these was trained on
    assert (code, "are those that are trained on" in text) == (2, True), text


def test_one_picture_has_no_part_to_hold_out_and_its_figures_say_so(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a.png", noise(0, 40, 40)), write(tmp_path / "b.png", noise(1, 40, 40))
    data = {"name": "single", "a": str(a), "b": str(b), "paired": True, "length": 4, "transform": {"crop": 16}}
    out = ran(recipe(tmp_path, data, evaluate=EVALUATE), tmp_path / "out")
    code, text = called("eval", out, "--metrics", "l1")
    assert (code, "the split test (the pictures trained on)" in text) == (0, True), text


def test_parquet_files_are_one_split_unless_parts_are_named(tmp_path: Path) -> None:
    import datasets

    pictures = [str(write(tmp_path / f"{i}.png", noise(i, 16, 16))) for i in range(8)]
    table = datasets.Dataset.from_dict({"imageA": pictures, "imageB": pictures[::-1]})
    table = table.cast_column("imageA", datasets.Image()).cast_column("imageB", datasets.Image())
    table.to_parquet(tmp_path / "x.parquet")
    data = {"name": "hub", "source": str(tmp_path / "x.parquet"), "transform": {"crop": 16}, "cache": str(tmp_path / "cache")}
    with pytest.raises(UserError, match=r"evaluate.dataset: dataset 'hub': .*trained on .*x.parquet.*holdout: 0.1.*give other"):
        ran(recipe(tmp_path, {**data, "split": "train"}, evaluate=EVALUATE), tmp_path / "out")
    with pytest.raises(UserError, match=r"evaluate.dataset: dataset 'hub': .*trained on .*x.parquet"):
        ran(recipe(tmp_path, {**data, "streaming": True, "samples": 4}, evaluate=EVALUATE), tmp_path / "out")
    parts = {**EVALUATE, "dataset": {"split": "train[75%:]"}}
    out = ran(recipe(tmp_path, {**data, "split": "train[:75%]"}, evaluate=parts), tmp_path / "out")
    code, text = called("eval", out, "--metrics", "l1", "--split", "train[75%:]")
    assert (code, "2 pictures" in text) == (0, True), text


def test_names_that_cannot_be_saved_or_are_the_same_and_one_picture_as_both_sides_are_refused(
    two: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"dataset 'folders': two domains are called 'photo'. Give each domain its own name"):
        ran(recipe(two, in_two(two, names=["photo", "photo"])), tmp_path / "out")
    with pytest.raises(UserError, match=r"the name 'my\\xa0photo' of a domain or class must be printable text of at most 200"):
        ran(recipe(two, in_two(two, names=["my\u00a0photo", "label"])), tmp_path / "out")
    with pytest.raises(UserError, match=r"day/.*0.png is on two sides of a pair. Give each side pictures of its own"):
        folders(a=str(two / "day"), b=str(two / "day"), paired=True, transform=CROP)
    folders(a=str(two / "day"), b=str(two / "day"), transform=CROP)
