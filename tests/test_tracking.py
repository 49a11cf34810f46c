"""Trackers: each gets the recipe, the curves and the grids in its own form, and none ends training."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import trackers
from i2i.errors import UserError
from i2i.training.tracking import Tracking, check_trackers, flat
from test_health import log, trained


@pytest.mark.parametrize("name", trackers.NAMES)
def test_a_tracker_gets_the_recipe_the_curves_and_the_grids(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = trackers.installed(name, monkeypatch)
    trained(tmp_path, f"log.trackers=[{name}]")
    assert "warning" not in log(tmp_path)
    kinds = {kind: [item[1:] for item in seen if item[0] == kind] for kind in ("recipe", "curve", "picture", "end")}
    (((recipe,),), ends) = kinds["recipe"], kinds["end"]
    assert recipe["train.steps"] == 6
    assert recipe["train.clip"] == "null"
    assert recipe["dataset.name"] == "stripes"
    assert [step for curve, step in kinds["curve"] if curve == "gan"] == [1, 2, 3, 4, 5, 6]
    with Image.open(tmp_path / "out" / "samples" / "step-00000006.png") as grid:
        assert kinds["picture"] == [(grid.size, 0), (grid.size, 3), (grid.size, 6)]
    assert ends == [()]


@pytest.mark.parametrize("name", ["tensorboard", *trackers.NAMES])
def test_without_its_grids_or_the_recipe_a_tracker_keeps_its_curves(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = trackers.installed(name, monkeypatch) if name != "tensorboard" else []

    def fail(*_: Any, **__: Any) -> None:
        raise TypeError("not like this")

    monkeypatch.setattr("i2i_watch.tracked.read_picture", fail)
    monkeypatch.setattr("i2i.training.tracking.flat", fail)
    trained(tmp_path, f"log.trackers=[{name}]")
    for part in ("the sample grids", "the recipe"):
        assert log(tmp_path).count(f"the tracker '{name}' continues without {part} (TypeError: not like this)") == 1
    assert name == "tensorboard" or [item[2] for item in seen if item[:2] == ("curve", "gan")] == [1, 2, 3, 4, 5, 6]


def test_a_tracker_ends_after_the_last_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is drawn when the run ends, where that is at no multiple of ``samples.every``."""
    seen = trackers.installed("wandb", monkeypatch)
    trained(tmp_path, "log.trackers=[wandb]", "samples.every=4")
    assert [item[0] for item in seen if item[0] in ("picture", "end")] == ["picture", "picture", "picture", "end"]


def test_figures_of_an_evaluation_reach_a_tracker_with_narrow_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow refuses the brackets and arrows of ``eval/fid[vgg] day → night``, and all that comes with it in one call."""
    seen = trackers.installed("mlflow", monkeypatch)
    run = trained(tmp_path, "log.trackers=[mlflow]")
    notes: list[str] = []
    Tracking(run, notes.append).log({"eval/fid[vgg] day → night": 1.0, "gan": 2.0}, 7)
    assert notes == []
    assert [item[1] for item in seen if item[0] == "curve" and item[2] == 7] == ["eval/fid_vgg_ day to night", "gan"]


def test_tensorboard_gets_the_recipe(tmp_path: Path) -> None:
    trained(tmp_path, "log.trackers=[tensorboard]")
    (stored,) = (tmp_path / "out" / "tracking").glob("*/hparams.yml")
    assert "train.batch_size: 2\n" in stored.read_text()


def test_a_recipe_is_flat_for_trackers() -> None:
    recipe = {"loss": [{"name": "a"}, {"name": "b"}], "train": {"clip": None, "betas": [], "lr": 0.5}, "fast": True}
    assert dict(flat(recipe)) == {
        "loss.0.name": "a", "loss.1.name": "b", "train.clip": "null", "train.betas": "[]", "train.lr": 0.5, "fast": True,
    }  # fmt: skip


def test_a_tracker_of_one_s_own_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "mine", object)
    check_trackers(["mine"])
    monkeypatch.setattr("i2i.training.tracking.find_spec", lambda _: None)
    with pytest.raises(UserError, match="the tracker 'wandb' needs the package wandb: pip install wandb"):
        check_trackers(["mine", "wandb"])
