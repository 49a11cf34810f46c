"""``i2i new``: what it recognises, what it refuses, and that its recipes train without an edit, on real pictures."""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import datasets  # type: ignore[import-untyped]
import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from typer.testing import CliRunner

import i2i_earth
from i2i.cli import app
from i2i.errors import UserError
from i2i.recipe import Recipe, load_recipe
from i2i.recipe.nodes import parse
from i2i.registry import Registry
from i2i_data import listing
from i2i_new import estimate, label_files, planning
from i2i_new.label_files import label_maps
from i2i_new.looking import look
from i2i_new.methods import METHODS, Said, batch_of, multiple_for, networks, rates
from i2i_new.writing import flow, text_of
from pictures_on_disk import noise, png, write

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
    train_a_train_b: ("day2night", "unit", {"name": "folders", "root": "day2night", "names": ["day", "night"]}),
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
    method_given = ["--method", method] if method == "unit" else []
    lines = called("new", *layout(), "--minutes", "0.005", *method_given).splitlines()
    assert lines[-1] == f"i2i run {name}.yaml"
    text = Path(f"{name}.yaml").read_text()
    written = yaml.safe_load(text)["dataset"]
    assert {key: written.get(key) for key in options} == options
    recipe = load_recipe(f"{name}.yaml")
    assert recipe.called("loss").startswith(method)
    steps = f"{recipe.train.steps} step{'' if recipe.train.steps == 1 else 's'}"
    assert f"# Estimate: about 0.005 min for {steps} on this machine" in text
    side = recipe.dataset.options["transform"].crop
    assert side == (32 if method == "spade" else 16)
    called(*lines[-1].split()[1:])
    assert list(Path(f"runs/{name}/samples").glob("*.png"))
    assert Path(f"runs/{name}/best/config.json").is_file()


@pytest.mark.parametrize("size", [8, 16, 32, 96, 256])
@pytest.mark.parametrize("gpu", [False, True])
def test_every_method_has_a_recipe_for_every_size(size: int, gpu: bool) -> None:
    for name in (name for name in METHODS if multiple_for(name, size)):
        dataset = {"name": "folders", "a": "x", "b": "y", "transform": {"crop": size}}
        train = {"steps": 9, "batch_size": batch_of(name, 3, gpu), **rates(name, 9 if size == 8 else 10**6)}
        text = text_of(["Why."], {"dataset": dataset, **networks(name, size, gpu), "train": train})
        Path("made.yaml").write_text(text)
        recipe = load_recipe("made.yaml")
        assert recipe.called("loss").startswith(name)
        assert recipe.train.batch_size <= 3


def test_a_name_with_line_breaks_stays_in_its_comment() -> None:
    hostile = "x\u2028log: {every: 7}\x85samples: {every: 7}\rcheckpoint: {every: 7}\x1b"
    text = text_of([hostile], {"dataset": {"name": "folders", "a": Said("x", hostile), "b": "y"}})
    node = parse(text, "here")
    assert node is not None
    assert node.plain() == {"dataset": {"name": "folders", "a": "x", "b": "y"}}


def test_names_that_are_only_numbers_make_pairs_if_the_contents_agree() -> None:
    tiles("day", "day.jpg", range(20))
    tiles("relief", "relief.png", range(20))
    tiles("elsewhere", "relief.png", range(20, 40), names="x{}")
    for i, file in enumerate(sorted(Path("elsewhere").iterdir())):
        file.rename(f"elsewhere/{i}.png")
    assert look(["day", "relief"]).paired
    found = look(["day", "elsewhere"])
    assert not found.paired
    assert "they are only numbers, and the contents do not line up; edges correlate" in found.why[0]
    for file in list(Path("elsewhere").iterdir()):
        file.rename(f"elsewhere/{'abcdefghijklmnopqrst'[int(file.stem)]}.png")
        Path(f"day/{file.stem}.png").rename(f"day/{'abcdefghijklmnopqrst'[int(file.stem)]}.png")
    named = look(["day", "elsewhere"])
    assert named.paired
    assert "if they are not pairs, --method cyclegan" in named.why[0]
    for file in Path("day").iterdir():
        write(file, noise(0, 20, 20))
    assert "partners differ in size" in look(["day", "elsewhere"]).why[0]


def test_pairs_by_the_ends_of_their_names() -> None:
    tiles("here/mixed", "day.jpg", range(6), names="place{}_day")
    for place in range(6):
        tile("relief.png", place).save(f"here/mixed/place{place}_relief.png")
    found = look(["here"])
    assert found.options["endings"] == ["_day", "_relief"]
    assert (found.paired, found.counts, found.options["names"]) == (True, (6, 6), ["day", "relief"])


def test_more_than_two_folders_are_named_with_the_way_to_choose() -> None:
    for name, count in (("ink", 3), ("flat", 5), ("photo", 4), ("notes", 0)):
        Path("art", name).mkdir(parents=True)
        for i in range(count):
            write(Path("art", name, f"{name}{i}.png"), noise(i))
    Path("art/notes/read.me").write_text("")
    found = look(["art"])
    assert (found.options["a"], found.options["b"]) == ("art/flat", "art/photo")
    assert "flat (5), ink (3), photo (4)" in found.remarks[0]
    assert "Others: i2i new art/ink art/photo" in found.remarks[0]


def saved(name: str, pixels: Any, palette: bool = False, **options: Any) -> Path:
    made = Image.fromarray(np.asarray(pixels, np.uint8))
    if palette:
        made = made.convert("L")
        made.putpalette([value for i in range(256) for value in (i, 255 - i, 0)])
    made.save(name, **options)
    return Path(name)


def areas(*values: Any) -> Any:
    """A map of stripes, 8 pixels each."""
    return np.concatenate([np.full((16, 8, *np.shape(value)), value) for value in values], 1)


@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        (areas(0, 1, 3), {"classes": 4}),
        (areas(0, 1, 255), {"classes": 2, "dont_care": [255]}),
        (areas(0, 128, 255), {"colors": [[0, 0, 0], [128, 128, 128], [255, 255, 255]]}),
        (areas((9, 9, 9), (250, 0, 0)), {"colors": [[9, 9, 9], [250, 0, 0]]}),
        (areas(7), None),
        (np.arange(16 * 24).reshape(16, 24) % 256, None),
    ],
)
def test_what_label_maps_hold(pixels: Any, options: dict[str, Any] | None) -> None:
    files = [saved(f"{i}.png", pixels) for i in range(3)]
    found = label_maps(files)
    assert (found and found.options) == options
    if options == {"classes": 4}:
        assert found
        assert "The numbers 2 do not occur" in found.why[1]
        assert label_maps([saved("p.png", pixels, palette=True)]) == label_maps([saved("l.png", pixels)])
        assert label_maps([*files, saved("x.jpg", pixels)]) is None
        assert label_maps([*files, write(Path("photo.png"), noise(1))]) is None


def test_label_maps_that_were_not_all_read_may_hold_other_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_files, "SECONDS", 0)
    found = label_maps([saved(f"{i}.png", areas((9, 9, 9), (250, 0, 0))) for i in range(3)])
    assert found is None  # nothing was read
    monkeypatch.setattr(label_files.time, "monotonic", iter(range(-9, 9)).__next__)
    monkeypatch.setattr(label_files, "SECONDS", 1.5)
    found = label_maps([saved(f"{i}.png", areas((9, 9, 9), (250, 0, 0))) for i in range(3)])
    assert found
    assert found.options == {"colors": [[9, 9, 9], [250, 0, 0]], "dont_care": [255]}
    assert "1 of 3 files were read" in found.why[0]


def zoo(name: str = "zoo.parquet") -> str:
    kinds = {"image": datasets.Image(), "mask": datasets.Image(), "kind": datasets.ClassLabel(names=["cow", "dog", "fox"])}
    rows = {"image": [picture(tile("day.jpg", i)) for i in range(9)], "kind": [0, 1, 1, 2, 2, 2, 0, 1, 2]}
    rows["mask"] = [picture(Image.fromarray(areas(i % 2, 2).astype(np.uint8))) for i in range(9)]
    data = datasets.Dataset.from_dict(rows, features=datasets.Features(kinds))
    (data.remove_columns("mask") if name == "zoo.parquet" else data).to_parquet(name)
    return name


def test_tables_by_labels_by_columns_with_label_maps_and_two_of_them() -> None:
    source = zoo()
    found = look([source])
    assert (found.options["by"], found.options["values"], found.counts) == ("kind", ["fox", "dog"], (4, 3))
    assert "i2i new zoo.parquet cow dog" in found.remarks[0]
    assert look([source, "dog", "cow"]).options["values"] == ["dog", "cow"]
    with pytest.raises(UserError, match=r"'dgo' is neither a column of pictures nor a label\. Did you mean 'dog'"):
        look([source, "dgo", "cow"])
    maps = look([zoo("maps.parquet")])
    assert {key: maps.options.get(key) for key in ("columns", "labels", "classes")} == {
        "columns": ["mask", "image"],
        "labels": "a",
        "classes": 3,
    }
    both = look([source, "maps.parquet"])
    assert (both.options["source_b"], both.options["columns"], both.paired) == ("maps.parquet", ["image", "image"], False)


def test_a_csv_file_in_a_folder() -> None:
    tiles("table/pictures", "day.jpg", range(4))
    Path("table/pairs.csv").write_text("before,after\n" + "".join(f"pictures/{i}.png,pictures/{3 - i}.png\n" for i in range(4)))
    assert look(["table"]).options == {
        "source": "table/pairs.csv",
        "columns": ["before", "after"],
        "names": ["before", "after"],
    }


def one_picture() -> list[str]:
    tiles("one", "day.jpg", range(1))
    return ["one"]


def unreadable() -> list[str]:
    for side in "ab":
        for i in range(3):
            write(Path(side, f"{i}.png"), noise(i)).write_bytes(b"no picture")
    return ["a", "b"]


def one_kind() -> list[str]:
    tiles("one", "day.jpg", range(5))
    return ["one"]


def panoramas() -> list[str]:
    Path("wide").mkdir()
    for i in range(12):
        earth("day.jpg").crop((60 * i, 9 * i, 60 * i + 240, 9 * i + 120)).save(f"wide/{i}.png")
    return ["wide"]


def one_row() -> list[str]:
    first, second = (sorted(Path(place).iterdir())[0] for place in two_folders())
    Path("one.csv").write_text(f"a,b\n{first},{second}\n")
    return ["one.csv"]


def empty() -> list[str]:
    Path("nothing").mkdir()
    return ["nothing"]


@pytest.mark.parametrize(
    ("places", "options", "message"),
    [
        (empty, [], r"nothing: no pictures in this folder \(it is empty\)"),
        (one_picture, [], r"one: it holds a single picture, 0\.png\. Training needs several"),
        (unreadable, [], r"none of the pictures looked at can be read, such as a/0\.png"),
        (one_kind, [], r"one folder of pictures is one side\. Give .*: i2i new one OTHER.*0 of 5 are"),
        (panoramas, [], r"twice as wide as high, but their halves do not show the same: edges correlate"),
        (lambda: ["horsse"], [], r"horsse: there is no such file or folder"),
        (lambda: ["own/er"], [], r"own/er: the Hugging Face hub cannot be reached|own/er: the split 'train' cannot be loaded"),
        (two_folders, ["--method", "pix2pxi"], r"--method: there is no 'pix2pxi'\. Did you mean 'pix2pix'"),
        (
            two_folders,
            ["--method", "pix2pix"],
            r"--method pix2pix: it needs pairs\. Unpaired: .*Methods without: cyclegan, unit",
        ),
        (two_folders, ["--size", "50"], r"--size 50: the networks of cyclegan take multiples of 4\. Give 48 or 52"),
        (
            lambda: [two_folders()[0], *parquet()],
            [],
            r"earth\.parquet: this is a table, and photos/days is none\. Give two folders",
        ),
        (one_row, [], r"one\.csv: a side has a single picture"),
        (lambda: [*parquet(), "day", "day"], [], r"earth\.parquet: 'day' is named for both sides\. Name a column for each"),
        (two_folders, ["--out", "x.txt"], r"--out x\.txt: a recipe is a YAML file"),
        (two_folders, ["--out", "there.yaml"], r"there\.yaml: this file exists already\. Give another name with --out"),
    ],
)
def test_what_cannot_be_a_recipe(places: Callable[[], list[str]], options: list[str], message: str) -> None:
    Path("there.yaml").write_text("mine")
    assert re.search(message, called("new", *places(), *options, code=2))
    assert [file.name for file in Path().glob("*.yaml")] == ["there.yaml"]
    assert Path("there.yaml").read_text() == "mine"


def test_some_unreadable_pictures_are_left_out_and_most_of_many_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "AUDITED", 9)
    places = two_folders()
    for i in range(30):
        tile("day.jpg", i % 12).save(f"photos/days/more{i}.png")
    for file in sorted(Path("photos/days").iterdir())[::6]:
        file.write_bytes(file.read_bytes()[:200])
    walked, walk = [], listing._walk
    monkeypatch.setattr(listing, "_walk", lambda folder: walked.append(folder) or walk(folder))
    Path("runs/some").mkdir(parents=True)
    output = called("new", *places, "--minutes", "0.001", "--out", "some.yaml")
    assert walked == [Path(place) for place in places]  # each folder is listed once, which takes a while if it is large
    assert output.splitlines()[-1] == "i2i run some.yaml --out runs/some-2"
    assert re.search(r"a \(day\), 16 of \d\d looked at", output)
    assert "cannot be used" in output
    assert load_recipe("some.yaml").dataset.options["corrupt"] == "skip"
    assert "corrupt: skip" in Path("some.yaml").read_text()


def test_a_size_that_was_asked_for_may_enlarge() -> None:
    called("new", *two_folders(), "--minutes", "0.001", "--size", "20", "--out", "new/day2night.yaml")
    assert load_recipe("new/day2night.yaml").dataset.options["transform"].crop == 20
    assert "as asked for; the pictures are 16 x 16, and are enlarged" in Path("new/day2night.yaml").read_text()


def test_a_device_of_little_memory_takes_a_smaller_size_or_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "SMALLER", 8)
    whole = planning.measured

    def measured(recipe: Recipe, registry: Registry) -> estimate.Estimate:
        if recipe.dataset.options["transform"].crop > 8:
            raise torch.OutOfMemoryError
        return whole(recipe, registry)

    monkeypatch.setattr(planning, "measured", measured)
    places = two_folders()
    called("new", *places, "--minutes", "0.001")
    assert load_recipe("day2night.yaml").dataset.options["transform"].crop == 8
    output = called("new", *places, "--size", "16", "--out", "x.yaml", code=2)
    assert "memory is too small to train cyclegan at 16 px. Give a smaller --size." in output


@pytest.mark.parametrize(
    "text", ["a b", "on", "1e3", ".5", "x: y", "#1", "é", "{split}/a", "*x", "2 epochs", "", "-", "a\u2028b\x85c\x1b\t😀"]
)
def test_text_in_yaml(text: str) -> None:
    assert parse(f"x: {flow(text)}", "here").plain() == {"x": text}
