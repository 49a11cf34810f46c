"""``i2i plugins new``: each package passes the kit and ruff as it is written, installs, and its own tests pass."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.main import get_command

import toy
from i2i.cli import app
from i2i.protocols import Translation
from i2i.registry import Registry
from i2i.testing import Subject, check_plugin, subjects_of
from i2i.testing.kinds import KINDS
from i2i.testing.template import new_plugin
from terminal import call, install

ASKED = [
    ("generator",),
    ("generator", "style"),
    ("generator", "extras"),
    ("generator", "style", "extras"),
    *((k,) for k in KINDS),
]
RUFF = [sys.executable, "-m", "ruff", "check", "-q", "--isolated", "--select", "E,F,I,UP,B,RUF", "--line-length", "128", "."]
PIP = ("install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "--target")


def written(folder: Path, kind: str, *wanted: str, start: str = "fresh") -> tuple[str, Path]:
    name = "_".join((start, kind, *wanted))
    return name, new_plugin(name, folder / name, Registry(plugins={}), kind, **dict.fromkeys(wanted, True))


@pytest.mark.parametrize("asked", ASKED, ids="-".join)
def test_a_package_of_each_kind_conforms(asked: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = asked[0]
    name, folder = written(tmp_path, *asked)
    subprocess.run(RUFF, cwd=folder, check=True)
    page, project = (folder / "README.md").read_text(), (folder / "pyproject.toml").read_text()
    if kind != "generator":
        assert "generator" not in page + project + (folder / f"i2i_{name}/__init__.py").read_text()
    if kind == "command":
        assert f"i2i {name} --help\n" in page
        return
    monkeypatch.syspath_prepend(folder)
    registry = Registry(plugins={name: importlib.import_module(f"i2i_{name}")})
    assert [(entry.kind, entry.name) for entry in registry.entries()] == [(kind, name)]
    check_plugin(name, registry=registry, slow="style" not in asked)
    assert f"metrics: [{name}]" in page if kind == "metric" else f"{kind}: {{name: {name}" in page
    if kind == "loss":  # losses beside it find its translation
        (subject,) = subjects_of(name, registry)
        translating, picture = lambda x, _, target: Translation({target: x}), torch.rand(1, 3, 4, 4)
        made = subject.build(domains=toy.Stripes().domains).translate(translating, {"a": picture, "b": picture})
        assert set(made) == {"fake_b"}
    if kind == "generator":
        (subject,) = subjects_of(name, registry)
        assert offered(subject) == ({"style"} & {*asked}, {"map"} if "extras" in asked else set())


def offered(subject: Subject) -> tuple[set[str], set[str]]:
    """The keywords and extras of a generator."""
    domains = toy.Stripes().domains
    made = subject.build(domains=domains, directions=(("a", "b"),))
    return set(getattr(made, "accepts", ())), set(made.exposes)


@pytest.mark.slow
def test_each_installs_and_its_own_tests_pass(tmp_path: Path) -> None:
    made, site = [written(tmp_path, *asked, start="whole")[1] for asked in ASKED], tmp_path / "site"
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONPATH": os.pathsep.join((str(site), *sys.path))}
    subprocess.run([sys.executable, "-m", "pip", *PIP, str(site), *map(str, made)], check=True, env=environment)
    for folder in made:
        (folder / f"i2i_{folder.name}").rename(folder / "away")  # what is installed counts
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(str(folder / "tests") for folder in made)]
    done = subprocess.run(tests, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "12 passed" in done.stdout
    shown = subprocess.run([sys.executable, "-m", "i2i", "--help"], env=environment, capture_output=True, text=True, check=True)
    assert "whole_command" in shown.stdout
    assert "Say what a model translates into what." in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["judge", "--kind", "discriminator"], "the plugin 'toys' has a discriminator 'judge' already. Choose another name."),
        (["translate", "--kind", "command"], "i2i has a command 'translate' already. Choose another name."),
        (["oil", "--kind", "loss", "--style"], "--style is for --kind generator, not for --kind loss."),
        (["oil", "--kind", "metric", "--extras"], "--extras is for --kind generator, not for --kind metric."),
    ],
)
def test_what_does_not_fit_is_refused(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    install(monkeypatch, toy.registry())
    assert "translate" in get_command(app).commands  # type: ignore[attr-defined]
    assert call(monkeypatch, "plugins", "new", *arguments) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
