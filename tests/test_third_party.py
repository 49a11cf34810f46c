"""Plugins as strangers write them, among ours: pip installs them, their parts go with ours, and not only components."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

import i2i_cyclegan
import i2i_earth
import i2i_objectives
import i2i_pix2pix
from forked import ran
from i2i.errors import UserError
from i2i.recipe import load_recipe
from i2i.registry import Registry
from i2i.training.running import run_recipe

HERE = Path(__file__).parent / "third_party"


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """The stranger's plugin beside a few of ours."""
    monkeypatch.syspath_prepend(HERE / "cut")
    stranger = importlib.import_module("i2i_cut")
    yield Registry(
        {"cut": stranger, "pix2pix": i2i_pix2pix, "cyclegan": i2i_cyclegan, "earth": i2i_earth, "objectives": i2i_objectives}
    )
    for module in [module for module in sys.modules if module.split(".")[0] == "i2i_cut"]:
        del sys.modules[module]


def test_its_generator_trains_under_other_losses_and_its_loss_says_what_it_needs(registry: Registry, tmp_path: Path) -> None:
    path, quiet = HERE / "cut/i2i_cut/recipes/cut.yaml", Console(quiet=True)
    text = path.read_text().replace("loss: {name: cut, patches: 16, size: 8}", "loss: {name: cyclegan}")
    mixed = tmp_path / "mixed.yaml"
    mixed.write_text(text)
    run = run_recipe(load_recipe(mixed, [], registry), tmp_path / "mixed", registry, resume=False, console=quiet)
    assert run.step == 4
    other = tmp_path / "other.yaml"
    other.write_text(path.read_text().replace("{name: cut, width: 4, blocks: 1}", "{name: resnet, width: 4, blocks: 1}"))
    with pytest.raises(UserError, match=r"'encoded_2' of the generator, and 'resnet' does not .* does \(cut\), or"):
        run_recipe(load_recipe(other, [], registry), tmp_path / "other", registry, resume=False, console=quiet)
    both = tmp_path / "both.yaml"
    both.write_text(
        path.read_text().replace("loss: {name: cut, patches: 16, size: 8}", "loss: [{name: cut}, {name: cyclegan}]")
    )
    run = run_recipe(load_recipe(both, [], registry), tmp_path / "both", registry, resume=False, console=quiet)
    assert {"nce", "cycle_a"} <= set(run.terms)


@pytest.mark.slow
def test_pip_installs_it_lists_it_and_takes_it_away(tmp_path: Path) -> None:
    assert "generator cut cut 0.3.0" in listed(installed("cut", tmp_path))
    assert "generator cut cut 0.3.0" not in listed(tmp_path / "elsewhere")


def installed(name: str, tmp_path: Path) -> Path:
    """A folder for sys.path into which pip has installed a copy of the package."""
    built = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
    copy = shutil.copytree(HERE / name, tmp_path / "source", ignore=built)
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    subprocess.run([*pip, "--target", str(site), str(copy)], check=True, env=environment)
    return site


LEDGER = """
dataset: {name: earth, crop: 32}
generator: {name: unet, width: 2, downs: 5}
discriminator: {name: patchgan, width: 2, layers: 1}
loss: {name: pix2pix}
train: {steps: 6}
log: {every: 2, trackers: []}
ledger: {only: l1}
"""


@pytest.mark.slow
def test_a_command_a_section_an_engine_and_an_observer_come_in_one_small_package(tmp_path: Path) -> None:
    lines = [line for path in (HERE / "ledger").rglob("*.[pt][yo]*") for line in path.read_text().splitlines() if line.strip()]
    assert {path.suffix for path in (HERE / "ledger").rglob("*.[pt][yo]*")} == {".py", ".toml"}
    assert len(lines) <= 60
    site = installed("ledger", tmp_path)
    recipe, run, made = tmp_path / "recipe.yaml", tmp_path / "run", tmp_path / "made"
    recipe.write_text(LEDGER)
    assert "ledger     Print the lowest values of a run." in i2i(site, "--help").stdout
    i2i(site, "run", recipe, "--out", run)
    values = [json.loads(line)["l1_b"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(values) == 3
    assert i2i(site, "ledger", run).stdout == f"l1_b {min(values):.4g}\n"
    picture = torch.rand(32, 32, 3).mul(255).byte().numpy()
    for name, pixels in {"left": picture, "right": picture[:, ::-1]}.items():
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        i2i(site, "translate", run, tmp_path / f"{name}.png", "--backend", "mirrored", "--out", made)
    left, right = (np.asarray(Image.open(made / f"{name}.png")).astype(int) for name in ("left", "right"))
    assert abs(left - right[:, ::-1]).max() <= 1  # the engine is at work: a network alone is not symmetric
    elsewhere = i2i(tmp_path, "run", recipe, "--out", tmp_path / "other", code=2)
    assert "recipe.yaml:8:1: ledger: unknown key." in elsewhere.stderr


def i2i(site: Path, *arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    """A command of a process that has a folder on its path."""
    path = os.pathsep.join(part for part in (str(site), os.environ.get("PYTHONPATH")) if part)
    done = ran([*map(str, arguments)], environment={**os.environ, "PYTHONPATH": path})
    assert done.returncode == code, done.stdout + done.stderr
    return done


def listed(site: Path) -> list[str]:
    """The components that ``i2i plugins`` names with a folder on the path."""
    done = i2i(site, "plugins", "--json")
    return [f"{c['kind']} {c['name']} {c['plugin']} {c['version']}" for c in json.loads(done.stdout)["components"]]
