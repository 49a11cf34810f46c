"""How the time of our training step grows with the picture size at batch 1, and with the batch size at one picture size.

Prints seconds per image, images per second, and the slope of a log-log fit: over pixels, 1 means that time grows linearly with
their number; over batches, 0 means that larger ones gain nothing. A batch that does not fit into the GPU's memory is reported,
and larger ones are left out. TFLOP/s are counted by torch in convolutions and matrix products, on CPUs of ``fast: false``,
on a GPU of the step itself. With ``--peak`` (989 for bf16 on an H100) their share of the device's peak is printed.

    python benchmarks/scaling.py [--sizes 64 128 256 512] [--batches 1 2 4 8 16] [--rounds 3] [--threads 2]
    python benchmarks/scaling.py --sizes 256 --batches 1 8 32 128 --precision bf16 --peak 989
                                 --set train.channels_last=true --set train.compile=true
"""

import argparse
from collections.abc import Sequence
from math import log
from statistics import linear_regression, median
from typing import Any

import torch
from machine import refuse_emulation
from pairs import Case
from torch.utils.flop_counter import FlopCounterMode
from training import WARM, choose_device, common_arguments, finish, settings, timed, trained

from i2i.allocator import keep_freed_memory


def main() -> None:
    """Measure and print."""
    parser = common_arguments(__doc__)
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=(64, 128, 256, 512), help="sides in pixels; batches use the first"
    )
    parser.add_argument("--batches", type=int, nargs="+", default=(1, 2, 4, 8, 16))
    parser.add_argument("--peak", type=float, help="the device's peak in TFLOP/s")
    options = parser.parse_args()
    choose_device(options.device)
    refuse_emulation([options.precision], options.emulate)
    if options.threads:
        torch.set_num_threads(options.threads)
    keep_freed_memory()
    figures = []
    for model in options.models:
        figures.append(series("pixels", [Case(model, size, options.width) for size in options.sizes], options))
        batches = [Case(model, options.sizes[0], options.width, batch) for batch in options.batches]
        figures.append(series("batch", batches, options))
    finish(figures, options)


def series(over: str, cases: Sequence[Case], options: argparse.Namespace) -> dict[str, Any]:
    """Cases that differ in one quantity, with the slope over it."""
    rows: list[dict[str, Any]] = []
    for case in cases:
        try:
            rows.append(alone(case, options))
        except torch.OutOfMemoryError:
            print(f"{case.model:<9} {case.size:>4} px, batch {case.batch:>3}: does not fit into the memory")
            break
        print(line(case, rows[-1], options.peak), flush=True)
    found = {"model": cases[0].model, "over": over, "rows": rows}
    if len(rows) > 1:
        points = [(log(row["size"] ** 2 if over == "pixels" else row["batch"]), log(row["seconds_per_image"])) for row in rows]
        found["slope"] = linear_regression(*zip(*points, strict=True)).slope
        print(f"{cases[0].model:<9} slope over the {over}: {found['slope']:.2f}")
    return found


def alone(case: Case, options: argparse.Namespace) -> dict[str, Any]:
    """The median seconds an image, and the work."""
    work = gflop(case)
    run = case.run(**settings(options))
    batches, step = case.batches(run, WARM + options.rounds), trained(run)
    seconds = median([timed(step, batch) for batch in batches][WARM:]) / case.batch
    return {"size": case.size, "batch": case.batch, "seconds_per_image": seconds, "tflop_per_s": work / 1e3 / seconds}


def gflop(case: Case) -> float:
    """Of one image's step."""
    one = Case(case.model, case.size, case.width)
    run = one.run(fast=torch.cuda.is_available())
    batch = one.batches(run, 1)[0]
    with FlopCounterMode(display=False) as counter:
        trained(run)(batch)
    return counter.get_total_flops() / 1e9


def line(case: Case, row: dict[str, Any], peak: float | None) -> str:
    """A row for people."""
    seconds, work = row["seconds_per_image"], row["tflop_per_s"]
    share = f", {100 * work / peak:.1f} % of the peak" if peak else ""
    of = f"{case.model:<9} {case.size:>4} px, batch {case.batch:>3}"
    return f"{of}: {seconds:.4f} s an image, {1 / seconds:.3g} images/s, {work:.3g} TFLOP/s{share}"


if __name__ == "__main__":
    main()
