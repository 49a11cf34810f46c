"""``i2i plugins new --kind``: each package passes the kit and ruff as it is written."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from i2i.registry import Registry
from i2i.testing import check_plugin
from i2i.testing.kinds import KINDS
from i2i.testing.template import new_plugin


@pytest.mark.parametrize("kind", KINDS)
def test_a_package_of_each_kind_conforms(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"fresh_{kind}"
    folder = new_plugin(name, tmp_path / "made", Registry(plugins={}), kind)
    monkeypatch.syspath_prepend(folder)
    registry = Registry(plugins={name: importlib.import_module(f"i2i_{name}")})
    assert [(entry.kind, entry.name) for entry in registry.entries()] == [(kind, name)]
    check_plugin(name, registry=registry)
    page = (folder / "README.md").read_text()
    assert f"{kind}: {{name: {name}}}" in page
    assert "generator" not in page + (folder / "pyproject.toml").read_text() + (folder / f"i2i_{name}/__init__.py").read_text()
    subprocess.run(
        [
            sys.executable,
            "-m",
            "ruff",
            "check",
            "-q",
            "--isolated",
            "--select",
            "E,F,I,UP,B,RUF",
            "--line-length",
            "128",
            str(folder),
        ],
        cwd=folder,
        check=True,
    )
