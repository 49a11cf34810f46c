"""The examples of docs/several_nodes.md are well formed, and what they call exists."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from i2i.recipe import load_recipe


@pytest.fixture
def blocks(root: Path) -> dict[str, list[str]]:
    """The blocks of code of the page by language."""
    found: dict[str, list[str]] = {}
    page = (root / "docs/several_nodes.md").read_text(encoding="utf-8")
    for language, text in re.findall(r"^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        found.setdefault(language, []).append(text)
    return found


def test_the_shell_scripts_can_be_read(blocks: dict[str, list[str]]) -> None:
    (task,) = blocks["yaml"]
    for script in (*blocks["bash"], yaml.safe_load(task)["run"]):
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
        assert re.search(r"(-m|--module) i2i run ", script)
    assert set(yaml.safe_load(task)) == {"name", "num_nodes", "resources", "workdir", "volumes", "setup", "run"}


def test_the_script_of_a_job_has_a_header_and_a_recipe(blocks: dict[str, list[str]], tmp_path: Path) -> None:
    (script,) = blocks["python"]
    header = re.search(r"^# /// script\n(.*?)^# ///$", script, re.MULTILINE | re.DOTALL)
    assert header is not None
    told = tomllib.loads("".join(line.removeprefix("#").removeprefix(" ") for line in header[1].splitlines(True)))
    assert set(told["tool"]["hf-jobs"]) == {"flavor", "timeout", "secrets", "volumes"}
    names: dict[str, str] = {}
    exec(compile(script.partition("\nPath(")[0], "train.py", "exec"), names)
    (tmp_path / "recipe.yaml").write_text(names["RECIPE"])
    assert load_recipe(tmp_path / "recipe.yaml").dataset.name == "hub"
