"""A replayed step is the step as it was: with every loss, in the middle of a run, and after a resume with other settings."""

import importlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from rich.console import Console
from safetensors.torch import save_file

import i2i_cyclegan
import i2i_evaluate
import i2i_metrics
import i2i_objectives
import i2i_pix2pix
import i2i_spade
import i2i_timm
import i2i_unit
import toy
from i2i.errors import UserError
from i2i.protocols import Batch, Discriminator, Images, Terms
from i2i.recipe import load_recipe
from i2i.registry import Registry, hookimpl
from i2i.training.running import run_recipe
from i2i.training.state import Run
from i2i_metrics.paired import Psnr
from i2i_watch.replay import replay
from killing import RECIPES

HERE = Path(__file__).parent
QUIET = Console(quiet=True)


class Annealed(toy.ToyLoss):
    """Its L1 term grows from 0 to 1 over the run, and is doubled by the distance of the average from the weights."""

    def __init__(self, *, domains: Mapping[str, Any]) -> None:
        super().__init__(domains=domains)
        self.run: Run | None = None

    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        terms = super().generator_terms(D, batch, images)
        if self.run is None:  # the rehearsal before a run
            return terms
        terms["l1"] = terms["l1"] * (self.run.step / self.run.recipe.train.steps + 1)
        if self.run.ema is not None:
            pairs = zip(self.run.ema.averaged.module.parameters(), self.run.bare_generator.parameters(), strict=True)
            terms["drift"] = sum((a - b).detach().abs().sum() for a, b in pairs)  # type: ignore[assignment]
        return terms


class Drawing(Psnr):
    """Draws when it is built, as a metric with a network of random weights does."""

    def __init__(self, *, domains: Mapping[str, Any], direction: tuple[str, str]) -> None:
        super().__init__(domains=domains, direction=direction)
        torch.rand(9)


class Plugin:
    @hookimpl
    def register_metrics(self) -> dict[str, Any]:
        return {"drawing": Drawing}

    @hookimpl
    def register_losses(self) -> dict[str, Any]:
        return {"annealed": Annealed}

    @hookimpl
    def run_started(self, run: Run) -> None:
        if isinstance(run.loss, Annealed):
            run.loss.run = run


TRAIN = """
train:
  steps: 6
  batch_size: 1
  seed: 3
  ema: 0.9
  schedule: {name: constant_then_linear, constant: 0.25, warmup: 2}
  generator: {lr: 1e-3}
samples: {every: 3, count: 1}
checkpoint: {every: 2, keep_last: 9}
log: {every: 1, trackers: []}
"""
TOY = toy.RECIPE[: toy.RECIPE.index("train:")]
TOYS = {
    "annealed": TOY.replace("loss: {name: toy}", "loss: {name: annealed}"),
    "penalised": TOY.replace("loss: {name: toy}", "loss: {name: toy, penalty: 10}"),
}
PERCEPTUAL = ", {name: perceptual, backbone: test_resnet, layers: [0], weights: WEIGHTS}]"
LISTED = {"perceptual": RECIPES["cyclegan"].replace("loss: {name: cyclegan, pool: 4}", "loss: [{name: cyclegan}" + PERCEPTUAL)}


def third_party(name: str) -> str:
    text = (HERE / f"third_party/{name}/i2i_{name}/recipes/{name}.yaml").read_text()
    text = text.replace("{name: earth, a: day, b: night, paired: false, crop: 32}", "{name: stripes, size: 32, paired: false}")
    return text[: text.index("train:")]


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    modules: dict[str, Any] = {"toys": toy, "annealed": Plugin(), "cyclegan": i2i_cyclegan, "pix2pix": i2i_pix2pix}
    modules |= {"evaluate": i2i_evaluate, "spade": i2i_spade, "unit": i2i_unit, "timm": i2i_timm, "metrics": i2i_metrics}
    for name in ("cut", "seasons"):
        monkeypatch.syspath_prepend(HERE / "third_party" / name)
        modules[name] = importlib.import_module(f"i2i_{name}")
    return Registry(plugins={**modules, "objectives": i2i_objectives})


def trained(folder: Path, text: str, registry: Registry, *overrides: str, resume: bool = False) -> Run:
    path = folder / "r.yaml"
    path.write_text(text + TRAIN)
    return run_recipe(load_recipe(path, overrides, registry), folder / "out", registry, resume=resume, console=QUIET)


def assert_replayed(folder: Path, step: int, registry: Registry, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """What the replay prints is what metrics.jsonl has, which keeps six digits; nothing in the folder changes."""
    before = {path: path.stat().st_mtime_ns for path in (folder / "out").rglob("*") if path.is_file()}
    capsys.readouterr()
    replay(folder / "out", step, registry, Console())
    said = dict(text.split() for text in capsys.readouterr().out.splitlines() if text.startswith("  "))
    lines = map(json.loads, (folder / "out" / "metrics.jsonl").read_text().splitlines())
    line = next(line for line in lines if line["step"] == step)
    for name, value in said.items():
        assert float(value) == pytest.approx(line[name], rel=1e-5), name
    assert before == {path: path.stat().st_mtime_ns for path in (folder / "out").rglob("*") if path.is_file()}
    return said


@pytest.mark.parametrize("name", [*RECIPES, *LISTED, *TOYS, "cut", "seasons"])
def test_every_loss_s_steps_are_replayed_as_they_were(
    name: str, tmp_path: Path, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "weights.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), weights)
    text = {**RECIPES, **LISTED, **TOYS}.get(name) or third_party(name)
    trained(tmp_path, text.replace("WEIGHTS", str(weights)), registry)
    for step in (1, 4, 5):
        said = assert_replayed(tmp_path, step, registry, capsys)
        assert {"gradient_norm_generator", "gradient_norm_discriminator"} <= set(said)


@pytest.mark.parametrize("keep", [9, 1])
def test_a_step_from_before_a_resume_with_other_settings_is_replayed_with_its_own(
    keep: int, tmp_path: Path, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the checkpoints of the resumes are gone, and the replay has to go through them."""
    changes = ("train.generator.lr=0.01", "train.ema=0.5", "train.seed=9")
    kept = f"checkpoint={{every: 2, keep_last: {keep}}}"
    trained(tmp_path, TOYS["annealed"], registry, "train.steps=4", kept)
    trained(tmp_path, TOYS["annealed"], registry, "train.steps=6", kept, *changes, resume=True)
    trained(tmp_path, TOYS["annealed"], registry, "train.steps=8", kept, *changes, "train.clip=0.1", resume=True)
    for step in (3, 5, 6, 7):
        assert_replayed(tmp_path, step, registry, capsys)


def test_what_is_logged_now_and_then_is_replayed_between(
    tmp_path: Path, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(tmp_path, TOYS["annealed"], registry)
    whole = assert_replayed(tmp_path, 5, registry, capsys)
    shutil.rmtree(tmp_path / "out")
    trained(tmp_path, TOYS["annealed"], registry, "log.every=3")
    replay(tmp_path / "out", 5, registry, Console())
    assert whole == dict(text.split() for text in capsys.readouterr().out.splitlines() if text.startswith("  "))


def test_metrics_that_draw_do_not_change_the_first_step(
    tmp_path: Path, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate = "evaluate={every: 2, metrics: [drawing], dataset: {split: val}}"
    trained(tmp_path, TOYS["annealed"], registry, evaluate)
    for step in (1, 3):
        assert_replayed(tmp_path, step, registry, capsys)


def test_a_step_that_there_is_not_is_refused(tmp_path: Path, registry: Registry) -> None:
    trained(tmp_path, TOYS["annealed"], registry)
    with pytest.raises(UserError, match="the steps 1 to 6"):
        replay(tmp_path / "out", 7, registry, QUIET)
    with pytest.raises(UserError, match="holds no run"):
        replay(tmp_path, 1, registry, QUIET)


def test_a_run_of_several_processes_is_not_replayed_by_one(tmp_path: Path, registry: Registry) -> None:
    trained(tmp_path, TOYS["annealed"], registry)
    manifest = tmp_path / "out" / "checkpoints" / "step-00000006" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"processes": 1', '"processes": 2'))
    with pytest.raises(UserError, match="was trained by 2 processes, but a replay has only one"):
        replay(tmp_path / "out", 3, registry, QUIET)
