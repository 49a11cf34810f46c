"""Every command that reads a model, on run folders full of traps, under an audit hook: nothing in them runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MANY = [
    "a metric's segmenter is a function",
    "modules beside the model",
    "pickles of all names",
    "YAML that calls functions",
    "what eval writes is a link to a secret",
    "README.md is a link to a secret",
]
SHOWN = ["blocks: 10,000", "one flipped bit", "a weight that is NaN", "weights are a pipe", "figures with markup"]


@pytest.mark.slow
def test_no_command_runs_what_lies_in_a_folder() -> None:
    """One folder with the traps that lie beside a good model, all at once, then some by themselves; see benchmarks/traps.py."""
    command = [sys.executable, str(ROOT / "benchmarks" / "traps.py"), "--no-limits", "--together", *MANY, "--traps", *SHOWN]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAULT" not in done.stdout
    assert f"{len(SHOWN) + 1} traps" in done.stdout


@pytest.mark.parametrize("name", ["torch", "typing", "pathlib", "yaml", "typer", "i2i_metrics"])
def test_modules_in_the_current_folder_are_not_imported(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").write_text("import sys\nprint('imported')\nsys.exit(3)\n")
    done = subprocess.run(
        [sys.executable, "-m", "i2i", "--help"], cwd=tmp_path, capture_output=True, text=True, env=dict(os.environ), check=False
    )
    assert (done.returncode, "imported" in done.stdout) == (0, False), done.stdout + done.stderr
