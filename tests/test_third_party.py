"""Plugins as strangers write them: CUT and StarGAN, each a distribution of its own, with no change to the core."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

import i2i_cyclegan
import i2i_earth
import i2i_pix2pix
from i2i.errors import UserError
from i2i.recipe import load_recipe
from i2i.registry import Registry
from i2i.testing import Subject, check_loss, check_plugin
from i2i.training.running import run_recipe
from i2i.translation.loading import load

HERE = Path(__file__).parent / "third_party"
SMALL: dict[str, dict[str, dict[str, Any]]] = {
    "cut": {"generator cut": {"width": 4, "blocks": 1}, "loss cut": {"patches": 16, "size": 8}},
    "stargan": {"generator stargan": {"width": 4, "blocks": 1}, "discriminator stargan": {"width": 4, "layers": 2}},
}


@pytest.fixture(params=["cut", "stargan"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def registry(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """The stranger's plugin beside a few of ours."""
    monkeypatch.syspath_prepend(HERE / name)
    stranger = importlib.import_module(f"i2i_{name}")
    yield Registry({name: stranger, "pix2pix": i2i_pix2pix, "cyclegan": i2i_cyclegan, "earth": i2i_earth})
    for module in [module for module in sys.modules if module.split(".")[0] == f"i2i_{name}"]:
        del sys.modules[module]


def test_it_conforms(name: str, registry: Registry) -> None:
    assert registry.broken == []
    options = {key: value for key, value in SMALL[name].items() if key != "loss stargan"}
    if name == "cut":
        check_plugin(name, options=options, registry=registry)
        return
    for kind in ("generator", "discriminator", "dataset"):
        entry = registry.get(kind, "tints" if kind == "dataset" else name)
        check = getattr(importlib.import_module("i2i.testing"), f"check_{kind}")
        check(entry.name, registry=registry, options=options.get(f"{kind} {entry.name}"))
    judge = Subject("discriminator", name, registry.get("discriminator", name).factory, {"width": 4, "layers": 2})
    check_loss(name, registry=registry, discriminator=judge)


def test_it_trains_resumes_and_translates(name: str, registry: Registry, tmp_path: Path) -> None:
    path, quiet = HERE / name / "recipe.yaml", Console(quiet=True)
    recipe = load_recipe(path, [], registry)
    whole = run_recipe(recipe, tmp_path / "whole", registry, resume=False, console=quiet)
    run_recipe(load_recipe(path, ["train.steps=2"], registry), tmp_path / "half", registry, resume=False, console=quiet)
    resumed = run_recipe(recipe, tmp_path / "half", registry, resume=True, console=quiet)
    assert all(torch.isfinite(term) for term in whole.terms.values())
    for key, value in whole.bare_generator.state_dict().items():
        torch.testing.assert_close(value, resumed.bare_generator.state_dict()[key])
    for key, value in whole.loss.state_dict().items():
        torch.testing.assert_close(value, resumed.loss.state_dict()[key])
    translator = load(tmp_path / "whole", "cpu", registry=registry)
    image = torch.rand(3, 18, 21)
    for source, target in translator.directions:
        made = translator.translate(image, to=target, source=source)
        assert made.shape == image.shape
        assert torch.isfinite(made).all()


@pytest.mark.parametrize("name", ["cut"], indirect=True)
def test_its_generator_trains_under_other_losses_and_its_loss_says_what_it_needs(
    name: str, registry: Registry, tmp_path: Path
) -> None:
    path, quiet = HERE / name / "recipe.yaml", Console(quiet=True)
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


def test_it_is_small(name: str) -> None:
    """At most 150 lines, docstrings included; blank ones and the toy data do not count."""
    files = [path for path in (HERE / name).rglob("i2i_*/*.py") if path.name != "tints.py"]
    assert sum(bool(line.strip()) for path in files for line in path.read_text().splitlines()) <= 150


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cut"], indirect=True)
def test_pip_installs_it_lists_it_and_takes_it_away(name: str, tmp_path: Path) -> None:
    assert f"generator {name} {name} 0.3.0" in listed(installed(name, tmp_path))
    assert f"generator {name} {name} 0.3.0" not in listed(tmp_path / "elsewhere")


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
    line = [sys.executable, "-m", "i2i", *map(str, arguments)]
    done = subprocess.run(line, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def listed(site: Path) -> list[str]:
    """The components that ``i2i plugins`` names with a folder on the path."""
    code = "import sys; sys.argv = ['i2i', 'plugins', '--json']\nfrom i2i.cli import main\nmain()"
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return [f"{c['kind']} {c['name']} {c['plugin']} {c['version']}" for c in json.loads(done.stdout)["components"]]
