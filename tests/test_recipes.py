"""The shipped recipes, run."""

import json
from pathlib import Path

import jsonschema
import pytest
import torch
from PIL import Image

import i2i
from i2i.errors import UserError
from i2i.recipe import load_recipe
from i2i.recipe.nodes import override, read
from i2i.registry import default_registry
from i2i_translate.file_translation import translate_files
from i2i_translate.requests import Finish, Request

FEW = {
    "train.steps": 2,
    "samples.every": 2,
    "checkpoint.every": 1,
    "log.every": 1,
    "generator.width": 4,
}


def few(path: Path) -> dict[str, object]:
    """What makes a recipe's training short and its networks small."""
    judges = read(path).plain()["discriminator"]
    each = [f"discriminator.{n}.width" for n in range(len(judges))] if isinstance(judges, list) else ["discriminator.width"]
    return {**FEW, **dict.fromkeys(each, 4)}


def every_recipe() -> list[Path]:
    return sorted((Path(__file__).parents[1] / "recipes").rglob("*.yaml"))


@pytest.mark.parametrize("path", every_recipe(), ids=lambda path: path.stem)
def test_a_shipped_recipe_loads_and_names_its_schema(path: Path, recipes: Path) -> None:
    load_recipe(path, [], default_registry())
    mark, _, named = path.read_text(encoding="utf-8").splitlines()[0].partition("$schema=")
    assert mark == "# yaml-language-server: "
    assert (path.parent / named).resolve() == recipes / "schema.json"
    schema = json.loads((recipes / "schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(read(path).plain(), schema)


@pytest.mark.parametrize(
    "wrong",
    [
        "train={stpes: 3}",
        "train.steps=0",
        "train={steps: 3, epochs: 3}",
        "generator={name: unit, widht: 3}",
        "loss=[]",
        "more=1",
    ],
)
def test_the_schema_that_recipes_name_refuses_what_i2i_refuses(recipes: Path, wrong: str) -> None:
    schema = json.loads((recipes / "schema.json").read_text(encoding="utf-8"))
    recipe = read(recipes / "unit_day2night.yaml")
    override(recipe, wrong)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(recipe.plain(), schema)
    with pytest.raises(UserError):
        load_recipe(recipes / "unit_day2night.yaml", [wrong], default_registry())


def test_unpaired_recipes_are_evaluated_by_what_needs_neither_pairs_nor_a_download(recipes: Path) -> None:
    checked = [
        load_recipe(path, [], default_registry()) for path in sorted([*recipes.glob("*.yaml"), *recipes.glob("mix/*.yaml")])
    ]
    unpaired = [recipe for recipe in checked if not recipe.dataset.options["paired"]]
    assert len(unpaired) == 6
    for recipe in unpaired:
        evaluate = recipe.section("evaluate")
        assert ([metric.name for metric in evaluate.metrics], evaluate.keep_best) == (["swd", "cycle"], None)
        assert 3 <= recipe.train.steps / evaluate.every <= 4
        assert "split" not in evaluate.dataset  # val, then


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_the_two_commands_are_one_line_each_and_need_no_global_install(page: str, root: Path) -> None:
    lines = (root / page).read_text(encoding="utf-8").splitlines()
    recipe = "recipes/unit_day2night.yaml"
    assert (root / recipe).is_file()
    first = f"    python3 -m venv .venv && . .venv/bin/activate && pip install -e . && i2i run {recipe}"
    assert lines[lines.index(first) + 1] == "    pip install -e '.[test]' && pytest"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.stem for path in every_recipe() if path.parent.name == "recipes"))
def test_a_recipe_trains_repeats_and_translates(name: str, recipes: Path, tmp_path: Path) -> None:
    recipe = recipes / f"{name}.yaml"
    looked_at = {} if load_recipe(recipe, [], default_registry()).section("evaluate") is None else {"evaluate.images": 9}
    i2i.run(recipe, set={**few(recipe), **looked_at}, out=tmp_path / "whole")
    model = i2i.load(tmp_path / "whole")
    before = {k: v.clone() for k, v in model.module.state_dict().items()}
    i2i.run(recipe, set={**few(recipe), "evaluate": None}, out=tmp_path / "again")  # which changes nothing of the training
    again = i2i.load(tmp_path / "again").module.state_dict()
    assert all(torch.equal(before[k], again[k]) for k in before)
    source, _ = model.direction(model.targets[0])
    picture = tmp_path / "odd.png"
    drawn = Image.effect_mandelbrot((61, 83), (-2, -1, 1, 1), 20)
    ids = drawn.point(lambda value: value % model.domains[source].channels)
    (ids if model.domains[source].kind == "labels" else drawn.convert("RGB")).save(picture)
    (made,) = translate_files(model, Request([picture], model.targets[0]), Finish(tmp_path / "out"))
    with Image.open(made) as image:
        assert image.size == (61, 83)
    assert made.name == "odd.png"
