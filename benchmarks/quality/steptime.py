"""How long a step of each arm takes alone on the machine, and so how many steps it makes in so many minutes."""

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

from arms import USES
from settings import arms_of, fingerprint, recipe_of

from i2i.errors import UserError
from i2i.files import write_text
from i2i.registry import default_registry
from i2i.training.assembly import assemble
from i2i.training.loop import accumulated_step, end_step

FILE = "times.json"
WARM, BLOCK = 8, 16
"""Steps that are not timed; steps timed as one, so that what is done every 2, 4, 8 or 16 steps counts by its share."""


def measure(name: str, arm: str, blocks: int = 3) -> dict[str, float]:
    """Seconds a step by the wall clock and of the processor, medians of blocks of 16 steps, with all judges at work."""
    run = assemble(recipe_of(name, arm, 1000, whole=True), default_registry())
    run.training_mode()
    wall, cpu = [], []
    with closing(run.batches()) as batches:
        for block in range(-1, blocks):
            start, began = time.perf_counter(), time.process_time()
            for _ in range(BLOCK if block >= 0 else WARM):
                run.terms = accumulated_step(run, batches)
                run.step += 1
                end_step(run, None)
            if block >= 0:
                wall.append((time.perf_counter() - start) / BLOCK)
                cpu.append((time.process_time() - began) / BLOCK)
    return {"wall": median(wall), "cpu": median(cpu)}


def measure_all(
    out: Path, names: Sequence[str], wanted: Sequence[str], again: bool = False, beside: str | None = None
) -> dict[str, Any]:
    """Measure every arm in a process of its own, one after the other, and keep the times in ``times.json``.

    *beside*: an arm that was timed before, and is timed again now. The others are scaled to its time of then, so that arms
    that are timed on another day, when the machine is faster or slower, still get equal minutes.
    """
    times = read_times(out)
    out.mkdir(parents=True, exist_ok=True)
    for name in names:
        scale = _scale(times, name, beside) if beside else {"wall": 1.0, "cpu": 1.0}
        for arm in arms_of(name, wanted):
            known = times.setdefault(name, {}).get(arm)
            if known and known["settings"] == fingerprint(name, arm) and not again:
                continue
            load = os.getloadavg()[0]
            found = {clock: seconds * scale[clock] for clock, seconds in _measured_apart(name, arm).items()}
            times[name][arm] = {**found, "settings": fingerprint(name, arm), "load": round(load, 2)}
            times["machine"] = machine()
            write_text(out / FILE, json.dumps(times, indent=1) + "\n")
            print(f"{name}, {arm}: {found['wall']:.4f} s a step, {found['cpu']:.4f} s of the processor", flush=True)
            if found["wall"] > 1.1 * found["cpu"]:
                print("  the machine was not idle: measure again with --again, or train with --clock cpu", flush=True)
    return times


def _scale(times: dict[str, Any], name: str, arm: str) -> dict[str, float]:
    """What an arm took before, divided by what it takes now.

    Raises:
        UserError: it was not timed before, or with other settings.
    """
    known = times.get(name, {}).get(arm)
    if not known or known["settings"] != fingerprint(name, arm):
        raise UserError(f"{name}, {arm}: nothing can be timed beside an arm that was not timed itself, with these settings.")
    now = _measured_apart(name, arm)
    print(f"{name}, {arm}: {now['cpu']:.4f} s of the processor, {known['cpu']:.4f} s before", flush=True)
    return {clock: known[clock] / now[clock] for clock in now}


def _measured_apart(name: str, arm: str) -> dict[str, float]:
    command = [sys.executable, str(Path(__file__).parent / "quality.py"), "step", name, arm]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{name}, {arm}: its step could not be timed: {done.stderr.strip()[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def read_times(out: Path) -> dict[str, Any]:
    """What ``time`` wrote, or nothing."""
    path = out / FILE
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def steps_of(out: Path, name: str, arm: str, minutes: float | None, clock: str = "wall") -> int:
    """The steps that an arm makes in the minutes given, or in those of its use.

    Raises:
        UserError: its step was not timed, or with other settings.
    """
    known = read_times(out).get(name, {}).get(arm)
    if known is None or known["settings"] != fingerprint(name, arm):
        why = "was not timed" if known is None else "was timed with other settings"
        raise UserError(f"{name}, {arm}: its step {why}. Run 'quality.py time {out} --uses {name}' on an idle machine.")
    seconds: float = known[clock]
    return max(1, round((minutes or USES[name].minutes) * 60 / seconds))


def machine() -> str:
    """The line about the machine that all benchmarks print."""
    above = str(Path(__file__).parents[1])
    if above not in sys.path:
        sys.path.append(above)
    line: str = importlib.import_module("machine").machine_line()
    return line
