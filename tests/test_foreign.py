"""What is taken from the recipe that comes with a model: names and numbers, unless this account has trained it."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import i2i_metrics
import toy
from i2i.errors import UserError
from i2i.objectives import Chosen
from i2i.recipe import load_recipe
from i2i.recipe.components import Component
from i2i.recipe.own import is_own, remember
from i2i.registry import Registry, default_registry, hookimpl
from i2i.training.running import run_recipe
from i2i.translation.loading import load
from i2i.translation.model_folder import CONFIG
from i2i_evaluate.comparison import compare
from i2i_evaluate.evaluation import evaluate_model
from i2i_evaluate.foreign import texts
from i2i_serve.service import samples
from i2i_watch.replay import replay


class Placed(toy.Stripes):
    """Data in a folder, of no splits; ``read`` lists which folders were looked at."""

    unsplit = ("everywhere",)

    read: list[str] = []  # noqa: RUF012

    def __init__(self, *, root: str, size: int = 16, split: str = "train") -> None:
        super().__init__(size=size, split=split)
        Placed.read.append(root)
        self.root = root

    def identities(self) -> dict[str, list[str]]:
        return {key: [f"{self.root} {self.split}"] for key in self.domains}


class Plugin:
    @hookimpl
    def register_datasets(self) -> dict[str, Any]:
        return {"placed": Placed}


REGISTRY = Registry(plugins={"toys": toy, "metrics": i2i_metrics, "places": Plugin()})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    recipe = toy.RECIPE.replace("{name: stripes}", "{name: placed, root: here}")
    (folder / "toy.yaml").write_text(recipe)
    checked = load_recipe(folder / "toy.yaml", [], REGISTRY)
    run_recipe(checked, folder / "out", REGISTRY, resume=False, console=Console(quiet=True))
    return folder / "out"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    Placed.read.clear()
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Another machine, on which nothing was trained."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def with_metrics(run: Path, *metrics: Mapping[str, Any]) -> Path:
    """The recorded recipe, in both of its files, measures with these."""
    path = run / "model" / CONFIG
    config = json.loads(path.read_text())
    config["extra"]["recipe"]["evaluate"] = {"metrics": [dict(metric) for metric in metrics]}
    path.write_text(json.dumps(config))
    with (run / "recipe.yaml").open("a") as file:
        text = (run / "recipe.yaml").read_text()
        (run / "recipe.yaml").write_text(text.replace("evaluate: null\n", ""))
        file.write(f"evaluate: {json.dumps(config['extra']['recipe']['evaluate'])}\n")
    return run


def test_an_own_run_is_evaluated_on_its_own_data(run: Path) -> None:
    recipe = load_recipe(run / "recipe.yaml", [], REGISTRY)
    assert is_own(recipe)
    assert is_own(recipe.model_copy(update={"train": recipe.train.model_copy(update={"steps": 99})}))
    assert evaluate_model(run, REGISTRY, metrics=["l1"]).figures
    assert set(Placed.read) == {"here"}


@pytest.mark.usefixtures("elsewhere")
def test_the_data_of_a_strangers_recipe_are_read_if_you_say_so(run: Path) -> None:
    with pytest.raises(UserError, match=r'its recipe names are not read: dataset\.root: "here".*--data .*run/recipe\.yaml'):
        evaluate_model(run, REGISTRY, metrics=["l1"])
    with pytest.raises(UserError, match="--data RECIPE"):
        evaluate_model(run / "model", REGISTRY, metrics=["l1"])
    with pytest.raises(UserError, match="its recipe names are not read"):
        compare([run, run / "model"], REGISTRY, metrics=["l1"])
    with pytest.raises(UserError, match="its recipe names are not read"):
        evaluate_model(run, REGISTRY, metrics=["l1"], overrides=["dataset.size=8"])
    assert samples(load(run, "cpu", registry=REGISTRY), run) == []
    assert Placed.read == []
    assert evaluate_model(run, REGISTRY, metrics=["l1"], overrides=["dataset.root=mine"]).figures
    assert evaluate_model(run, REGISTRY, metrics=["l1"], data=run / "recipe.yaml").figures
    assert Placed.read == ["mine", "here", "here"]


def test_a_strangers_run_is_not_replayed(run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    replay(run, 1, REGISTRY, Console(quiet=True))
    assert set(Placed.read) == {"here"}
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with pytest.raises(UserError, match=r'its recipe names dataset\.root: "here".*i2i run .*recipe\.yaml'):
        replay(run, 1, REGISTRY, Console(quiet=True))


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize(
    "metric",
    [
        {"name": "segmentation", "segmenter": "seg.pt2"},
        {"name": "segmentation", "segmenter": "seg:run"},
        {"name": "kid", "extractor": "resnet18@w.pth"},
        {"name": "kid", "extractor": "inception"},
        {"name": "lpips", "network": "alex"},
    ],
)
def test_no_text_of_a_models_metrics_is_taken(
    run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own: bool, metric: dict[str, Any]
) -> None:
    """Not even of one's own, as the file in the present folder may be a stranger's."""
    if not own:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with_metrics(run, metric)
    key = f"evaluate.metrics.0.{list(metric)[1]}"
    data = None if own else tmp_path / "data.yaml"
    (tmp_path / "data.yaml").write_text(toy.RECIPE)
    with pytest.raises(UserError, match=rf"measures with {key}: .*--set {key}=.*--data.*--metrics"):
        evaluate_model(run, REGISTRY, data=data)
    assert Placed.read == []


def test_metrics_of_names_and_numbers_are_taken(run: Path) -> None:
    with_metrics(run, {"name": "l1"}, {"name": "kid", "crop": 16, "filter": "bilinear", "extractor": "efficientnet_lite0"})
    with pytest.raises(UserError, match=r"crop|extractor"):  # the extractor was reached, and wants larger pictures
        evaluate_model(run, REGISTRY)
    found = evaluate_model(run, REGISTRY, metrics=["l1"])
    assert [figure.name for figure in found.figures] == ["l1"]


def test_metrics_of_a_recipe_of_ones_own_are_taken(run: Path, tmp_path: Path) -> None:
    with_metrics(run, {"name": "segmentation", "segmenter": "seg.pt2"})
    mine = tmp_path / "mine.yaml"
    mine.write_text(toy.RECIPE + "evaluate: {metrics: [psnr]}\n")
    assert [figure.name for figure in evaluate_model(run, REGISTRY, data=mine).figures] == ["psnr"]


def test_which_options_are_text() -> None:
    registry = default_registry()

    def named(kind: str, name: str, **options: Any) -> list[str]:
        return [text.partition(":")[0] for text in texts(kind, Component(name=name, options=options), registry, "x")]

    assert named("dataset", "earth", a="day", b="night", crop=64, split="test") == []
    assert named("dataset", "hub", source="owner/name", cache="/tmp/x", columns=["a", "b"]) == [
        "x.source",
        "x.cache",
        "x.columns",
    ]
    assert named("dataset", "folders", a="/x", b="/y", paired=False, transform={"crop": 64}) == ["x.a", "x.b"]
    assert named("loss", "perceptual", weights="w.pth", backbone="vgg19", layers=["a"], weight=2) == ["x.weights", "x.layers"]
    assert named("metric", "kid", extractor="efficientnet_lite0", layer=None, filter="area", crop=3) == []
    chosen = {"objective": Chosen(name="lsgan")}
    assert texts("loss", Component(name="pix2pix", options=chosen), registry, "loss") == []
    worded = {"objective": Chosen.model_validate({"name": "lsgan", "file": "/etc/passwd"})}
    assert texts("loss", Component(name="pix2pix", options=worded), registry, "loss") == ['loss.objective.file: "/etc/passwd"']
    assert texts("dataset", Component(name="hub", options={"source": "s"}), registry, "dataset", ["dataset.source"]) == []
    assert texts("dataset", Component(name="hub", options={"source": "s"}), registry, "dataset", ["dataset"]) == []


def test_where_the_state_folder_cannot_be_written_nothing_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    (tmp_path / "toy.yaml").write_text(toy.RECIPE)
    recipe = load_recipe(tmp_path / "toy.yaml", [], REGISTRY)
    remember(recipe)
    assert not is_own(recipe)


@pytest.mark.usefixtures("elsewhere")
def test_what_a_strangers_model_was_trained_on_is_not_looked_at(run: Path, tmp_path: Path) -> None:
    """Not even to see whether the pictures of one's own recipe are among them."""
    mine = tmp_path / "mine.yaml"
    mine.write_text(toy.RECIPE.replace("{name: stripes}", "{name: placed, root: mine}"))
    assert evaluate_model(run, REGISTRY, metrics=["l1"], data=mine).figures
    assert Placed.read == ["mine"]
