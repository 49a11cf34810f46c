"""Our training step against the same step in plain torch (``benchmarks/plain``), at the published sizes.

Both start from the same weights and take turns on the same batches. Reported is the ratio of plain to ours in each round: its
median and quartiles. A ratio of 1.3 means that ours makes 1.3 steps in the time of one. ``tests/test_plain.py`` checks that
both compute the same. Each has its own process, because ours keeps freed memory, as ``i2i run`` does (``i2i.allocator``). With
``--same-memory`` the plain step keeps it too, so that only the computation differs.

    python benchmarks/training.py [--models unit spade] [--rounds 15] [--threads 2] [--precision bf16]
                                  [--set train.compile=reduce-overhead]

On a GPU the timed part ends when the device has finished.
"""

import argparse
import os
import random
import time
from collections.abc import Callable
from itertools import repeat
from multiprocessing.connection import Connection
from statistics import median, quantiles
from typing import Any

import torch
from machine import arguments, keep, machine_line, refuse_emulation
from pairs import MODELS, SIZES, Case
from processes import PAUSE, asked, started
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from i2i.allocator import keep_freed_memory
from i2i.protocols import Batch
from i2i.recipe.nodes import setting
from i2i.training.loop import accumulated_step

TARGETS = {
    "fp32": {"pix2pix": 1.2, "cyclegan": 1.25, "unit": 1.45, "spade": 1.3},
    "bf16": {"pix2pix": 1.5, "cyclegan": 2.0, "unit": 1.9, "spade": 1.8},
}
"""Of the ratio to the plain step in single precision, on CPUs, by the precision of ours."""
WARM = 2
Step = Callable[[Batch], object]


def main() -> None:
    """Measure and print."""
    parser = common_arguments(__doc__)
    parser.add_argument("--size", type=int, help="side in pixels (default: 256 for pix2pix, otherwise 128)")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--plain-precision", choices=("fp32", "bf16"), default="fp32", help="precision of the plain step")
    parser.add_argument("--slow", action="store_true", help="compare with 'fast: false' instead of the plain step")
    parser.add_argument("--same-memory", action="store_true", help="let the plain step keep freed memory as ours does")
    options = parser.parse_args()
    choose_device(options.device)
    refuse_emulation([options.precision, options.plain_precision], options.emulate)
    finish(compared(options), options)


def common_arguments(text: str | None) -> argparse.ArgumentParser:
    """Arguments of this program and of ``scaling.py``."""
    parser = arguments(text)
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--width", type=int, default=64, help="filters of the first layer")
    parser.add_argument("--rounds", type=int, default=15, help="steps of each kind (at least 2)")
    parser.add_argument("--threads", type=int, help="number of threads (default: torch's)")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: a GPU if there is one")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="precision of our step")
    parser.add_argument("--emulate", action="store_true", help="allow bf16 on a device without instructions for it")
    parser.add_argument("--set", action="append", default=[], metavar="train.KEY=VALUE", help="another setting of our step")
    return parser


def choose_device(device: str | None) -> None:
    """Hide the GPU if it is not wanted, before torch looks for one."""
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("there is no CUDA device here.")


def finish(figures: object, options: argparse.Namespace) -> None:
    """The machine, and the figures as a file."""
    print(machine_line("cuda" if torch.cuda.is_available() else "cpu"))
    keep(figures, options.json)


def settings(options: argparse.Namespace) -> dict[str, Any]:
    """Our settings in the recipe's section ``train``."""
    pairs = [setting(text, "train.KEY=VALUE", "train.compile=reduce-overhead", depth=2) for text in options.set]
    return {"precision": options.precision, "emulate": options.emulate, **{key: value.plain() for (_, key), value in pairs}}


def compared(options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each model."""
    table = Table(title=f"a training step, batch {options.batch}, {options.width} filters, {options.rounds} rounds")
    headings = ("model", "px", "plain s", "ours s", "ratio", "quartiles", "target", "images/s", "GFLOP", "TFLOP/s")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "model" else "right", no_wrap=True)
    rows = []
    for model in options.models:
        row = comparison(Case(model, options.size or SIZES[model], options.width, options.batch), options)
        rows.append(row)
        low, high = row["ratio_quartiles"]
        table.add_row(
            model,
            str(row["size"]),
            f"{row['plain_s']:.3f}",
            f"{row['ours_s']:.3f}",
            f"{row['ratio']:.3f}",
            f"{low:.3f}-{high:.3f}",
            f"{TARGETS[options.precision][model]}",
            f"{row['images_per_s']:.3g}",
            f"{row['gflop']:.0f}",
            f"{row['tflop_per_s']:.3g}",
        )
    Console(width=120, highlight=False).print(table)
    return rows


def comparison(case: Case, options: argparse.Namespace) -> dict[str, Any]:
    """Both steps in turn; which one begins changes from round to round."""
    ends = {name: started(stepping, name, case, options) for name in ("plain", "ours")}
    gflop = {name: end.recv() for name, end in ends.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ends}
    for number in range(options.rounds):
        for name in sorted(ends, reverse=bool(number % 2)):
            time.sleep(PAUSE)
            seconds[name].append(asked(ends[name]))
    ratios = [theirs / mine for theirs, mine in zip(seconds["plain"], seconds["ours"], strict=True)]
    low, middle, high = quantiles(ratios, n=4, method="inclusive")
    mine, theirs = median(seconds["ours"]), median(seconds["plain"])
    # On a CPU some of ours are grouped convolutions, whose gradients torch miscounts: the plain step's work is shown there.
    work = gflop["ours" if torch.cuda.is_available() else "plain"]
    return {
        "model": case.model,
        "size": case.size,
        "ours_s": mine,
        "plain_s": theirs,
        "ratio": middle,
        "ratio_quartiles": [low, high],
        "images_per_s": case.batch / mine,
        "gflop": work,
        "tflop_per_s": work / 1e3 / mine,
    }


def stepping(name: str, case: Case, options: argparse.Namespace, end: Connection) -> None:
    """A process that makes one of the steps: it sends the GFLOP of a step, then the seconds of a step for each request."""
    prepare(options, keep=name == "ours" or options.same_memory)
    step, batches = made(name, case, options)
    random.seed(0)
    work = 0.0
    for batch in batches[:WARM]:
        with FlopCounterMode(display=False) as counter:
            step(batch)
        work = counter.get_total_flops() / 1e9
    end.send(work)
    for batch in batches[WARM:]:
        end.recv()
        end.send(timed(step, batch))


def prepare(options: argparse.Namespace, keep: bool) -> None:
    """Set the number of threads, and whether freed memory is kept."""
    if options.threads:
        torch.set_num_threads(options.threads)
    if keep:
        keep_freed_memory()


def made(name: str, case: Case, options: argparse.Namespace) -> tuple[Step, list[Batch]]:
    """Our step or the one that it is compared with, and batches for the rounds."""
    given = settings(options) if name == "ours" else {"precision": options.plain_precision, "fast": not options.slow}
    run = case.run(**given)
    batches = case.batches(run, WARM + options.rounds)
    if name == "ours" or options.slow:
        return trained(run), batches
    plain, device, half = case.plain(run), run.accelerator.device.type, options.plain_precision == "bf16"

    def step(batch: Batch) -> None:
        with torch.autocast(device, torch.bfloat16, enabled=half):
            plain(batch)

    return step, batches


def trained(run: Any) -> Step:
    """A step as the loop makes it."""
    return lambda batch: accumulated_step(run, repeat(batch))


def timed(step: Step, batch: Batch) -> float:
    """Wall-clock seconds of one step, with the device's queue empty before and after."""
    synchronise()
    start = time.perf_counter()
    step(batch)
    synchronise()
    return time.perf_counter() - start


def synchronise() -> None:
    """Wait for a GPU."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
