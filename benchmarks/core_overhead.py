"""What the core costs: UNIT's training step through the core against the same step in plain torch.

The same step in three ways, which take turns in one process, on the same batches, from the same initial weights and with the
same noise:

- ``hand``: networks, loss and optimizers called directly; no Accelerate, no core.
- ``step``: ``i2i.training.loop.train_step``.
- ``loop``: what ``i2i.training.loop.train`` does for each step: ``accumulated_step``, the schedules and the hook ``step_ended``
  (with no records and no observers, so without averaging, logging and saving).

Reported are the median time of each, and the ratio to ``hand`` in the same round: its median and quartiles. At the end
the three sets of weights are compared: if they are identical, all three did the same work.

    python benchmarks/core_overhead.py [--rounds 30] [--set train.batch_size=1 …]
"""

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import repeat
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
from machine import arguments, keep, machine_line
from rich.console import Console
from rich.table import Table
from torch import nn

from i2i.building.nested import total
from i2i.protocols import Batch, Terms
from i2i.recipe import load_recipe
from i2i.registry import default_registry
from i2i.training.assembly import assemble
from i2i.training.loop import accumulated_step, train_step
from i2i.training.optim import make_optimizer, make_schedule
from i2i.training.players import Player
from i2i.training.state import Run

TARGET = 1.02
RECIPE = Path(__file__).parent.parent / "recipes" / "unit_day2night.yaml"
Step = Callable[[Batch], Terms]


class PlainUnit:
    """UNIT's step as one would write it without the core: discriminator first, with its own fakes."""

    def __init__(self, run: Run) -> None:
        train = run.recipe.train
        if train.precision != "fp32" or train.accumulate != 1 or train.clip is not None:
            raise SystemExit("the step by hand is for train.precision fp32, accumulate 1 and no clip: set them so.")
        assert run.discriminator is not None
        self.G: Any = copy.deepcopy(run.generator)
        self.D: Any = copy.deepcopy(run.discriminator)
        self.trained = [p for p in self.D.parameters() if p.requires_grad]  # a judge may be frozen in part
        self.loss: Any = copy.deepcopy(run.loss)
        self.g_optimizer = make_optimizer(self.G.parameters(), train.generator)
        self.d_optimizer = make_optimizer(self.D.parameters(), train.discriminator)

    def __call__(self, batch: Batch) -> Terms:
        images = self.loss.translate(self.G, batch)
        with torch.no_grad():
            fakes = self.loss.fakes(self.G, batch, images)
        judged: Terms = self.loss.discriminator_terms(self.D, batch, fakes)
        total(judged).backward()  # type: ignore[no-untyped-call]
        self.d_optimizer.step()
        self.d_optimizer.zero_grad()
        self._train_judges(False)
        made: Terms = self.loss.generator_terms(self.D, batch, images)
        total(made).backward()  # type: ignore[no-untyped-call]
        self.g_optimizer.step()
        self.g_optimizer.zero_grad()
        self._train_judges(True)
        return {name: term.detach() for name, term in (made | judged).items()}

    def _train_judges(self, wanted: bool) -> None:
        for parameter in self.trained:
            parameter.requires_grad_(wanted)


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="steps of each kind (at least 2)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="replace a value of the recipe")
    options = parser.parse_args()
    # The rate stays constant, because only one of the three steps its schedules.
    recipe = load_recipe(RECIPE, ["train.schedule={name: constant}", "evaluate=null", *options.set], default_registry())
    run = assemble(recipe, default_registry())
    run.training_mode()
    plain, looped = PlainUnit(run), twin(run)
    steps: dict[str, Step] = {"hand": plain, "step": partial(train_step, run), "loop": whole(looped)}
    seconds = interleaved(steps, run.batches(), options.rounds, run.accelerator.device)
    figures = {name: summary(seconds, name) for name in steps}
    same = {"step": difference(plain.G, run.generator), "loop": difference(plain.G, looped.generator)}
    show(figures, same, options.rounds, run)
    keep({"steps": figures, "weights_differ_by": same}, options.json)


def twin(run: Run) -> Run:
    """A second run in the same state, with networks and optimizers of its own."""
    train, prepare = run.recipe.train, run.accelerator.prepare
    parts = replace(run.parts, loss=copy.deepcopy(run.loss))
    G, D = copy.deepcopy(run.generator), copy.deepcopy(run.discriminator)
    assert D is not None
    bare = [make_optimizer(G.parameters(), train.generator), make_optimizer(D.parameters(), train.discriminator)]
    first, second = (prepare(optimizer) for optimizer in bare)
    schedules = [make_schedule(optimizer, train.schedule, train.steps) for optimizer in bare]
    return replace(
        run,
        parts=parts,
        generator=G,
        discriminator=D,
        players={"generator": Player(G, {}), "discriminator": Player(D, {})},
        optimizers={"generator": first, "discriminator": second},
        schedules=schedules,
        ema=None,
    )


def whole(run: Run) -> Step:
    """One turn of the loop in ``i2i.training.loop.train``."""

    def step(batch: Batch) -> Terms:
        run.terms = accumulated_step(run, repeat(batch))
        for schedule in run.schedules:
            schedule.step()
        run.step += 1
        run.hook.step_ended(run=run)
        return run.terms

    return step


def interleaved(steps: dict[str, Step], batches: Iterator[Batch], rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of every step in every round. The order rotates from round to round; the first two rounds are left out."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    names = list(steps)
    for turn in range(-2, rounds):
        batch = next(batches)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            torch.manual_seed(turn + 2)
            taken = timed(steps[name], batch, device)
            if turn >= 0:
                seconds[name].append(taken)
    return seconds


def timed(step: Step, batch: Batch, device: torch.device) -> float:
    """Wall-clock seconds of one step; the device is idle before and after."""
    synchronise(device)
    start = time.perf_counter()
    step(batch)
    synchronise(device)
    return time.perf_counter() - start


def synchronise(device: torch.device) -> None:
    """Wait for an accelerator."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def summary(seconds: dict[str, list[float]], name: str) -> dict[str, Any]:
    """Median seconds; median and quartiles of the ratio to the step by hand in the same round."""
    ratios = [mine / hand for mine, hand in zip(seconds[name], seconds["hand"], strict=True)]
    low, middle, high = quantiles(ratios, n=4, method="inclusive")
    return {"median_s": median(seconds[name]), "ratio": middle, "ratio_quartiles": [low, high]}


def difference(one: nn.Module, other: nn.Module) -> float:
    """The largest absolute difference between two networks' weights."""
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max(float((mine - theirs).detach().abs().max()) for mine, theirs in pairs)


def show(figures: dict[str, dict[str, Any]], same: dict[str, float], rounds: int, run: Run) -> None:
    """Print the table, whether the weights are the same, and the machine."""
    console = Console(highlight=False)
    table = Table(title=f"UNIT's training step, {rounds} interleaved rounds", title_justify="left")
    for heading in ("step", "median s", "ratio to hand", "quartiles", "weights differ by"):
        table.add_column(heading, justify="left" if heading == "step" else "right", no_wrap=True)
    for name, row in figures.items():
        low, high = row["ratio_quartiles"]
        numbers = f"{row['median_s']:.4f}", f"{row['ratio']:.4f}", f"{low:.4f}-{high:.4f}"
        table.add_row(name, *numbers, f"{same[name]:.1g}" if name in same else "")
    console.print(table)
    console.print(f"target: a ratio of at most {TARGET} for 'step'")
    console.print(machine_line(run.accelerator.device), soft_wrap=True)


if __name__ == "__main__":
    main()
