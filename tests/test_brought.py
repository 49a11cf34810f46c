"""What a package brings beside its components: recipes, and what its loss suggests for training; and its name in messages."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import toy
from i2i import declared
from i2i.errors import UserError
from i2i.recipe import load_recipe
from i2i.recipe.reading import Recipe
from i2i.registry import Registry, hookimpl
from i2i.testing.listing import overview
from i2i.training.run_folder import folder_of
from i2i.translation.model_config import CONFIG
from i2i.translation.model_folder import Origin, load_model, save_model
from terminal import call

RECIPE = """\
# yaml-language-server: $schema=recipe.json
# Stripes, for four steps.
dataset: {name: stripes}
generator: {name: toy}
discriminator: {name: judge}
loss: {name: toy}
"""


def install(site: Path, name: str, recipes: dict[str, str], distribution: str = "") -> None:
    """The plugin *name* as pip leaves it: a package that fails when it is imported, with these recipes."""
    info = site / f"i2i_{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution or f'i2i-{name}'}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[i2i]\n{name} = i2i_{name}\n")
    folder = site / f"i2i_{name}" / "recipes"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise AssertionError('imported')")
    for stem, text in recipes.items():
        (folder / f"{stem}.yaml").write_text(text)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The plugins "ink", with three recipes of which two are wrong, and "gone", which is disabled."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv(declared.DISABLE, "gone")
    monkeypatch.chdir(tmp_path)
    install(folder, "ink", {"stripes": RECIPE, "torn": "dataset: {name: ", "odd": RECIPE + "train: {step: 4}"})
    install(folder, "gone", {"stripes": RECIPE})
    declared.all_points.cache_clear()
    yield folder
    declared.all_points.cache_clear()


@pytest.fixture
def registry() -> Registry:
    return Registry(plugins={"toys": toy})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ink:stripe", "'ink:stripe' is neither a file nor a plugin's recipe. Did you mean 'ink:stripes'? Plugins have"),
        (
            "pen:x",
            "'pen:x' is neither a file nor a plugin's recipe. Plugins have gone:stripes, ink:odd, ink:stripes",
        ),
        ("gone:stripes", r"the recipe 'gone:stripes' belongs to the plugin 'gone' (i2i-gone), which I2I_DISABLE_PLUGINS turns"),
        ("ink:torn", "i2i-ink, recipes/torn.yaml:1:17: this is not YAML"),
        ("ink:odd", "i2i-ink, recipes/odd.yaml:7:9: train.step: unknown key. Did you mean 'steps'?"),
        ("ink:stripes.yaml", "there is no file ink:stripes.yaml"),
    ],
)
def test_a_wrong_name_or_file_is_told(name: str, message: str, site: Path, registry: Registry) -> None:
    with pytest.raises(UserError) as refused:
        load_recipe(name, [], registry)
    assert message in str(refused.value)


def test_without_packages_no_recipe_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(declared, "all_points", lambda: declared.entry_points(group="nothing"))
    with pytest.raises(UserError, match=r"'a:b' is neither a file nor a plugin's recipe\. No plugin has recipes\.$"):
        load_recipe("a:b")
    assert overview(Registry(plugins={}))["recipes"] == []


def test_a_recipe_is_found_in_its_package_and_a_file_of_its_name_comes_first(site: Path, registry: Registry) -> None:
    brought = load_recipe("ink:stripes", ["train.steps=4"], registry)
    assert (brought.dataset.name, brought.train.steps) == ("stripes", 4)
    assert folder_of(Path("ink:stripes"), None, False) == Path("runs/ink-stripes")
    Path("ink:stripes").write_text(RECIPE + "train: {steps: 9}")
    assert load_recipe("ink:stripes", [], registry).train.steps == 9
    assert not {"i2i_ink", "i2i_gone"} & set(sys.modules)


def test_recipes_are_listed_with_their_first_comment(
    site: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = overview(registry)["recipes"]
    assert {"name": "ink:stripes", "distribution": "i2i-ink", "help": "Stripes, for four steps."} in rows
    assert [row["name"] for row in rows] == ["ink:odd", "ink:stripes", "ink:torn"]  # none of what is disabled
    monkeypatch.setattr("i2i.testing.listing.default_registry", lambda: registry)
    assert call(monkeypatch, "plugins") == 0
    assert "recipes\n  ink:odd  i2i-ink" in (shown := capsys.readouterr().out)
    assert "\n  ink:stripes  i2i-ink  Stripes, for four steps.\n" in shown


class Suggesting:
    """A plugin with the toy's loss under three names, each with suggestions of its own."""

    def __init__(self, **suggested: Any) -> None:
        self.suggested = suggested

    @hookimpl
    def register_losses(self) -> dict[str, Any]:
        losses = {}
        for name, suggested in self.suggested.items():
            losses[name] = type(name, (toy.ToyLoss,), {"train_defaults": suggested})
        return losses


def trained(tmp_path: Path, train: str, loss: str = "{name: one}", **suggested: Any) -> Recipe:
    """A recipe with these losses and this section, checked."""
    path = tmp_path / "recipe.yaml"
    text = (
        f"dataset: {{name: stripes}}\ngenerator: {{name: toy}}\ndiscriminator: {{name: judge}}\nloss: {loss}\ntrain: {train}\n"
    )
    path.write_text(text)
    return load_recipe(path, [], Registry(plugins={"toys": toy, "mine": Suggesting(**suggested)}))


@pytest.mark.parametrize(
    ("suggested", "message"),
    [
        ({"generater": {}}, "the loss 'one' of the plugin 'mine': train_defaults: generater: unknown key. Did you mean 'gen"),
        (
            {"generator": {"lr": -1}},
            "the loss 'one' of the plugin 'mine': train_defaults: generator.lr: must be greater than 0",
        ),
        (3, "the loss 'one' of the plugin 'mine': train_defaults: must be a mapping"),
        ({"steps": object()}, "the loss 'one' of the plugin 'mine': train_defaults: Object of type object is not JSON"),
        ({"non_finite": "skip"}, "train, with what loss 'one' suggests: with precision fp16 the scaler already skips"),
    ],
)
def test_a_wrong_suggestion_names_its_plugin(suggested: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        trained(tmp_path, "{precision: fp16}", one=suggested)
    assert message in str(refused.value)


def test_what_a_recipe_says_wins_over_what_its_losses_suggest(tmp_path: Path) -> None:
    one = {"generator": {"lr": 1e-4, "betas": [0.0, 0.9]}, "schedule": {"name": "step", "every": 3}, "ema": 0.5}
    other = {"generator": {"lr": 1.0, "weight_decay": 0.1}, "discriminator": {"lr": 3.0}}
    assert trained(tmp_path, "{}", one=one).train.generator.lr == 1e-4
    found = trained(tmp_path, "{generator: {lr: 2}, ema: null}", "[{name: one}, {name: other}]", one=one, other=other).train
    assert (found.generator.lr, found.generator.betas, found.generator.weight_decay) == (2, (0.0, 0.9), 0.1)
    assert (found.schedule.name, found.schedule.every, found.ema, found.discriminator.lr) == ("step", 3, None, 3)
    chosen = trained(tmp_path, "{generator: {optimizer: sgd}, schedule: {name: cosine}}", one=one).train
    assert (chosen.generator.lr, chosen.schedule.name) == (2e-4, "cosine")
    assert trained(tmp_path, "{generator: {optimizer: adam}}", one=one).train.generator.lr == 1e-4


def test_a_run_keeps_what_was_suggested_and_the_list_shows_it(tmp_path: Path) -> None:
    suggested = {"generator": {"lr": 0.25}}
    (tmp_path / "again.yaml").write_text(trained(tmp_path, "{steps: 3}", one=suggested).to_yaml())
    later = Registry(plugins={"toys": toy, "mine": Suggesting(one={"generator": {"lr": 0.75}})})
    assert load_recipe(tmp_path / "again.yaml", [], later).train.generator.lr == 0.25
    (shown,) = [row for row in overview(later)["components"] if row["name"] == "one"]
    assert shown["train_defaults"] == {"generator": {"lr": 0.75}}
    (broken,) = [
        row for row in overview(Registry(plugins={"mine": Suggesting(one={"step": 1})}))["components"] if row["name"] == "one"
    ]
    assert "train_defaults: step: unknown key" in broken["error"]


def test_a_loss_that_needs_no_discriminator_suggests_nothing_for_it(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("dataset: {name: stripes}\ngenerator: {name: toy}\nloss: {name: one, adversarial: false}\n")
    plugins = {"toys": toy, "mine": Suggesting(one={"discriminator": {"lr": 1.0}, "generator": {"lr": 0.5}})}
    found = load_recipe(path, [], Registry(plugins=plugins)).train
    assert (found.discriminator.lr, found.generator.lr) == (2e-4, 0.5)


def test_a_model_names_the_distribution_of_its_plugin(tmp_path: Path, registry: Registry) -> None:
    entry = registry.get("generator", "toy")
    module = entry.factory(domains=toy.Stripes().domains, directions=(("a", "b"),))
    for distribution in ("i2i-toys", "", "x; rm -rf"):
        folder = tmp_path / f"model {distribution[:1]}"
        origin = Origin("toy", "toys", "1.2", {}, distribution)
        save_model(folder, module, {"": origin}, domains=toy.Stripes().domains, directions=(("a", "b"),))
        assert json.loads((folder / CONFIG).read_text())["generator"]["distribution"] == distribution
    nobody = Registry(plugins={})
    with pytest.raises(UserError, match=r"needs the plugin 'toys 1\.2' \(pip install i2i-toys, if you trust it\): there is no"):
        load_model(tmp_path / "model i", registry=nobody)
    with pytest.raises(UserError, match=r"needs the plugin 'toys 1\.2': there is no"):
        load_model(tmp_path / "model ", registry=nobody)
    with pytest.raises(UserError, match=r"'x; rm -rf' is not the name of a distribution"):
        load_model(tmp_path / "model x", registry=registry)
