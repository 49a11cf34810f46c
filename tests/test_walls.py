"""Methods that nobody here had planned for, each as an outside package of at most 120 lines.

Each passes the kit at its small size, trains, resumes after a kill to the same bytes, runs with two processes, translates, and
goes out to a file or says why not. What is special about one is tested where the feature is.
"""

import math
import os
import re
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

import killing
import strangers
import terminal
from forked import SERVER
from i2i.recipe import load_recipe
from i2i.registry import Registry, default_registry, hookimpl
from i2i.stopping import LAUNCHED
from i2i.testing import check_plugin
from i2i.training.log import read_metrics
from i2i.training.running import run_recipe
from i2i.training.state import Run
from i2i.translation.loading import load

LINES = 120
QUIET = Console(quiet=True)


@dataclass(frozen=True)
class Wall:
    """What a package is asked for. ``exports`` is the sentence that refuses it, where it cannot be exported."""

    exports: str = ""
    killed_at: int = 3


WALLS: dict[str, Wall] = {
    "bounded": Wall(),
    "bridge": Wall(exports="draws random numbers"),
    "cut": Wall(),
    "heatmaps": Wall(),
    "parts": Wall(),
    "rates": Wall(exports="draws a style"),
    "seasons": Wall(exports="draws a style"),
}


@pytest.fixture(scope="module", params=WALLS)
def name(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with strangers.installed(tmp_path_factory.mktemp("site"), request.param):
        yield request.param


def train(name: str, out: Path, *overrides: str, resume: bool = False) -> Run:
    """The package's own recipe."""
    torch.set_num_threads(1)
    registry = default_registry()
    recipe = load_recipe(f"{name}:{name}", overrides, registry)
    return run_recipe(recipe, out, registry, resume=resume, console=QUIET)


class Killed:
    """Kills its process in the middle of an event: nothing is tidied up."""

    def __init__(self, step: int) -> None:
        self.step = step

    @hookimpl
    def step_ended(self, run: Run) -> None:
        if run.step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


class Alike:
    """Every process has the same networks after each step, on pictures of its own."""

    @hookimpl
    def step_ended(self, run: Run) -> None:
        assert run.accelerator.num_processes == 2
        weights = [p.detach().flatten() for network in run.trained for p in network.parameters()]
        found = run.accelerator.gather(torch.cat(weights)[None])
        assert torch.equal(*found), f"the processes' networks differ after step {run.step}"


def killed_life(paths: list[str], name: str, out: Path, step: int) -> None:
    """What the process does that is killed."""
    sys.path[:0] = paths
    with default_registry().subscribed(Killed(step)):
        train(name, out, "checkpoint.every=1")


def shared_life(paths: list[str], name: str, out: Path, environment: dict[str, str]) -> None:
    """What each of two processes does."""
    sys.path[:0] = paths
    os.environ.update(environment)
    with default_registry().subscribed(Alike()):
        train(name, out, "train.steps=2")


def test_it_is_small(name: str) -> None:
    """Docstrings included; blank lines do not count."""
    lines = [line for path in (strangers.HERE / name).rglob("i2i_*/*.py") for line in path.read_text().splitlines()]
    assert sum(bool(line.strip()) for line in lines) <= LINES


@pytest.mark.slow
def test_it_passes_the_kit_at_its_small_size(name: str) -> None:
    registry: Registry = default_registry()
    assert registry.broken == []
    check_plugin(name, registry=registry)


@pytest.mark.slow
def test_it_trains_resumes_after_a_kill_translates_and_goes_out(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wall, out = WALLS[name], tmp_path / "killed"
    run = train(name, tmp_path / "whole", "checkpoint.every=1")
    assert all(term.isfinite() for term in run.terms.values())
    process = SERVER.Process(target=killed_life, args=(sys.path, name, out, wall.killed_at))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    train(name, out, "checkpoint.every=1", resume=True)
    whole, resumed = killing.traces(tmp_path / "whole"), killing.traces(out)
    assert [key for key in {**whole, **resumed} if whole.get(key) != resumed.get(key)] == []
    translator = load(out, "cpu")
    image = torch.rand(3, 18, 21)
    for source, target in translator.directions:
        made = translator.translate(image, to=target, source=source)
        assert made.shape == image.shape
        assert made.abs().max() <= 1
    way: list[Any] = []
    if len(translator.directions) > 1:
        source, target = translator.directions[0]
        way = ["--source", translator.label(source), "--to", translator.label(target)]
    code = terminal.call(monkeypatch, "export", out, "--format", "onnx", "--out", tmp_path / "m.onnx", *way)
    said = capsys.readouterr()
    assert code == (2 if wall.exports else 0), said.err
    assert re.search(wall.exports or "largest difference", said.err + said.out), said.err


@pytest.mark.slow
def test_two_processes_share_it(name: str, tmp_path: Path) -> None:
    started = []
    for rank in (0, 1):
        environment = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        environment |= {"ACCELERATE_USE_CPU": "true", "GLOO_SOCKET_IFNAME": "lo", LAUNCHED: str(tmp_path / "meeting")}
        process = SERVER.Process(target=shared_life, args=(sys.path, name, tmp_path / "out", environment))
        process.start()
        started.append(process)
    for process in started:
        process.join(120)
    assert [process.exitcode for process in started] == [0, 0]
    values = read_metrics(tmp_path / "out" / "metrics.jsonl")
    assert values
    assert all(math.isfinite(value) for line in values for value in line.values())
