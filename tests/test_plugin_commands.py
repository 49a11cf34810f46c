"""``i2i plugins`` with its commands, the pytest plugin, the matrix, and the page that documents all of it."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import toy
from i2i.hooks import Hooks
from i2i.recipe.options import SUPPLIED
from i2i.registry import Registry, hookimpl
from i2i.testing import check_plugin
from i2i.testing.commands import given_options
from i2i.testing.matrix import cells_of
from i2i.testing.workshop import Choice
from terminal import call, install


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory; the toys are the only plugin."""
    monkeypatch.chdir(tmp_path)
    install(monkeypatch, toy.registry())
    return tmp_path


def printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    code = call(monkeypatch, *arguments)
    return code, json.loads(capsys.readouterr().out)


def test_without_a_command_it_lists(toys: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = printed(monkeypatch, capsys, "plugins", "--json")
    assert code == 0
    toys = [c["name"] for c in found["components"] if c["plugin"] == "toys"]
    assert toys == ["fails", "toy", "judge", "toy", "stripes"]
    assert call(monkeypatch, "plugins") == 0
    assert "toys" in capsys.readouterr().out


def test_a_new_plugin_conforms_as_it_is(
    toys: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "plugins", "new", "oil_paint") == 0
    assert "i2i plugins test oil_paint" in capsys.readouterr().out
    folder = toys / "i2i-oil-paint"
    module = (folder / "i2i_oil_paint" / "__init__.py").read_text()
    assert len([line for line in module.splitlines() if line.strip()]) < 15
    monkeypatch.syspath_prepend(folder)
    import i2i_oil_paint  # type: ignore[import-not-found]

    registry = Registry({"oil_paint": i2i_oil_paint})
    check_plugin("oil_paint", options={"generator oil_paint": {"width": 4}}, registry=registry)
    assert not list(toys.glob(".*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["new", "Painter"], "cannot be a plugin's name"),
        (["new", "class"], "cannot be a plugin's name"),
        (["new", "a-b"], "cannot be a plugin's name"),
        (["new", "toys"], "a plugin 'toys' is installed already"),
        (["new", "toy"], "the plugin 'toys' has a generator 'toy' already"),
        (["new", "unit"], "a package i2i_unit is installed already"),
        (["new", "oil", "--out", "."], "already exists"),
        (["test", "toyz"], "no plugin 'toyz' with components is installed. Did you mean 'toys'?"),
        (["test", "toys", "--set", "width=3"], "write KIND.NAME.OPTION=VALUE"),
        (["test", "toys", "--set", "generator.toi.width=3"], "has no generator toi. Did you mean 'generator toy'?"),
        (["test", "toys", "--only", "shaeps"], "--only: there is no 'shaeps'. Did you mean 'shapes'?"),
        (["test", "toys", "--set", "generator.toy.width=-1"], "generator 'toy': width: must be at least 1, not -1."),
        (["matrix", "--device", "tpu"], "must be 'meta' or 'cpu'"),
        (["matrix", "--set", "generator.toi.width=1"], "there is no generator 'toi'. Did you mean 'toy'?"),
        (["matrix", "--set", "generator.toy.widht=1"], "generator 'toy': widht: unknown key. Did you mean 'width'?"),
        (["matrix", "--set", "dataset.stripes.size=1"], "--set: there is no 'dataset'."),
        (["matrix", "--plugin", "toyz"], "no plugin 'toyz' with components is installed. Did you mean 'toys'?"),
    ],
)
def test_bad_input_is_one_message(
    arguments: list[str], message: str, toys: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "plugins", *arguments) == 2
    assert message in capsys.readouterr().err
    assert list(toys.iterdir()) == []


def test_the_kit_s_table_and_exit_code(toys: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, rows = printed(monkeypatch, capsys, "plugins", "test", "toys", "--json", "--set", "generator.toy.width=2")
    assert code == 1
    failed = {row["name"] for row in rows if row["result"] == "failed" and row["kind"] == "generator"}
    assert failed == {"fails"}
    assert {row["check"] for row in rows if row["name"] == "stripes"} == {"typed", "samples", "determinism", "workers"}


def test_the_kit_runs_one_check_at_a_size(
    toys: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("plugins", "test", "toys", "--json", "--only", "shapes", "--size", "12")
    _, rows = printed(monkeypatch, capsys, *arguments)
    assert {row["check"] for row in rows} == {"shapes"}
    assert {row["result"] for row in rows if row["name"] == "toy"} == {"passed"}
    seen: list[int | None] = []
    monkeypatch.setattr("i2i.testing.generators.CHECKS", (lambda subject: seen.append(subject.size),))
    printed(monkeypatch, capsys, *arguments[:-4], *arguments[-2:])
    assert set(seen) == {12}


def test_options_on_the_command_line() -> None:
    given = given_options(["generator.x.width=4", "generator.x.size=[1, 2]", "loss.y.name=z"])
    assert given == {"generator x": {"width": 4, "size": [1, 2]}, "loss y": {"name": "z"}}


class Odd:
    """A loss that nothing here can serve, and a generator that breaks in its forward pass."""

    @hookimpl
    def register_losses(self) -> dict[str, Any]:
        def demanding(*, domains: Any) -> Any:
            return toy.ToyLoss(domains=domains, extra="mean")

        return {"demanding": demanding}


def test_the_matrix_says_what_trains_and_why_not(toys: Path) -> None:
    registry = Registry({"toys": toy, "odd": Odd()})
    cells = list(cells_of(Choice(registry, {"generator toy": {"width": 2}}, size=16)))
    assert len(cells) == 2 * 2 * 2
    found = {(cell.generator, cell.loss, cell.data): cell for cell in cells}
    assert found["toy", "toy", "labels"].result == "trains"
    assert found["toy", "demanding", "images"].result == "refused"
    assert "needs 'mean'" in found["toy", "demanding", "images"].reason
    assert "the constructor broke" in found["fails", "toy", "images"].reason
    real = cells_of(Choice(Registry({"toys": toy}), {}, device="cpu", size=16))
    assert {cell.result for cell in real if cell.generator == "toy"} == {"trains"}


def test_the_matrix_as_a_command(toys: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, cells = printed(monkeypatch, capsys, "plugins", "matrix", "--json", "--size", "16")
    assert code == 1  # a constructor that breaks has not refused
    assert set(cells[0]) == {"generator", "loss", "discriminator", "data", "result", "reason"}
    assert call(monkeypatch, "plugins", "matrix", "--size", "16") == 1
    shown = capsys.readouterr().out
    assert "2 trains, 0 refused, 2 crashed" in shown
    assert "trains   images: toy + toy + judge\n" in shown
    assert call(monkeypatch, "plugins", "matrix", "--size", "16", "--markdown") == 1
    page = capsys.readouterr().out
    assert "| toy | toy | trains |" in page
    assert "| crashed (1) |" in page
    assert "\n1. " in page


def test_the_matrix_of_one_plugin_comes_line_by_line() -> None:
    registry = Registry({"toys": toy, "odd": Odd()})
    cells = list(cells_of(Choice(registry, {"generator toy": {"width": 2}}, size=16, plugin="odd")))
    assert {cell.loss for cell in cells} == {"demanding"}
    tried: list[str] = []
    monitored = cells_of(Choice(registry, {}, size=16))
    for cell in monitored:
        tried.append(cell.generator)
        break
    assert tried  # the first is there before the others are tried
    assert list(monitored) != []


def test_three_lines_of_pytest_run_the_kit(tmp_path: Path) -> None:
    known = any(point.value == "i2i.testing.pytest_plugin" for point in entry_points(group="pytest11"))
    (tmp_path / "test_it.py").write_text(
        "import pytest, toy\n\n@pytest.mark.i2i('toys', registry=toy.registry())\n"
        "def test_conformance(i2icheck):\n    i2icheck()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(toy.__file__).parent)}
    load = [] if known else ["-p", "i2i.testing.pytest_plugin"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *load, "test_it.py", "--strict-markers"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert re.search(r"^\d+ failed, \d+ passed", done.stdout, re.MULTILINE), done.stdout
    assert "test_conformance[generator-toy-gradients]" not in done.stdout
    assert "FAILED test_it.py::test_conformance[generator-fails-shapes]" in done.stdout


PAGES = {
    name: (Path(__file__).parent.parent / "docs" / name).read_text(encoding="utf-8")
    for name in ("plugins.md", "contract.md", "hooks.md")
}
EXAMPLES = {name: re.findall(r"```python\n(.*?)```", page, re.DOTALL) for name, page in PAGES.items()}


def test_every_hook_is_documented() -> None:
    hooks = [name for name in vars(Hooks) if not name.startswith("_")]
    assert re.findall(r"^## (\w+)$", PAGES["hooks.md"], re.MULTILINE) == hooks
    mentioned = "\n".join([*EXAMPLES["plugins.md"], *EXAMPLES["hooks.md"]])
    assert [hook for hook in hooks if f"def {hook}(" not in mentioned] == []


@pytest.mark.parametrize(("page", "source"), [(page, source) for page, sources in EXAMPLES.items() for source in sources])
def test_the_examples_work(page: str, source: str) -> None:
    module = ModuleType("example")
    if "pytest.mark" in source:
        compile(source, page, "exec")  # test_three_lines_of_pytest_run_the_kit runs one like it
        return
    exec(compile(source, page, "exec"), module.__dict__)
    if "@hookimpl" not in source:
        return
    registry = Registry({"example": module})
    assert registry.broken == []
    components = [entry for entry in registry.entries() if entry.kind in SUPPLIED]
    if "remote" not in source and components and "Greys" not in source:
        check_plugin("example", registry=registry)
