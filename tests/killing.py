"""Kills training processes and resumes them, over and over: ``python tests/killing.py --kills 200``.

Each run is a fork of a process that has imported torch and computed nothing. A run that is killed until it gets through must
leave exactly what a run leaves that nobody touched: checkpoints, models, grids and metrics, byte by byte (but for speeds), and
nothing half written. No process of it may be left ten seconds after SIGKILL, its loader processes included.

The recipes take turns, and so do runs of one process and of two. About every second kill is aimed at a write: of a checkpoint,
a model, a grid, the report or the metrics, half done, or before or after it gets its name (``aiming``). The others come at
random moments and hit the run, its launcher, or any process that they have started.

With ``--launchers 20`` it is the launcher of ``i2i run --processes 2`` that gets SIGKILL or SIGTERM; after that the processes
have the grace time.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import psutil
from rich.console import Console

import forked
from aiming import MOMENTS, WRITES, Aim, arm
from eight_recipes import COMMON as COMMON
from eight_recipes import LAUNCHED, TEXTS, packed, registry
from eight_recipes import RECIPES as RECIPES
from forked import Forked, command, started
from i2i.recipe import load_recipe
from i2i.stopping import GRACE, INTERRUPTED
from i2i.training.running import run_recipe
from i2i.translation.checkpoints import checkpoints

ENDED = 10.0
"""Seconds after which no process may be left."""
MORE = ("datasets", "i2i_beside.penalty", "i2i_data.hub", "i2i_data.pack", "i2i_evaluate.evaluating", "i2i_metrics.paired")
"""Modules that each process of the recipes needs."""
PATIENCE = 60.0
"""The same for a machine that has other things to do; it is printed how long it was."""
MOST = 8
"""How often one run is killed before it may end in peace."""


def train(recipe: Path, out: Path) -> None:
    """One process's whole life: start, or resume where a run is."""
    found = registry()
    resume = (out / "recipe.yaml").exists()
    run_recipe(load_recipe(recipe, [], found), out, found, resume=resume, console=Console(quiet=True))


@dataclass(frozen=True)
class Kill:
    """At a write; or after so many seconds, of the process that is this share of the way through the list of them."""

    aim: Aim | None = None
    seconds: float | None = None
    share: float = 0.0


def life(line: list[str], aim: Aim | None, mark: Path) -> None:
    """``i2i`` with the toys."""
    if aim is not None:
        arm(aim, mark)
    found = registry()
    for module in ("i2i.registry", "i2i.recipe.reading"):
        mock.patch(f"{module}.default_registry", return_value=found).start()
    command(line)


def attempt(recipe: Path, out: Path, processes: int, kill: Kill, waited: list[float]) -> bool:
    """``i2i run``, which is killed; whether it came to its end before. *waited*: the seconds until no process was left."""
    resume = ["--resume"] if (out / "recipe.yaml").exists() else []
    line = ["run", str(recipe), "--out", str(out), "--processes", str(processes), *resume]
    hit = False
    with tempfile.TemporaryDirectory() as place:
        mark = Path(place) / "mark"
        run = Forked(life, line, kill.aim, mark, folder=Path(place), environment=os.environ)
        try:
            code = run.wait(kill.seconds)
        except subprocess.TimeoutExpired:
            every = [psutil.Process(run.pid), *psutil.Process(run.pid).children(recursive=True)]
            every[int(kill.share * len(every))].kill()
            hit, code = True, run.wait(PATIENCE)
        waited.append(gone(place, PATIENCE))
        if code and not (hit or mark.exists()):
            raise RuntimeError(f"a run in {out} failed: {run.communicate()[1]}")
    return code == 0


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
    for path in sorted(path for name in ("samples", "model", "best") for path in (out / name).glob("*")):
        found[path.name if path.parent.name == "samples" else path.relative_to(out).as_posix()] = path.read_bytes()
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    found["metrics"] = [
        {key: value for key, value in line.items() if key not in ("images_per_second", "waiting")} for line in lines
    ]
    found["report"] = (out / "report.html").exists()
    found["left over"] = sorted(path.name for path in out.rglob(".*") if not path.name.startswith(".lock"))
    return found


Attempt = Callable[[Path, bool, random.Random], bool]
"""Makes one attempt at a run in a folder, to be killed or not; whether it came to its end."""


def compare(
    name: str, kills: int, folder: Path, seed: int = 0, workers: int = 0, processes: int = 1
) -> "tuple[Counter[str], float]":
    """Kill runs of a recipe so often in all, each until it gets through. All runs must be equal.

    The aims, and the seconds after which no process was left.
    """
    folder.mkdir(exist_ok=True)
    recipe = folder / f"{re.sub('[^a-z0-9]', '_', name)}.yaml"
    recipe.write_text(TEXTS[name].replace("WORKERS", str(workers)).replace("PACK", str(folder / "packed")))
    if "PACK" in TEXTS[name]:
        packed(folder)
    aims, waited, length = Counter[str](), list[float](), 0.0

    def one(out: Path, killed: bool, moments: random.Random) -> bool:
        nonlocal length
        writes = [write for write in WRITES if write != "best" or "keep_best" in TEXTS[name]]
        aim = Aim(moments.choice(writes), moments.choice(MOMENTS), moments.choice((1, 1, 2, 3)))
        aimed = Kill(aim=aim) if killed and moments.random() < 0.5 else None
        kill = aimed or (Kill(None, moments.uniform(0.1, 0.7) * length, moments.random()) if killed else Kill())
        began = time.monotonic()
        through = attempt(recipe, out, processes, kill, waited)
        length = length or time.monotonic() - began
        aims[aim.write if aimed else "random"] += not through
        return through

    until_through(name, one, kills, folder, seed)
    return aims, max(waited)


def compare_launched(kills: int, folder: Path, seed: int = 0) -> tuple[int, dict[str, float]]:
    """Kill launchers of two processes by SIGKILL and SIGTERM; the number of runs, and what ``launch`` says of the time."""
    waited: dict[str, float] = {}
    recipe, length = folder / "launched.yaml", 0.0
    recipe.write_text(LAUNCHED)

    def one(out: Path, killed: bool, moments: random.Random) -> bool:
        nonlocal length
        began, patience = time.monotonic(), moments.uniform(0.2, 0.9) * length if killed else None
        through = launch(recipe, out, patience, moments.choice([signal.SIGKILL, signal.SIGTERM]), waited)
        length = length or time.monotonic() - began
        return through

    return until_through("launched", one, kills, folder, seed, asked=True), waited


def until_through(name: str, one: Attempt, kills: int, folder: Path, seed: int, asked: bool = False) -> int:
    """Attempts that are killed so often in all; the number of runs, which must leave the same as one that nobody touched.

    A run that is *asked* to stop makes a checkpoint and a grid there; the checkpoint pushes out an older one.
    """
    moments, killed, runs = random.Random(seed), 0, 0
    one(folder / "whole", False, moments)
    expected = traces(folder / "whole")
    while killed < kills:
        out = folder / f"killed-{runs}"
        through, last = False, min(kills, killed + MOST)
        while not through:
            through = one(out, killed < last, moments)
            killed += not through
        runs += 1
        found = traces(out)
        more = [key for key in found if asked and key.startswith("step-") and key not in expected]
        oldest = sorted(key for key in expected if key.startswith("step-") and not key.endswith(".png"))
        spared = {*more, *oldest[: sum(not key.endswith(".png") for key in more)]}
        different = [key for key in {**expected, **found} if key not in spared and expected.get(key) != found.get(key)]
        assert not different, f"{name}: {out} differs from the run that was never killed in {different}"
    return runs


def shared(kills: int, names: Sequence[str]) -> Iterable[tuple[str, int, int]]:
    """Recipe, processes, kills."""
    jobs = [(name, processes) for processes in (1, 2) for name in names]
    for i, (name, processes) in enumerate(jobs):
        if count := kills // len(jobs) + (i < kills % len(jobs)):
            yield name, processes, count


def main() -> None:
    """Kill and compare, and say how it went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="how often a process is killed, in all")
    parser.add_argument("--recipes", nargs="+", choices=TEXTS, default=[*TEXTS])
    parser.add_argument("--jobs", type=int, default=1, help="so many recipes at a time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--launchers", type=int, default=0, help="kill so many launchers of two processes instead")
    options = parser.parse_args()
    if options.launchers:
        with tempfile.TemporaryDirectory() as folder:
            runs, waited = compare_launched(options.launchers, Path(folder))
        left = ", ".join(f"{seconds:.1f} s after {name}" for name, seconds in waited.items())
        print(f"{options.launchers} launchers killed in {runs} runs, all equal to the run that was never killed")
        print(f"the last process had ended at most {left}")
        return
    forked.SERVER.set_forkserver_preload([*forked.PRELOADED.split(), *MORE])
    equal, longest = Counter[str](), 0.0

    def done(job: tuple[int, tuple[str, int, int]]) -> None:
        nonlocal equal, longest
        i, (name, processes, kills) = job
        with tempfile.TemporaryDirectory() as folder:
            title = f"{name}, {processes} process{'es' * (processes > 1)}"
            try:
                aims, waited = compare(
                    name, kills, Path(folder), options.seed + i, (i + 1) % 2, processes
                )  # a stream's loaders begin anew, which is slow
            except (AssertionError, RuntimeError, subprocess.TimeoutExpired) as error:
                print(f"{title}: {error}", flush=True)
                return
        equal, longest = equal + aims, max(longest, waited)
        print(f"{title}: killed {kills} times ({_told(aims)}); all runs equal", flush=True)

    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(done, enumerate(shared(options.kills, options.recipes))))
    print(f"{equal.total()} of {options.kills} bit-identical ({_told(equal)}), no process left after {longest:.1f} s")
    sys.exit(equal.total() < options.kills)


def _told(aims: "Counter[str]") -> str:
    return ", ".join(f"{count} {what}" for what, count in aims.most_common() if count)


if __name__ == "__main__":
    main()
