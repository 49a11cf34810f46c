"""What the documentation repeats from the code is as the code has it."""

import importlib
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml


@pytest.fixture
def cogs(root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """docs/cogs.py as a module."""
    monkeypatch.syspath_prepend(root / "docs")
    return importlib.import_module("cogs")


def test_pages_and_schema_are_what_cog_writes(cogs: Any, capsys: pytest.CaptureFixture[str]) -> None:
    code = cogs.main(["--check", "--diff"])
    assert code == 0, "run `just docs`\n" + capsys.readouterr().out
    assert {"commands.md", "recipe.md", "metrics.md"} <= {page.name for page in cogs.PAGES if "[[[cog" in page.read_text()}


def test_a_page_or_a_schema_that_differs_is_found(cogs: Any, tmp_path: Path, root: Path) -> None:
    page, schema = tmp_path / "page.md", root / "recipes/schema.json"
    block = '<!-- [[[cog cog.outl(keys("log")) ]]] -->{}\n<!-- [[[end]]] -->\n'
    page.write_text(block.format("\n| `every` | int | `11` | Something else. |"), encoding="utf-8")
    assert cogs.main(["--check"], [page], schema) == 5
    other = tmp_path / "schema.json"
    assert cogs.main([], [page], other) == 0
    assert "| `every` | int >= 1 or epochs | `10` |" in page.read_text(encoding="utf-8")
    assert cogs.main(["--check"], [page], other) == 0
    other.write_text(other.read_text(encoding="utf-8").replace('"default": 10,', '"default": 11,'), encoding="utf-8")
    assert cogs.main(["--check"], [page], other) == 5


def test_every_command_is_on_the_page_of_commands(cogs: Any, root: Path) -> None:
    shown = (root / "docs/commands.md").read_text(encoding="utf-8")
    for name in (*cogs.CORE, *cogs.DECLARED["i2i.commands"]):
        assert f"\n## i2i {name}\n\n```\nUsage: i2i {name} " in shown
    assert re.findall(r"^  -.*> *\[default.*", shown, re.MULTILINE) == [], "an option without help"


def test_every_public_name_of_a_stable_module_is_documented(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    monkeypatch.syspath_prepend(root / "docs")
    pages = importlib.import_module("pages")
    assert pages.undocumented() == []
    (tmp_path / "i2i").mkdir()
    a = ["class A:", "    'Has ``told``.'", "    told = bare = 1", "    def f(self): ...", "    def g(self): 'Does.'"]
    b = ["class B(A):", "    'Inherits.'", "    def f(self): ...", "    def g(self): ..."]
    (tmp_path / "i2i/__init__.py").write_text("\n".join(["'A module.'", "x = _y = 1", *a, *b]))
    assert pages.undocumented(["i2i"], [tmp_path]) == ["i2i.A.bare", "i2i.A.f", "i2i.B.f", "i2i.x"]


def test_what_just_and_pre_commit_call_is_there(root: Path) -> None:
    lines = (root / "justfile").read_text(encoding="utf-8").splitlines()
    called = [line.split()[0].lstrip("@") for line in lines if line.startswith("    ")]
    hooks = yaml.safe_load((root / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    called += [hook["entry"].split()[0] for hook in hooks]
    assert {"ruff", "mypy", "codespell", "pytest", ".ci/run"} <= set(called)
    beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    assert [name for name in called if shutil.which(name, path=beside) is None and not (root / name).is_file()] == []


def test_every_page_has_its_place_in_the_navigation(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    monkeypatch.syspath_prepend(root / "docs")
    pages = importlib.import_module("pages")
    settings = (root / "mkdocs.yml").read_text(encoding="utf-8")
    elsewhere = tuple(folder.lstrip("/") for folder in yaml.safe_load(settings)["not_in_nav"].split())
    found = [path.relative_to(root).as_posix() for pattern in pages.PAGES for path in root.glob(pattern)]
    found = [path for path in found if path.endswith(".md") and not path.startswith(elsewhere)]
    assert "SECURITY.md" in found
    assert [path for path in found if f"- {path}\n" not in settings] == []
