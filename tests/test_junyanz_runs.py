"""pix2pix and CycleGAN through the core: short runs, resume, and the parts of one with the loss of the other."""

import random
from pathlib import Path

import pytest
import torch
from rich.console import Console

import i2i_cyclegan
import i2i_objectives
import i2i_pix2pix
import toy
from i2i.errors import UserError
from i2i.recipe import Recipe, load_recipe
from i2i.registry import Registry
from i2i.training.assembly import assemble
from i2i.training.loop import train_step
from i2i.training.running import run_recipe
from i2i.training.state import Run

PIX2PIX = """\
dataset: {name: stripes, size: 32}
generator: {name: unet, width: 2, downs: 5}
discriminator: {name: patchgan, width: 2, layers: 2}
loss: {name: pix2pix}
train: {steps: 3, batch_size: 1, seed: 1, ema: 0.9}
samples: {every: 3, count: 2}
checkpoint: {every: 2}
log: {every: 1, trackers: []}
"""
CYCLEGAN = """\
dataset: {name: stripes, size: 16, paired: false}
generator: {name: resnet, width: 2, blocks: 1}
discriminator: {name: patchgan, width: 2, layers: 1, norm: instance}
loss: {name: cyclegan, pool: 2}
train: {steps: 4, batch_size: 1, seed: 1}
samples: {every: 4, count: 1}
checkpoint: {every: 4}
log: {every: 1, trackers: []}
"""


@pytest.fixture
def registry() -> Registry:
    return Registry(plugins={"toys": toy, "cyclegan": i2i_cyclegan, "pix2pix": i2i_pix2pix, "objectives": i2i_objectives})


def written(text: str, folder: Path, registry: Registry, *overrides: str) -> Recipe:
    path = folder / "r.yaml"
    path.write_text(text)
    return load_recipe(path, list(overrides), registry)


def trained(recipe: Recipe, out: Path, registry: Registry, resume: bool = False) -> Run:
    return run_recipe(recipe, out, registry, resume=resume, console=Console(quiet=True))


def same(a: Run, b: Run) -> bool:
    """Every network and the loss, bit by bit."""
    states = [[run.state_dict()[role] for role in ("generator", "discriminator", "loss")] for run in (a, b)]
    return all(x.keys() == y.keys() and all(torch.equal(x[name], y[name]) for name in x) for x, y in zip(*states, strict=True))


def test_pix2pix_trains_and_resumes(tmp_path: Path, registry: Registry) -> None:
    whole = trained(written(PIX2PIX, tmp_path, registry), tmp_path / "whole", registry)
    trained(written(PIX2PIX, tmp_path, registry, "train.steps=2"), tmp_path / "parts", registry)
    resumed = trained(written(PIX2PIX, tmp_path, registry), tmp_path / "parts", registry, resume=True)
    assert same(whole, resumed)


def test_pix2pix_without_a_discriminator(tmp_path: Path, registry: Registry) -> None:
    alone = PIX2PIX.replace("discriminator: {name: patchgan, width: 2, layers: 2}\n", "")
    run = trained(written(alone, tmp_path, registry, "loss.gan=0"), tmp_path / "out", registry)
    assert set(run.terms) == {"l1_b"}
    with pytest.raises(UserError, match="needs paired data"):
        assemble(written(PIX2PIX, tmp_path, registry, "dataset.paired=false"), registry)


def test_cyclegan_trains(tmp_path: Path, registry: Registry) -> None:
    run = trained(written(CYCLEGAN, tmp_path, registry), tmp_path / "out", registry)
    assert run.step == 4
    assert {len(run.loss.pools[key]) for key in "ab"} == {2}
    assert (tmp_path / "out" / "model" / "model.safetensors").is_file()


@pytest.mark.parametrize("before", [1, 3])
def test_cyclegan_resumes_with_its_pools(before: int, tmp_path: Path, registry: Registry) -> None:
    """The pools, half filled or full, and the draws from them are part of the checkpoint."""
    whole = trained(written(CYCLEGAN, tmp_path, registry), tmp_path / "whole", registry)
    trained(written(CYCLEGAN, tmp_path, registry, f"train.steps={before}"), tmp_path / "parts", registry)
    random.seed(99)
    resumed = trained(written(CYCLEGAN, tmp_path, registry), tmp_path / "parts", registry, resume=True)
    assert resumed.step == 4
    assert same(whole, resumed)


@pytest.mark.parametrize(
    ("text", "overrides"),
    [
        (PIX2PIX, ("generator={name: resnet, width: 2, blocks: 1}", "discriminator={name: pixel, width: 2}")),
        (CYCLEGAN, ("generator={name: unet, width: 2, downs: 2}", "discriminator={name: pixel, width: 2, norm: none}")),
    ],
)
def test_the_parts_of_one_with_the_loss_of_the_other(
    text: str, overrides: tuple[str, ...], tmp_path: Path, registry: Registry
) -> None:
    run = assemble(written(text, tmp_path, registry, *overrides), registry)
    terms = train_step(run, next(run.batches()))
    assert all(term.isfinite() for term in terms.values())
