"""Kills training processes at random moments and resumes them, over and over: ``python tests/killing.py --kills 50``.

Each run is a fork of a process that has imported torch and computed nothing. A run that is killed until it gets through must
leave exactly what a run leaves that nobody touched: checkpoints, model, grids and metrics, byte by byte (but for speeds).

With ``--launchers 20`` it is the launcher of ``i2i run --processes 2`` that gets SIGKILL or SIGTERM. No process of the run may
be left ten seconds after SIGKILL, its loader processes included; after SIGTERM they have the grace time.
"""

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import torch
from rich.console import Console

import i2i_cyclegan
import i2i_objectives
import i2i_pix2pix
import i2i_spade
import i2i_unit
import toy
from forked import SERVER, started
from i2i.recipe import load_recipe
from i2i.registry import Registry
from i2i.stopping import GRACE, INTERRUPTED
from i2i.training.running import run_recipe
from i2i.translation.checkpoints import checkpoints

COMMON = """
train: {steps: 12, batch_size: 1, seed: 3, ema: 0.9, workers: WORKERS}
samples: {every: 4, count: 1}
checkpoint: {every: 2, keep_last: 2}
log: {every: 1, trackers: []}
"""
RECIPES = {
    "pix2pix": """
dataset: {name: stripes, size: 32}
generator: {name: unet, width: 2, downs: 5}
discriminator: {name: patchgan, width: 2, layers: 2}
loss: {name: pix2pix}
""",
    "cyclegan": """
dataset: {name: stripes, size: 16, paired: false}
generator: {name: resnet, width: 2, blocks: 1}
discriminator: {name: patchgan, width: 2, layers: 1, norm: instance}
loss: {name: cyclegan, pool: 4}
""",
    "unit": """
dataset: {name: stripes, size: 32, paired: false}
generator: {name: unit, width: 2, downs: 1, blocks: 1}
discriminator: {name: multiscale, width: 2, layers: 2, scales: 2}
loss: {name: unit}
""",
    "spade": """
dataset: {name: stripes, size: 64}
generator: {name: spade, width: 1, hidden: 4, vae: true, style_size: 4, encoder_width: 1}
discriminator: {name: spade, width: 2, layers: 2}
loss: {name: spade, vae: true}
""",
}
LAUNCHED = """
dataset: {name: earth, a: day, b: night, paired: false, crop: 32}
generator: {name: resnet, width: 4, blocks: 1}
discriminator: {name: patchgan, width: 4, layers: 2, norm: instance}
loss: {name: cyclegan, pool: 4}
train: {steps: 60, batch_size: 1, seed: 3, ema: 0.9, workers: 1}
samples: {every: 30, count: 1}
checkpoint: {every: 10, keep_last: 2}
log: {every: 1, trackers: []}
"""
ENDED = 10.0
"""Seconds after which no process may be left."""
MOST = 5
"""How often one run is killed before it may end in peace."""


def train(recipe: Path, out: Path) -> None:
    """One process's whole life: start, or resume where a checkpoint is."""
    modules = {"cyclegan": i2i_cyclegan, "pix2pix": i2i_pix2pix, "spade": i2i_spade, "unit": i2i_unit}
    registry = Registry(plugins={"toys": toy, "objectives": i2i_objectives, **modules})
    resume = bool(checkpoints(out))
    if not resume and out.exists():  # killed before its first checkpoint
        shutil.rmtree(out)
    run_recipe(load_recipe(recipe, [], registry), out, registry, resume=resume, console=Console(quiet=True))


def life(recipe: Path, out: Path) -> None:
    """What a process that is started for a run does."""
    torch.set_num_threads(1)
    train(recipe, out)


def attempt(recipe: Path, out: Path, patience: float | None) -> bool:
    """Train in a process of its own and kill it after so many seconds; whether it came to its end before."""
    process = SERVER.Process(target=life, args=(recipe, out))
    process.start()
    process.join(patience)
    if process.exitcode is None:
        process.kill()
        process.join()
        return False
    if process.exitcode != 0:
        raise RuntimeError(f"a run in {out} failed")
    return True


def launch(recipe: Path, out: Path, patience: float | None, number: signal.Signals, waited: dict[str, float]) -> bool:
    """``i2i run --processes 2``, which after so many seconds gets a signal; whether it came to its end before.

    *waited* learns for how many seconds, at most, processes were left after each signal.
    """
    resume = bool(checkpoints(out))
    if not resume:
        shutil.rmtree(out, ignore_errors=True)
    line = ["run", str(recipe), "--out", str(out), "--processes", "2", *(["--resume"] if resume else [])]
    with tempfile.TemporaryDirectory() as place:
        run = started(line, Path(place))
        try:
            run.wait(patience)
        except subprocess.TimeoutExpired:
            run.send_signal(number)
            left = gone(place, ENDED + (GRACE if number == signal.SIGTERM else 0))
            waited[number.name] = max(left, waited.get(number.name, 0.0))
            assert run.wait() in (0, INTERRUPTED, -number), "it was ended hard"
            return False
        assert run.returncode == 0, run.communicate()
        return True


def gone(place: str, patience: float) -> float:
    """Wait until no process of the run is left, whoever its parent is, found by its folder; the seconds that it took."""
    began = time.monotonic()
    while left := [process for process in psutil.process_iter() if _is_in(process, place)]:
        assert time.monotonic() < began + patience, f"still there after {patience} s: {left}"
        time.sleep(0.05)
    return time.monotonic() - began


def _is_in(process: psutil.Process, place: str) -> bool:
    try:
        return bool(process.cwd() == place)
    except psutil.Error:  # it has ended, or is somebody else's
        return False


def traces(out: Path) -> dict[str, object]:
    """All that a run leaves, without times."""
    newest = sorted((out / "checkpoints").glob("step-*"))
    found: dict[str, object] = {f"{path.name}": json.loads((path / "manifest.json").read_text())["files"] for path in newest}
    for path in sorted([*(out / "samples").iterdir(), *(out / "model").iterdir()]):
        found[path.name] = path.read_bytes()
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    found["metrics"] = [
        {key: value for key, value in line.items() if key not in ("images_per_second", "waiting")} for line in lines
    ]
    found["left over"] = sorted(path.name for path in out.rglob("*") if "partial" in path.name or "previous" in path.name)
    return found


Attempt = Callable[[Path, float | None, random.Random], bool]
"""Makes one attempt at a run in a folder, which may be stopped after some seconds; whether it came to its end."""


def compare(name: str, kills: int, folder: Path, seed: int = 0, workers: int = 0) -> int:
    """Kill runs of a recipe so often in all, each until it gets through; the number of runs, all of them equal."""
    recipe = folder / f"{name}.yaml"
    recipe.write_text(RECIPES[name] + COMMON.replace("WORKERS", str(workers)))
    return until_through(name, lambda out, patience, _: attempt(recipe, out, patience), kills, folder, seed)


def compare_launched(kills: int, folder: Path, seed: int = 0) -> tuple[int, dict[str, float]]:
    """The same for the launcher of two processes, by SIGKILL and SIGTERM; also what ``launch`` says of the time taken."""
    waited: dict[str, float] = {}
    recipe = folder / "launched.yaml"
    recipe.write_text(LAUNCHED)

    def one(out: Path, patience: float | None, moments: random.Random) -> bool:
        return launch(recipe, out, patience, moments.choice([signal.SIGKILL, signal.SIGTERM]), waited)

    return until_through("launched", one, kills, folder, seed, asked=True), waited


def until_through(name: str, one: Attempt, kills: int, folder: Path, seed: int, asked: bool = False) -> int:
    """Attempts that are killed so often in all; the number of runs, which must leave the same as one that nobody touched.

    A run that is *asked* to stop makes a checkpoint and a grid there; the checkpoint pushes out an older one.
    """
    moments, killed, runs = random.Random(seed), 0, 0
    began = time.monotonic()
    one(folder / "whole", None, moments)
    length = time.monotonic() - began
    expected = traces(folder / "whole")
    while killed < kills:
        out = folder / f"killed-{runs}"
        through, last = False, min(kills, killed + MOST)
        while not through:
            through = one(out, moments.uniform(0.2, 0.9) * length if killed < last else None, moments)
            killed += not through
        runs += 1
        found = traces(out)
        more = [key for key in found if asked and key.startswith("step-") and key not in expected]
        oldest = sorted(key for key in expected if key.startswith("step-") and not key.endswith(".png"))
        spared = {*more, *oldest[: sum(not key.endswith(".png") for key in more)]}
        different = [key for key in {**expected, **found} if key not in spared and expected.get(key) != found.get(key)]
        assert not different, f"{name}: {out} differs from the run that was never killed in {different}"
    return runs


def main() -> None:
    """Kill and compare, and say how it went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="how often a process is killed, for each recipe")
    parser.add_argument("--workers", type=int, default=0, help="loader processes")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=[*RECIPES])
    parser.add_argument("--launchers", type=int, default=0, help="kill so many launchers of two processes instead")
    options = parser.parse_args()
    if options.launchers:
        with tempfile.TemporaryDirectory() as folder:
            runs, waited = compare_launched(options.launchers, Path(folder))
        left = ", ".join(f"{seconds:.1f} s after {name}" for name, seconds in waited.items())
        print(f"{options.launchers} launchers killed in {runs} runs, all equal to the run that was never killed")
        print(f"the last process had ended at most {left}")
        return
    for name in options.recipes:
        with tempfile.TemporaryDirectory() as folder:
            runs = compare(name, options.kills, Path(folder), workers=options.workers)
        print(f"{name}: killed {options.kills} times in {runs} runs; all equal to the run that was never killed", flush=True)


if __name__ == "__main__":
    sys.exit(main())
