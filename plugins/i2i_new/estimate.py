"""How long a step of a recipe takes on this machine, and how much memory: measured by a few real steps."""

import os
import time
from typing import NamedTuple

import torch

from i2i.randomness import undrawn
from i2i.recipe import Recipe
from i2i.registry import Registry
from i2i.training.assembly import assemble
from i2i.training.dry_run import memory, saved_bytes
from i2i.training.loop import accumulated_step

STEPS, SECONDS = 8, 3.0
"""The largest number of steps that are measured, and the time after which no further one begins."""


class Estimate(NamedTuple):
    """Seconds for a step, reading its pictures included; bytes besides Python and torch; and the steps that were measured."""

    seconds: float
    memory: int
    steps: int


def measured(recipe: Recipe, registry: Registry) -> Estimate:
    """Build everything, rehearse it as a run does, and make a few steps on networks that are thrown away.

    Raises:
        UserError: the parts of the recipe do not fit.
    """
    with undrawn():
        run = assemble(recipe, registry)
        batches = run.batches()
        run.training_mode()
        with saved_bytes() as activations:
            accumulated_step(run, batches)
        _wait()
        steps, start = 0, time.perf_counter()
        while steps < STEPS and (not steps or time.perf_counter() - start < SECONDS):
            accumulated_step(run, batches)
            _wait()
            steps += 1
        taken = time.perf_counter() - start
        batches.close()
    return Estimate(taken / steps, memory(run, activations[0]), steps)


def _wait() -> None:
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


def this_machine() -> str:
    """What trains, in a few words."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    if torch.accelerator.is_available():
        return str(torch.accelerator.current_accelerator())
    return f"a CPU with {os.cpu_count()} cores"
