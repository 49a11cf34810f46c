"""The benchmarks run, at sizes that say nothing about speed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SMALL = {
    "training": "--models pix2pix --size 64 --width 4 --rounds 2 --threads 1 --set train.clip=1",
    "scaling": "--models pix2pix --sizes 32 64 --batches 1 2 --width 4 --rounds 2 --threads 1 --peak 1",
    "inference": "--width 4 --blocks 1 --side 32 --batch 1 --pictures 2 --rounds 2 --threads 1 --backends",
    "core_overhead": "--rounds 2 --set train.threads=1",
    "loading": "--rounds 2 --pairs 2",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_a_benchmark_prints_its_figures_and_the_machine(name: str, root: Path, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [sys.executable, str(root / "benchmarks" / f"{name}.py"), *SMALL[name].split(), "--json", str(figures)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "machine: " in done.stdout
    assert json.loads(figures.read_text())
