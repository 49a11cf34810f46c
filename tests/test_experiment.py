"""``i2i.Experiment`` and the plugins' classes: from folders or one's own objects to translations, in Python."""

import math
import os
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import i2i
from i2i.errors import UserError
from i2i.experiment.asked import new_folder
from i2i.experiment.naming import known_as, named_after, singular
from i2i.experiment.own import Own
from i2i.experiment.parts import dataset_of
from i2i.registry import Registry, default_registry, hookimpl
from i2i_cyclegan import CycleGAN
from pictures_on_disk import noise

TINY: dict[str, Any] = {"width": 4, "crop": 16, "blocks": 1, "layers": 1, "threads": 1}
QUIET: dict[str, Any] = {"log": {"every": 1, "trackers": []}, "samples": {"every": 1000, "count": 1}}


def pictures(count: int = 10, size: int = 20) -> list[Image.Image]:
    """Noise: the networks are to learn nothing."""
    return [Image.fromarray(noise(i, size, size)) for i in range(count)]


def folder(place: Path, count: int = 10, size: int = 20) -> Path:
    place.mkdir(parents=True)
    for i, picture in enumerate(pictures(count, size)):
        picture.save(place / f"{i}.png")
    return place


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The code of the README on 20 pictures, with one small epoch, and half a one more."""
    here = tmp_path_factory.mktemp("here")
    before = Path.cwd()
    os.chdir(here)
    folder(here / "data" / "horses")
    folder(here / "data" / "zebras")
    folder(here / "data" / "horse").joinpath("0.png").rename("horse.png")
    names: dict[str, Any] = {"OPTIONS": {**TINY, **QUIET}}
    (code,) = re.findall(
        r"```python\n(from i2i_cyclegan .*?)```", (Path(__file__).parents[1] / "README.md").read_text(), re.DOTALL
    )
    small = {'"data/zebras")': '"data/zebras", **OPTIONS)', "epochs=100": "epochs=1", "horse.jpg": "horse.png"}
    for long, short in small.items():
        assert code.count(long) == 1
        code = code.replace(long, short)
    shown: list[Image.Image] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Image.Image, "show", lambda picture: shown.append(picture))
        exec(code, names)
    assert [zebra.size for zebra in shown] == [(16, 16)]  # the network saw the pictures at this size
    cycle_gan = names["cycle_gan"]
    cycle_gan.train(epochs=0.5)
    yield cycle_gan
    os.chdir(before)


def test_the_code_of_the_readme(trained: Any) -> None:
    zebra = trained.translate_horse_to_zebra("horse.png")
    assert isinstance(zebra, Image.Image)
    again = trained.translate("horse.png", to="zebra")
    assert zebra.tobytes() == again.tobytes() == trained.translate("horse.png", to="zebras").tobytes()
    assert trained.translate(torch.zeros(3, 20, 20), to="horse").shape == (3, 20, 20)


def test_training_goes_on_in_one_folder(trained: Any) -> None:
    assert trained.step == 15
    assert trained.out == Path("runs/cyclegan_horse2zebra")
    assert trained.history["step"] == list(range(1, 16))
    assert len({len(column) for column in trained.history.values()}) == 1
    assert all(math.isfinite(value) for value in trained.history["cycle_a"])
    assert "horse and zebra, 15 steps, in runs/cyclegan_horse2zebra" in repr(trained)


def test_the_methods_are_listed_and_others_refused(trained: Any) -> None:
    assert {"translate_horse_to_zebra", "translate_zebra_to_horse"} <= set(dir(trained))
    with pytest.raises(AttributeError, match=r"Did you mean 'translate_horse_to_zebra'.*translate_zebra_to_horse"):
        _ = trained.translate_horse_to_zebras
    with pytest.raises(AttributeError, match="'CycleGAN' has no attribute 'trian'"):
        _ = trained.trian
    with pytest.raises(UserError, match=r"no domain 'zebre'. Did you mean 'zebra'"):
        trained.translate("horse.png", to="zebre")
    with pytest.raises(UserError, match=r"the picture: an object of type list is none. Give a path, .* one at a time"):
        trained.translate(["horse.png"], to="zebra")


def test_samples_and_the_picture_in_a_notebook(trained: Any) -> None:
    assert trained.samples().width > 40
    assert trained._repr_png_().startswith(b"\x89PNG")


def test_another_run_gets_another_folder_and_a_given_one_is_not_overwritten(trained: Any) -> None:
    parts = {**TINY, **QUIET}
    assert CycleGAN("data/horses", "data/zebras", **parts)._folder() == (Path("runs/cyclegan_horse2zebra-2"), False)
    with pytest.raises(UserError, match=r"already holds a run. Continue it with i2i.Experiment.load\('runs/cyc.*out=…"):
        CycleGAN("data/horses", "data/zebras", **parts, out=trained.out).train(steps=1)


def test_save_and_load(trained: Any, tmp_path: Path) -> None:
    saved = trained.save(tmp_path / "model")
    zebra = trained.translate_horse_to_zebra("horse.png").tobytes()
    assert i2i.load(saved, "cpu").translate("horse.png", to="zebra").tobytes() == zebra
    with pytest.raises(UserError, match="exists already"):
        trained.save(saved)
    again = i2i.Experiment.load(trained.out)
    assert again.step == 15
    assert again.translate_horse_to_zebra("horse.png").tobytes() == zebra
    with pytest.raises(UserError, match=r"a model, and no run .* i2i.load\("):
        i2i.Experiment.load(saved)
    with pytest.raises(UserError, match=r"recipe.yaml is missing"):
        i2i.Experiment.load(tmp_path / "none")


def test_the_recipe_of_named_parts(trained: Any, tmp_path: Path) -> None:
    text = trained.to_recipe(tmp_path / "mine.yaml")
    assert i2i.load_recipe(tmp_path / "mine.yaml") == trained.recipe
    assert "short_side" in text
    with pytest.raises(UserError, match="exists already"):
        trained.to_recipe(tmp_path / "mine.yaml")
    trained.to_recipe(tmp_path / "new" / "mine.yaml")
    assert (tmp_path / "new" / "mine.yaml").is_file()


def test_before_training(trained: Any) -> None:
    new = CycleGAN("data/horses", "data/zebras", **TINY)
    for ask in (new.samples, new.evaluate, lambda: new.translate("horse.png", to="zebra"), lambda: new.save("x")):
        with pytest.raises(UserError, match=r"[Tt]rain first"):
            ask()
    assert new.history == {"step": []}
    assert new._repr_png_() is None
    assert "not trained yet" in repr(new)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"epochs": 1, "steps": 1}, "epochs or steps, not both"),
        ({}, "say for how long"),
        ({"epochs": 0}, "must be a number above 0 and below a billion, not 0"),
        ({"epochs": float("inf")}, "must be a number above 0 and below a billion, not inf"),
        ({"steps": 1.5}, "a whole number"),
        ({"steps": "5"}, "must be a number"),
    ],
)
def test_how_long(trained: Any, asked: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        trained.train(**asked)


def test_lists_of_paths_are_called_after_their_folders(trained: Any) -> None:
    sides = [sorted(Path("data", name).iterdir()) for name in ("horses", "zebras")]
    assert [domain.name for domain in CycleGAN(*sides).domains.values()] == ["horse", "zebra"]
    assert [domain.name for domain in CycleGAN(sides[0][:5], sides[0][5:]).domains.values()] == ["a", "b"]


def test_names_of_domains() -> None:
    assert [singular(word) for word in ("horses", "glass", "iris", "virus", "gas", "photo")] == [
        "horse", "glass", "iris", "virus", "gas", "photo",
    ]  # fmt: skip
    assert [singular(word) for word in ("my\u00a0horses", "\u200b", "a\nb\u2028c", 300 * "x")] == [
        "my horse",
        "",
        "a b c",
        100 * "x",
    ]
    assert [named_after(place) for place in ("data/horses", "a/{split}/zebras/*.jpg", "~/days/{split}")] == [
        "horse", "zebra", "day",
    ]  # fmt: skip


def test_a_domain_may_be_named_in_the_singular_or_the_plural() -> None:
    assert [known_as(word, ["horse", "zebras"]) for word in ("horses", "horse", "zebra", "zebras", "cow")] == [
        "horse", "horse", "zebras", "zebras", "cow",
    ]  # fmt: skip
    assert known_as("zebra", ["zebras", "zebra"]) == "zebra"


def test_an_unknown_option_names_the_nearest(trained: Any) -> None:
    with pytest.raises(UserError, match=r"no option 'widht'. Did you mean 'width'\?.*resnet: width"):
        CycleGAN("data/horses", "data/zebras", widht=4)
    with pytest.raises(UserError, match=r"generator.width: must be at least 1"):
        CycleGAN("data/horses", "data/zebras", width=0)


def test_sizes_follow_the_pictures(trained: Any) -> None:
    made = CycleGAN("data/horses", "data/zebras").recipe
    assert (made.dataset.options["transform"].resize, made.dataset.options["transform"].crop) == (20, 16)
    assert made.generator.options["width"] == 64


@pytest.mark.parametrize(
    ("places", "options", "told"),
    [
        (("data/horses", "data/horses/../horses"), {}, "data/horses: both sides are the same. Give a folder for each side."),
        (("data/horses", "data/horses"), {"names": ("x", "y")}, "both sides are the same"),
        (("data/horses", "data/zebras"), {"names": ("x",)}, "names: there are 1, and 2 domains. Give one for each."),
        (("data/horses", "data/zebras"), {"names": ("x", "")}, r"names: \('x', ''\): every name is text and not empty"),
        (("data/horses", "data/zebras"), {"names": (1, 2)}, r"names: \(1, 2\): every name is text"),
        (("data/horses", "data/zebras"), {"crop": 0}, "transform.crop: must be at least 1, not 0. Or: must be a"),
    ],
)
def test_what_is_no_pair_of_domains(trained: Any, places: Any, options: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        CycleGAN(*places, **options)


def test_a_mapping_is_an_option_too(trained: Any) -> None:
    """With what it leaves open filled in by others; one that is wrong is not passed over."""
    made = CycleGAN("data/horses", "data/zebras", transform={"flip": False}, crop=8, read_a={"channels": 1}).recipe
    transform = made.dataset.options["transform"]
    assert (transform.flip, transform.crop, transform.resize) == (False, 8, 9)
    assert made.dataset.options["read_a"].channels == 1
    with pytest.raises(UserError, match=r"dataset 'folders': transform.cropp: unknown key. Did you mean 'crop'"):
        CycleGAN("data/horses", "data/zebras", transform={"cropp": 8})
    with pytest.raises(UserError, match=r"dataset 'folders': transform: must be a mapping, not 8"):
        CycleGAN("data/horses", "data/zebras", transform=8)


def test_a_plugin_measures(trained: Any) -> None:
    class Measuring:
        @hookimpl
        def measure_model(self, path: Path, registry: Registry, options: dict[str, Any]) -> Any:
            return path, options

    registry = default_registry().extended("measuring", Measuring())
    assert "measuring" not in [broken.plugin for broken in registry.broken]
    again = i2i.Experiment.load(trained.out, registry=registry)
    assert again.evaluate(split="val") == (trained.out, {"split": "val"})


def test_evaluate(trained: Any) -> None:
    with pytest.raises(UserError, match=r"no option 'metric'. Did you mean 'metrics'"):
        trained.evaluate(metric=["kid"])
    with pytest.raises(UserError, match=r"metrics: give a list of names: metrics=\['kid', 'swd'\]"):
        trained.evaluate(metrics="kid,swd")
    with pytest.raises(UserError, match=r"images must be a whole number from 1 on, not 0"):
        trained.evaluate(images=0)
    with pytest.raises(UserError, match=r"those that are trained on .*holdout: 0.1"):
        trained.evaluate()
    plain = Registry({name: plugin for name, plugin in default_registry()._manager.list_name_plugin() if name != "evaluate"})
    with pytest.raises(UserError, match="no loaded plugin measures models"):
        i2i.Experiment.load(trained.out, registry=plain).evaluate()


def test_run_takes_a_mapping_or_a_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = {"dataset": {"name": "earth", "crop": 16}, "generator": {"name": "resnet", "width": 2, "blocks": 1}}
    data |= {"loss": {"name": "cyclegan", "gan": 0}, "train": {"steps": 1, "threads": 1}, "samples": {"count": 1}}
    assert i2i.run({**data, "log": {"trackers": ()}}) == Path("runs/recipe")
    assert i2i.run(i2i.load_recipe("runs/recipe/recipe.yaml"), set={"train.steps": 2}, resume=True) == Path("runs/recipe")
    with pytest.raises(UserError, match=r"the recipe: generator.widht: unknown key. Did you mean 'width'"):
        i2i.run({**data, "generator": {"name": "resnet", "widht": 2}})
    with pytest.raises(UserError, match=r"an object of type Tensor. A recipe is plain data"):
        i2i.run({**data, "generator": torch.zeros(1)})


def test_the_public_names() -> None:
    assert "Experiment" in dir(i2i)
    assert all(hasattr(i2i, name) for name in dir(i2i))


def test_a_length_beforehand_and_weights_to_begin_with(trained: Any, tmp_path: Path) -> None:
    parts = {**TINY, **QUIET, "norm": "none"}
    made = CycleGAN("data/horses", "data/zebras", **parts, epochs=0.2, out=tmp_path / "run")
    assert {made.recipe.components(kind)[()].options["norm"] for kind in ("generator", "discriminator")} == {"none"}
    made.train()
    assert made.step == 2
    with pytest.raises(UserError, match="say for how long"):
        made.train()
    begun = CycleGAN("data/horses", "data/zebras", **parts, start=made.out, out=tmp_path / "next")
    begun.train(steps=1)
    begun.train(steps=1)
    assert f"start: generator of {made.out}: " in (tmp_path / "next" / "log.txt").read_text()


def test_a_name_on_the_hub_is_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = partial(dataset_of, dataset=None, names=None, layout="unpaired", own=Own(), registry=default_registry())
    found = {"name": "hub", "source": "huggan/horse2zebra", "paired": False, "names": ["horse", "zebra"]}
    assert asked(("huggan/horse2zebra",)) == found
    (tmp_path / "huggan").mkdir()
    assert asked(("huggan/horse2zebra",))["name"] == "folders"


def test_a_new_folder_has_a_name_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number in ("", "-2", "-3"):
        free = new_folder("own:Mine + first_a2b b")
        assert free == Path(f"runs/Mine-first_a2b-b{number}")
        free.mkdir(parents=True)
