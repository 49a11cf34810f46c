"""``i2i new``: what it recognises, what it refuses, and that its recipes train without an edit, on real pictures."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import datasets  # type: ignore[import-untyped]
import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

import i2i_earth
from i2i.cli import app
from i2i.errors import UserError
from i2i.recipe import load_recipe
from i2i_new import estimate
from pictures_on_disk import png

PLACES = [(160 * i % 900 + 60, 97 * i % 400 + 20) for i in range(40)]
"""Corners of tiles of the Earth, land and sea."""


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(estimate, "STEPS", 1)


@cache
def earth(name: str) -> Image.Image:
    picture = Image.open(Path(i2i_earth.__file__).parent / "data" / name)
    return picture.resize((1024, 512), Image.Resampling.NEAREST) if name.endswith("png") else picture.resize((1024, 512))


def tile(name: str, place: int, side: int = 16) -> Image.Image:
    x, y = PLACES[place]
    return earth(name).crop((x, y, x + side, y + side))


def tiles(folder: str, name: str, places: range, side: int = 16, names: str = "{}") -> None:
    Path(folder).mkdir(parents=True)
    for place in places:
        tile(name, place, side).save(Path(folder, f"{names.format(place)}.png"))


def two_folders() -> list[str]:
    tiles("photos/days", "day.jpg", range(12))
    tiles("photos/nights", "night.jpg", range(12, 25), names="n{}")
    return ["photos/days", "photos/nights"]


def train_a_train_b() -> list[str]:
    for split, start in (("train", 0), ("test", 20)):
        tiles(f"day2night/{split}A", "day.jpg", range(start, start + 6))
        tiles(f"day2night/{split}B", "night.jpg", range(start + 6, start + 12))
    return ["day2night"]


def side_by_side() -> list[str]:
    Path("halves").mkdir()
    for place in range(16):
        whole = Image.new("RGB", (32, 16))
        for x, name in ((0, "day.jpg"), (16, "relief.png")):
            whole.paste(tile(name, place).convert("RGB"), (x, 0))
        whole.save(f"halves/{place}.png")
    return ["halves"]


def pairs_by_name() -> list[str]:
    tiles("pairs/day", "day.jpg", range(16), names="tile-{}")
    tiles("pairs/relief", "relief.png", range(16), names="tile-{}")
    return ["pairs/relief", "pairs/day"]


def maps() -> list[str]:
    tiles("land/masks", "labels.png", range(12), 32)
    tiles("land/photos", "day.jpg", range(12), 32)
    return ["land"]


def parquet() -> list[str]:
    columns = {
        name: [picture(tile(f"{name}.{end}", place)) for place in range(20)]
        for name, end in (("relief", "png"), ("day", "jpg"))
    }
    features = datasets.Features({name: datasets.Image() for name in columns})
    datasets.Dataset.from_dict(columns, features=features).to_parquet("earth.parquet")
    return ["earth.parquet"]


def picture(made: Image.Image) -> dict[str, Any]:
    return {"bytes": png(np.asarray(made)), "path": None}


def subfolders() -> list[str]:
    for split, start in (("train", 0), ("val", 16)):
        tiles(f"all/{split}/day", "day.jpg", range(start, start + 6))
        tiles(f"all/{split}/night", "night.jpg", range(start + 6, start + 12))
    return ["all"]


LAYOUTS: dict[Callable[[], list[str]], tuple[str, str, dict[str, Any]]] = {
    two_folders: ("day2night", "cyclegan", {"name": "folders", "a": "photos/days", "names": ["day", "night"]}),
    train_a_train_b: ("day2night", "cyclegan", {"name": "folders", "root": "day2night", "names": ["day", "night"]}),
    side_by_side: ("halves", "pix2pix", {"name": "side_by_side", "root": "halves"}),
    pairs_by_name: ("relief2day", "pix2pix", {"name": "folders", "a": "pairs/relief", "paired": True}),
    maps: ("land", "spade", {"name": "labels", "maps": "land/masks", "images": "land/photos", "names": ["mask", "photo"]}),
    parquet: ("earth", "pix2pix", {"name": "hub", "source": "earth.parquet", "columns": ["relief", "day"]}),
    subfolders: ("all", "cyclegan", {"name": "folders", "a": "all/{split}/day", "b": "all/{split}/night"}),
}


def called(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    if code:
        assert isinstance(result.exception, UserError), result.output
        return str(result.exception)
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"
    return result.output


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_two_commands_from_a_folder_to_pictures(layout: Callable[[], list[str]]) -> None:
    name, method, options = LAYOUTS[layout]
    lines = called("new", *layout(), "--minutes", "0.005").splitlines()
    assert lines[-1] == f"i2i run {name}.yaml"
    text = Path(f"{name}.yaml").read_text()
    written = yaml.safe_load(text)["dataset"]
    assert {key: written.get(key) for key in options} == options
    recipe = load_recipe(f"{name}.yaml")
    assert recipe.called("loss").startswith(method)
    assert f"# Estimate: about 0.005 minutes for {recipe.train.steps} steps on this machine" in text
    side = recipe.dataset.options["transform"].crop
    assert side == (32 if method == "spade" else 16)
    called(*lines[-1].split()[1:])
    assert list(Path(f"runs/{name}/samples").glob("*.png"))
    assert Path(f"runs/{name}/best/config.json").is_file()
