"""The benchmarks run, at sizes that say nothing about speed."""

import json
import math
import platform
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from forked import ran_script

SMALL = {
    "training": "--models pix2pix --size 64 --width 4 --rounds 2 --threads 1 --set train.clip=1",
    "scaling": "--models pix2pix --sizes 32 64 --batches 1 2 --width 4 --rounds 2 --threads 1 --peak 1",
    "inference": "--width 4 --blocks 1 --side 32 --batch 1 --pictures 2 --rounds 2 --threads 1 --backends",
    "core_overhead": "--rounds 2 --set train.threads=1",
    "loading": "--rounds 2 --pairs 2",
}

FIGURES = {
    "training": ("ratio", ".3f"),
    "scaling": ("seconds_per_image", ".4f"),
    "inference": ("median_s", ".4f"),
    "core_overhead": ("ratio", ".4f"),
    "loading": ("ratio", ".2f"),
}
"""A key of the figures, and the form in which the table has each of them."""


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_a_benchmark_prints_its_figures_and_the_machine(name: str, root: Path, tmp_path: Path) -> None:
    written = tmp_path / "figures.json"
    script = root / "benchmarks" / f"{name}.py"
    done = ran_script(script, [*SMALL[name].split(), "--json", str(written)], tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"^machine: .*, Python {platform.python_version()}, device c", done.stdout, re.MULTILINE)
    key, form = FIGURES[name]
    found = json.loads(written.read_text())
    assert all(math.isfinite(figure) for _, figure in figures(found))
    named = [figure for at, figure in figures(found) if at == key]
    assert named
    assert min(named) > 0
    assert [figure for figure in named if f"{figure:{form}}" not in done.stdout] == []


def figures(found: Any, key: str = "") -> Iterator[tuple[str, float]]:
    """Every number with the key that it stands under."""
    if isinstance(found, dict | list):
        for at, inner in found.items() if isinstance(found, dict) else ((key, one) for one in found):
            yield from figures(inner, at)
    elif isinstance(found, int | float):
        yield key, found
