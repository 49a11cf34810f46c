"""Trains and measures many runs, each in a process of its own; what is done is not repeated, what was stopped goes on."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from arms import EXTRACTORS, THREADS
from figures import are_there, figures_of
from held import held_out, maps, to_bytes, translated
from rich.console import Console
from settings import arms_of, fingerprint, place_of, recipe_of, use_called
from steptime import steps_of
from torch import Tensor

from i2i.errors import UserError
from i2i.files import write_text
from i2i.registry import default_registry
from i2i.training.running import run_recipe

ARM, TESTED = "arm.json", "test-measured.json"


class Job(NamedTuple):
    """One run: a use, an arm of it, a seed, and its number of steps."""

    use: str
    arm: str
    seed: int
    steps: int

    def folder(self, out: Path) -> Path:
        """``OUT/USE/ARM/SEED``."""
        return place_of(out, self.use, self.arm) / str(self.seed)

    def is_done(self, out: Path, split: str, extractors: Sequence[str]) -> bool:
        """Whether all its figures are there."""
        return are_there(self.use, split, self.folder(out), extractors)


def jobs_of(
    out: Path, names: Sequence[str], wanted: Sequence[str], seeds: Sequence[int], minutes: float | None, clock: str
) -> list[Job]:
    """The runs asked for, the first seed of all arms before the second.

    Raises:
        UserError: an arm was not timed, or a run of it has other settings or another length.
    """
    arms = [(name, arm, steps_of(out, name, arm, minutes, clock)) for name in names for arm in arms_of(name, wanted)]
    jobs = [Job(name, arm, seed, steps) for seed in seeds for name, arm, steps in arms]
    return [job._replace(steps=_begun_steps(job, out)) for job in jobs]


def _begun_steps(job: Job, out: Path) -> int:
    """The number of steps of a run, which stays what it was when the run began; its settings must be those."""
    path = job.folder(out) / ARM
    if not path.is_file():
        return job.steps
    begun = json.loads(path.read_text(encoding="utf-8"))
    if begun["settings"] != fingerprint(job.use, job.arm):
        raise UserError(f"{path.parent} was trained with other settings of this arm: remove the folder, or rename the arm.")
    if abs(begun["steps"] - job.steps) > 0.1 * job.steps:
        raise UserError(f"{path.parent} has {begun['steps']} steps, not {job.steps}: remove the folder, or take another OUT.")
    steps: int = begun["steps"]
    return steps


def train_one(out: Path, job: Job, split: str, extractors: Sequence[str] = tuple(EXTRACTORS)) -> None:
    """Train or resume a run, and measure it."""
    torch.set_num_threads(THREADS)
    folder = job.folder(out)
    if not (folder / ARM).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / ARM, json.dumps({**job._asdict(), "settings": fingerprint(job.use, job.arm)}) + "\n")
    if not (folder / "trained").is_file():
        recipe, run = recipe_of(job.use, job.arm, job.steps, job.seed), folder / "run"
        began = time.monotonic()
        ended = run_recipe(
            recipe, run, default_registry(), resume=(run / "recipe.yaml").is_file(), console=Console(stderr=True)
        )
        if ended.step < job.steps:
            raise UserError(f"{run}: stopped at step {ended.step} of {job.steps}; the same command goes on.")
        write_text(folder / "trained", f"{time.monotonic() - began:.0f} s since the last start\n")
    measure(out, job, split, extractors)


def measure(out: Path, job: Job, split: str, extractors: Sequence[str] = tuple(EXTRACTORS)) -> None:
    """Measure what a run has learned, if that was not done: the last model, or the best where that is what is compared."""
    kept = "best" if job.arm in use_called(job.use).best else "model"
    model = job.folder(out) / "run" / kept
    figures_of(job.use, split, job.folder(out), lambda: translated(job.use, model, split), extractors)


def measure_maps(out: Path, names: Sequence[str], split: str, extractors: Sequence[str] = tuple(EXTRACTORS)) -> None:
    """Measure what needs no training: the inputs themselves, and maps of their colours."""
    for name in names:
        for row, function in maps(name).items():
            folder, made = place_of(out, name, row) / "0", partial(_mapped, function, name, split)
            figures_of(name, split, folder, made, extractors)


def _mapped(function: Callable[[Tensor], Tensor], name: str, split: str) -> Tensor:
    return to_bytes(function(held_out(name, split)[0]))


def measure_test(out: Path, names: Sequence[str], wanted: Sequence[str], extractors: Sequence[str], force: bool) -> None:
    """Measure all finished runs on ``test``, and write in ``test-measured.json`` when: the page says how often that was.

    Raises:
        UserError: that was done before.
    """
    path = out / TESTED
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    if before and not force:
        raise UserError(f"test was measured on {before[-1]['when']} ({path}). It is for the end. --force measures once more.")
    jobs = [
        Job(name, arm, int(begun.parent.name), json.loads(begun.read_text(encoding="utf-8"))["steps"])
        for name in names
        for arm in arms_of(name, wanted)
        for begun in sorted(place_of(out, name, arm).glob(f"*/{ARM}"))
        if (begun.parent / "trained").is_file()
    ]
    for job in jobs:
        fingerprints = (
            json.loads((job.folder(out) / ARM).read_text(encoding="utf-8"))["settings"],
            fingerprint(job.use, job.arm),
        )
        if len(set(fingerprints)) > 1:
            raise UserError(f"{job.folder(out)} was trained with other settings of this arm: remove the folder first.")
    said = {"when": time.strftime("%Y-%m-%d %H:%M"), "uses": list(names), "runs": len(jobs)}
    write_text(path, json.dumps([*before, said], indent=1) + "\n")  # first: a figure seen is a figure measured
    for job in jobs:
        measure(out, job, "test", extractors)
        print(f"{job.use}, {job.arm}, seed {job.seed}", flush=True)
    measure_maps(out, names, "test", extractors)


def run_all(out: Path, jobs: Sequence[Job], split: str, at_once: int, extractors: Sequence[str] = tuple(EXTRACTORS)) -> int:
    """Train and measure the runs that are not done, so many at once; the number of those that failed.

    Each is a process that a signal reaches too: it finishes its step and saves.
    """
    left = [job for job in jobs if not job.is_done(out, split, extractors)]
    print(f"{len(left)} of {len(jobs)} runs to do", flush=True)
    running: dict[subprocess.Popen[bytes], tuple[Job, float]] = {}
    done = failed = 0
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        while left or running:
            while left and len(running) < at_once:
                job = left.pop(0)
                running[_started(out, job, split, extractors)] = (job, time.monotonic())
            time.sleep(0.5)
            for process in [process for process in running if process.poll() is not None]:
                job, began = running.pop(process)
                done, failed = done + 1, failed + bool(process.returncode)
                print(_line(out, job, process.returncode, time.monotonic() - began, len(left) + len(running)), flush=True)
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()
    return failed


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def _started(out: Path, job: Job, split: str, extractors: Sequence[str]) -> "subprocess.Popen[bytes]":
    folder = job.folder(out)
    folder.mkdir(parents=True, exist_ok=True)
    program = [sys.executable, str(Path(__file__).parent / "quality.py"), "one", str(out)]
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen(
            [*program, *map(str, job), "--split", split, "--extractors", *extractors], stdout=output, stderr=output
        )


def _line(out: Path, job: Job, code: int, seconds: float, left: int) -> str:
    """What is printed of a run that has ended."""
    named = f"{job.use}, {job.arm}, seed {job.seed}: {job.steps} steps"
    if not code:
        return f"{time.strftime('%H:%M:%S')}  {named}, {seconds:.0f} s; {left} left"
    told = (job.folder(out) / "output.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"{time.strftime('%H:%M:%S')}  {named} FAILED ({job.folder(out) / 'output.txt'}): {' '.join(told[-1:])}"
