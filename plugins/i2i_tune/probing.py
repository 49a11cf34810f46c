"""Finds the fastest settings on this machine before the first step: threads, memory layout, precision and compilation.

Tried is what the recipe leaves to ``auto``. Each candidate makes a few steps in turn with the best one so far, on networks
that are thrown away; it is taken if it is faster by a margin and its losses are those of float32 within a few percent. What
was found is kept for this machine and these components, so that the same recipe runs in the same way the next time.
"""

import gc
import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from copy import copy
from hashlib import sha256
from itertools import cycle, islice
from pathlib import Path
from platform import machine, node
from statistics import median
from typing import Any

import torch
from platformdirs import user_cache_path
from rich.console import Console
from torch import Tensor

from i2i.errors import DiskFullError, UserError
from i2i.files import read_json, write_text
from i2i.protocols import Batch
from i2i.randomness import undrawn
from i2i.recipe import Recipe
from i2i.recipe.sections import AUTO, PLAIN
from i2i.registry import Registry
from i2i.stopping import launched_processes
from i2i.training.assembly import assemble
from i2i.training.loop import accumulated_step
from i2i.translation import precision
from i2i.translation.model_folder import own_version

LEAST_STEPS = 200
"""Shorter runs are not worth the trials."""
MARGIN = 1.05
"""A candidate must be faster by this factor: less may be chance."""
ROUNDS, STEPS = 5, 2
TOLERANCE = 0.05
"""How far, relative to 1 + |loss|, a first step's losses may lie from those of the setting before."""
SLOWEST, PATIENCE = 3.0, 1.0
"""A trial ends when its first step takes this many times as long as that of the recipe as it stands, and longer than this many
seconds, since a first step also prepares kernels."""

Setting = dict[str, Any]


def probed(recipe: Recipe, registry: Registry, before: Recipe | None, console: Console) -> Recipe:
    """The recipe with a value for every ``auto``; a run that is resumed keeps those that it had *before*.

    Short runs and several processes are not probed and take torch's defaults. A ``compile: true`` that fails here is
    turned off with a line, as it changes nothing but the speed. The random numbers are left as they were.
    """
    settled = recipe.settled(before)
    if launched_processes() > 1:
        return settled
    with undrawn():
        if settled.train.compile:
            settled = _compiling_or_not(settled, registry, console)
        new_and_long = before is None and recipe.train.steps >= LEAST_STEPS
        worth = [axis for axis in _open(recipe) if _candidates(axis, settled)] if new_and_long else []
        return _with(settled, _found(settled, registry, worth, console)) if worth else settled


def _open(recipe: Recipe) -> list[str]:
    return [name for name in PLAIN if getattr(recipe.train, name) == AUTO]


def _found(recipe: Recipe, registry: Registry, axes: list[str], console: Console) -> Setting:
    """From the cache, or by trial."""
    place = _cache() / f"{_key(recipe, axes)}.json"
    try:
        known: Setting = read_json(place)
        if set(known) == set(axes):
            console.print(f"settings measured earlier on this machine: {_described(known)}", highlight=False)
            return known
    except (OSError, ValueError):
        pass
    chosen = Probe(recipe, registry, console).run(axes)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_text(place, json.dumps(chosen) + "\n")
    except (OSError, DiskFullError):  # the next run tries again
        pass
    return chosen


class Probe:
    """Tries one axis after the other, each from the best that was found before."""

    longest = math.inf

    def __init__(self, recipe: Recipe, registry: Registry, console: Console) -> None:
        self.recipe, self.registry, self.console = recipe, registry, console

    def run(self, axes: list[str]) -> Setting:
        """The fastest sound value of each axis, said in one line each."""
        chosen: Setting = {axis: PLAIN[axis] for axis in axes}
        best = Trial(self.recipe, self.registry)
        self.longest = max(SLOWEST * best.took, PATIENCE)
        for axis in axes:
            for value in _candidates(axis, self.recipe):
                challenger = self._challenger(best, axis, value)
                if challenger is None:
                    continue
                ratio = faster(best, challenger)
                self._say(axis, value, ratio, challenger.sound)
                if ratio >= MARGIN and challenger.sound:
                    best, chosen[axis] = challenger, value
                del challenger
                gc.collect()
        return chosen

    def _challenger(self, best: "Trial", axis: str, value: Any) -> "Trial | None":
        """The same run with one thing changed, or None where that does not work here."""
        if axis == "threads":
            return best.on(value)
        longest = math.inf if axis == "compile" else self.longest  # its first step compiles
        try:
            return Trial(_with(best.recipe, {axis: value}), self.registry, best, longest)
        except TooSlowError:
            took = f"its first step takes more than {SLOWEST:g} times as long"
            self.console.print(f"{_described({axis: value})}: {took}, not taken", highlight=False)
            return None
        except Exception as error:  # a compiler, a kernel, the memory: the run works without it
            self.console.print(f"{_described({axis: value})} does not work here: {_first_line(error)}", highlight=False)
            return None

    def _say(self, axis: str, value: Any, ratio: float, sound: bool) -> None:
        verdict = "taken" if ratio >= MARGIN and sound else "not taken" if sound else "not taken, as its losses differ"
        self.console.print(f"{_described({axis: value})}: {ratio:.2f} times as fast, {verdict}", highlight=False)


class Trial:
    """A run of a few steps that is thrown away; ``sound`` if its losses are finite and near those of *reference*.

    Raises:
        TooSlowError: the first step takes longer than *longest* seconds.
    """

    def __init__(self, recipe: Recipe, registry: Registry, reference: "Trial | None" = None, longest: float = math.inf) -> None:
        self.recipe = recipe
        self.state = assemble(_with(recipe, {"workers": 0}), registry, rehearsed=reference is not None)
        self.threads = torch.get_num_threads()
        self.batches: Iterator[Batch] = cycle(islice(self.state.batches(), recipe.train.accumulate))
        self.state.training_mode()
        started = time.perf_counter()
        with within(longest):
            terms = accumulated_step(self.state, self.batches)
        self.first = {name: float(term) for name, term in terms.items()}
        self.took = time.perf_counter() - started
        expected = self.first if reference is None else reference.first
        self.sound = all(abs(term - expected[name]) <= TOLERANCE * (1 + abs(term)) for name, term in self.first.items())

    def on(self, threads: int) -> "Trial":
        """The same networks with this number of threads."""
        other = copy(self)
        other.threads = threads
        return other

    def seconds(self, steps: int) -> float:
        """The time that this number of steps takes."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        started = time.perf_counter()
        for _ in range(steps):
            terms = accumulated_step(self.state, self.batches)
        self.sound = self.sound and bool(torch.stack([*terms.values()]).isfinite().all())  # waits for the device
        taken = time.perf_counter() - started
        torch.set_num_threads(before)
        return taken


class TooSlowError(Exception):
    """A first step has taken too long."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise TooSlowError when the time is over: at the next tensor that autograd puts aside or, going backward, takes up."""
    end = time.perf_counter() + seconds

    def passed_on(tensor: Tensor) -> Tensor:
        if time.perf_counter() > end:
            raise TooSlowError
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(passed_on, passed_on) if seconds < math.inf else nullcontext():
        yield


def faster(one: Trial, other: Trial) -> float:
    """How many times as fast the other is: the median over rounds in which both take turns.

    One that is far behind in its first step is not measured further.
    """
    ratio = one.seconds(1) / other.seconds(1)
    return ratio if ratio < 1 / SLOWEST else median(one.seconds(STEPS) / other.seconds(STEPS) for _ in range(ROUNDS))


def _candidates(axis: str, recipe: Recipe) -> list[Any]:
    """The candidates other than the default. torch.compile takes minutes on CPUs and gains nothing there."""
    on_gpu = precision.this_device().type != "cpu"
    if axis == "threads":
        fewer = torch.get_num_threads() // 2
        return [] if on_gpu else [fewer >> i for i in range(fewer.bit_length())]
    if axis == "precision":
        return ["bf16"] if precision.in_hardware("bf16", precision.this_device()) else []
    return [True] if axis == "channels_last" or on_gpu else []


def _compiling_or_not(recipe: Recipe, registry: Registry, console: Console) -> Recipe:
    try:
        Trial(recipe, registry)
    except UserError:
        raise
    except Exception as error:
        console.print(f"torch.compile fails here, so the run continues without it: {_first_line(error)}", highlight=False)
        return _with(recipe, {"compile": False})
    return recipe


def _with(recipe: Recipe, values: Setting) -> Recipe:
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=values)}) if values else recipe


def _described(setting: Setting) -> str:
    words = {"threads": "threads {}", "precision": "precision {}", "channels_last": "channels_last {}", "compile": "compile {}"}
    return ", ".join(words[axis].format("by torch" if value is None else value) for axis, value in setting.items())


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"[:200]


def _cache() -> Path:
    return user_cache_path("i2i") / "probes"


def _key(recipe: Recipe, axes: list[str]) -> str:
    """A name for this machine, these versions, and the parts of the recipe that determine the speed."""
    device = precision.this_device()
    called = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    here = [node(), machine(), called, torch.get_num_threads(), torch.__version__, own_version()]
    settings = recipe.model_dump(mode="json", exclude={"samples", "checkpoint", "log", "sections"})
    for name in ("steps", "epoch", "seed", "schedule"):
        settings["train"].pop(name)
    return sha256(json.dumps([here, axes, settings], sort_keys=True, default=str).encode()).hexdigest()[:32]
