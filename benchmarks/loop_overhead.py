"""What logging, sample grids, checkpoints, trackers and observers cost a run, and whether its memory grows.

Two runs of a recipe take turns, a slice of steps at a time. One writes everything that a run writes, at the recipe's
intervals; the other only trains. Reported is the ratio of the seconds in each slice: its median and quartiles. At the end a
line is fitted to the process's resident memory over the steps.

    python benchmarks/loop_overhead.py [RECIPE] [--slices 8] [--steps 50] [--set KEY=VALUE …]
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
import torch
from machine import machine_line
from rich.console import Console

from i2i.recipe import Recipe, load_recipe
from i2i.registry import Registry, default_registry
from i2i.training.assembly import assemble
from i2i.training.loop import accumulated_step, begin, end_step
from i2i.training.records import Records
from i2i.training.samples import Sampling
from i2i.training.state import Run


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path, nargs="?", default=Path("recipes/unit_day2night.yaml"))
    parser.add_argument("--slices", type=int, default=8, help="number of turns of each run")
    parser.add_argument("--steps", type=int, default=50, help="steps in a slice")
    parser.add_argument(
        "--set", dest="sets", action="append", default=[], metavar="KEY=VALUE", help="replace a value of the recipe"
    )
    options = parser.parse_args()
    registry = default_registry()
    recipe = load_recipe(options.recipe, options.sets, registry)
    with tempfile.TemporaryDirectory() as folder:
        bare = Slices(recipe, registry, None)
        full = Slices(recipe, registry, Path(folder))
        ratios, memory = [], []
        for _ in range(options.slices):
            alone, everything = bare.take(options.steps), full.take(options.steps)
            ratios.append(everything / alone)
            memory.append((full.run.step, resident_mib()))
    low, _, high = quantiles(ratios, n=4)
    print(f"logging, grids, checkpoints and trackers: x {median(ratios):.3f} (quartiles {low:.3f} to {high:.3f})")
    steps, sizes = np.array(memory[len(memory) // 4 :]).T
    slope = np.polyfit(steps, sizes, 1)[0] * 1000
    print(f"resident memory of both: {sizes[-1]:.0f} MiB, {slope:+.1f} MiB for 1,000 steps after the first quarter")
    print(machine_line())


class Slices:
    """A run that is trained a slice of steps at a time; it writes everything if it has a folder."""

    def __init__(self, recipe: Recipe, registry: Registry, out: Path | None) -> None:
        self.run: Run = assemble(recipe, registry, out)
        self.run.training_mode()
        self.batches: Iterator[Any] = self.run.batches()
        self.records: Records | None = None
        if out is not None:
            self.run.hook = registry.hook_of(self.run)
            self.records = Records.of(self.run, Console(quiet=True), Sampling.of(self.run))
        begin(self.run, self.records)

    def take(self, steps: int) -> float:
        """The seconds for this number of steps, with everything that follows them."""
        start = time.perf_counter()
        for _ in range(steps):
            self.run.terms = accumulated_step(self.run, self.batches)
            for schedule in self.run.schedules:
                schedule.step(self.run.generator_terms)
            self.run.step += 1
            end_step(self.run, self.records)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - start


def resident_mib() -> float:
    """The resident memory of this process, as counted by the operating system."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


if __name__ == "__main__":
    main()
