"""A newcomer's own pictures through every command: trained on, evaluated while training and after, compared, translated."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from i2i.cli import app
from pictures_on_disk import noise, write


def in_folders(root: Path) -> dict[str, object]:
    for split in ("train", "test"):
        for side in "AB":
            for i in range(4):
                write(root / f"{split}{side}" / f"{i}.png", noise(i, 40, 48))
    return {"name": "folders", "root": str(root), "paired": True, "transform": {"resize": 36, "crop": 32}}


def in_halves(root: Path) -> dict[str, object]:
    for split in ("train", "test"):
        for i in range(4):
            write(root / split / f"{i}.png", noise(i, 40, 80))
    return {"name": "side_by_side", "root": str(root), "transform": {"crop": 32}}


SHIFTED = {"offset": -1, "dont_care": [255]}


def in_label_maps(root: Path) -> dict[str, object]:
    for i in range(12):
        write(root / "maps" / f"{i}.png", np.random.default_rng(i).choice([1, 2, 3, 255], (40, 40)).astype(np.uint8))
        write(root / "images" / f"{i}.png", noise(i, 40, 40))
    where = {"maps": str(root / "maps"), "images": str(root / "images")}
    return {"name": "labels", **where, "classes": ["sea", "land", "ice"], **SHIFTED, "transform": {"crop": 32}, "holdout": 0.3}


def called(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, f"{arguments[0]}: {result.output}\n{result.exception!r}"
    return result.output


@pytest.mark.parametrize("data", [in_folders, in_halves, in_label_maps])
def test_all_commands_take_it(data: object, tmp_path: Path) -> None:
    assert callable(data)
    dataset = data(tmp_path / "pictures")
    recipe = {
        "dataset": dataset,
        "generator": {"name": "resnet", "width": 2, "blocks": 1},
        "discriminator": {"name": "patchgan", "width": 2, "layers": 1},
        "loss": {"name": "pix2pix"},
        "train": {"steps": 2},
        "samples": {"dataset": {"transform": {"crop": 24}}},
        "evaluate": {"every": 2, "metrics": ["psnr"], "keep_best": "psnr", "dataset": {"split": "test"}},
    }
    if dataset["name"] == "labels":
        recipe["evaluate"] = {"every": 2, "metrics": ["psnr"], "keep_best": "psnr"}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(recipe))
    for out in ("one", "two"):
        called("run", tmp_path / "mine.yaml", "--out", tmp_path / out)
        called("eval", tmp_path / out, "--metrics", "psnr,ssim,l1")
    called("eval", tmp_path / "one", "--metrics", "psnr", "--data", tmp_path / "mine.yaml")
    lines = [json.loads(line) for line in (tmp_path / "one" / "metrics.jsonl").read_text().splitlines()]
    assert any("eval/psnr" in line for line in lines)
    assert (tmp_path / "one" / "best" / "config.json").is_file()
    called("compare", tmp_path / "one", tmp_path / "two", "--out", tmp_path / "page.html")
    called("run", tmp_path / "one" / "recipe.yaml", "--out", tmp_path / "again")
    picture = max((tmp_path / "pictures").rglob("0.png"), key=lambda path: path.parent.name in ("maps", "testA"))
    made = called("translate", tmp_path / "one", picture, "--out", tmp_path / "made").splitlines()[-1]
    assert Path(made).is_file()
