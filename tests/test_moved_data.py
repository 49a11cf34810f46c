"""A resume whose data lie elsewhere than when the run began."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rich.console import Console

import i2i
import i2i_data
import toy
from i2i.data import fingerprint_of
from i2i.errors import UserError
from i2i.recipe import load_recipe
from i2i.registry import Registry
from i2i.training.run_folder import folder_of
from i2i.training.running import run_recipe
from i2i.translation.checkpoints import checkpoints, read_manifest
from i2i_data.sources import Read
from pictures_on_disk import noise, two_folders, write

REGISTRY = Registry(plugins={"toys": toy, "data": i2i_data})


def trained(folder: Path, *overrides: str, out: str = "out", resume: bool = False) -> Path:
    path = folder / "r.yaml"
    data = {"name": "folders", "root": str(folder / "pictures"), "paired": True, "transform": {"crop": 16}}
    path.write_text(toy.RECIPE.replace("{name: stripes}", yaml.safe_dump(data, default_flow_style=True, width=1000).strip()))
    recipe = load_recipe(path, list(overrides), REGISTRY)
    run_recipe(recipe, folder / out, REGISTRY, resume=resume, console=Console(quiet=True))
    return folder / out


def at_the_end(out: Path) -> Any:
    return read_manifest(checkpoints(out)[-1])["files"]


def test_a_run_goes_on_where_its_data_have_moved_to(tmp_path: Path) -> None:
    two_folders(tmp_path / "pictures", 4, 4)
    whole = trained(tmp_path, out="whole")
    out = trained(tmp_path, "train.steps=4")
    (tmp_path / "pictures").rename(tmp_path / "elsewhere")
    there = f"dataset.root={tmp_path / 'elsewhere'}"
    trained(tmp_path, there, resume=True)
    weights = {name: digest for name, digest in at_the_end(whole).items() if name != "state.json"}
    assert weights.items() <= at_the_end(out).items()
    moved = f"changed after step 4: dataset.root: {tmp_path / 'pictures'} → {tmp_path / 'elsewhere'}"
    assert moved in (out / "log.txt").read_text()
    assert str(tmp_path / "elsewhere") in (out / "recipe.yaml").read_text()

    with pytest.raises(UserError, match=r"another 'dataset' \(dataset.transform.crop: 16 → 12\)"):
        trained(tmp_path, there, "dataset.transform.crop=12", "train.steps=8", resume=True)
    two_folders(tmp_path / "others", 4, 4)
    write(tmp_path / "others" / "trainA" / "2.png", noise(9, 30, 30))
    with pytest.raises(UserError, match=r"another 'dataset' \(dataset.root: .*elsewhere → .*others\)"):
        trained(tmp_path, f"dataset.root={tmp_path / 'others'}", "train.steps=8", resume=True)
    write(tmp_path / "elsewhere" / "trainA" / "2.png", noise(9, 40, 40))
    write(tmp_path / "elsewhere" / "trainB" / "2.png", noise(9, 40, 40))
    trained(tmp_path, there, "train.steps=8", resume=True)
    assert "changed after step 6: the files of the data" in (out / "log.txt").read_text()


def halves(root: Path) -> dict[str, Any]:
    for i in range(3):
        write(root / "train" / f"{i}.png", noise(i, 40, 80))
    return {"name": "side_by_side", "root": str(root)}


def label_maps(root: Path) -> dict[str, Any]:
    for i in range(3):
        write(root / "maps" / f"{i}.png", np.random.default_rng(i).integers(0, 3, (40, 40)).astype(np.uint8))
        write(root / "images" / f"{i}.png", noise(i, 40, 40))
    return {"name": "labels", "maps": str(root / "maps"), "images": str(root / "images"), "classes": 3, "holdout": 0.3}


def single(root: Path) -> dict[str, Any]:
    a, b = (write(root / f"{i}.png", noise(i, 140, 140)) for i in range(2))
    return {"name": "single", "a": str(a), "b": str(b)}


def table(root: Path) -> dict[str, Any]:
    import datasets  # type: ignore[import-untyped]

    rows = {key: [{"bytes": write(root / "p.png", noise(i)).read_bytes(), "path": None} for i in range(3)] for key in "ab"}
    picture = datasets.Image()
    made = datasets.Dataset.from_dict(rows, features=datasets.Features({"a": picture, "b": picture}))
    (root / "packed").mkdir(parents=True, exist_ok=True)
    made.to_parquet(root / "packed" / "train.parquet")
    return {"name": "hub", "source": str(root / "packed" / "train.parquet"), "columns": ["a", "b"]}


@pytest.mark.parametrize("make", [halves, label_maps, single, table])
def test_data_are_known_again_by_what_they_are(make: Callable[[Path], dict[str, Any]], tmp_path: Path) -> None:
    def fingerprint(place: Path, **more: Any) -> str | None:
        options = {**make(place), **more}
        return fingerprint_of(REGISTRY.get("dataset", options.pop("name")).factory(**options))

    first = fingerprint(tmp_path / "one")
    assert first is not None
    assert first == fingerprint(tmp_path / "another" / "place")
    assert first != fingerprint(tmp_path / "one", names=("a", "other"))
    read: dict[str, Any] = {"read_b": Read(alpha="drop")} if make in (single, table) else {"read": Read(alpha="drop")}
    assert first != fingerprint(tmp_path / "one", **read)
    if make is not table:
        (picture, *_) = sorted((tmp_path / "one").rglob("*.png"))
        picture.write_bytes(picture.read_bytes() + b"\0")
        assert first != fingerprint_again(make, tmp_path / "one", picture)


def fingerprint_again(make: Callable[[Path], dict[str, Any]], place: Path, picture: Path) -> str | None:
    """Of the same files, one of which has another size."""
    changed = picture.read_bytes()
    options = make(place)
    picture.write_bytes(changed)
    return fingerprint_of(REGISTRY.get("dataset", options.pop("name")).factory(**options))


def test_a_resumed_recipe_finds_the_folder_it_lies_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_folders(tmp_path / "pictures", 4, 4)
    out = trained(tmp_path, "train.steps=4")
    own = out / "recipe.yaml"
    assert folder_of(own, None, resume=True) == out
    assert folder_of(own, None, resume=False) == folder_of(tmp_path / "recipe.yaml", None, resume=True) == Path("runs/recipe")
    assert folder_of(own, tmp_path / "x", resume=True) == tmp_path / "x"
    monkeypatch.setattr("i2i.training.running.default_registry", lambda: REGISTRY)
    assert i2i.run(own, resume=True, set={"train.steps": 6}) == out
    assert checkpoints(out)[-1].name == "step-00000006"
