"""What translating costs: other backends against torch, and ``i2i translate`` against the bare forward pass.

These take turns, each in its own process, so that waiting threads of one library do not slow another, and with the same number
of threads:

- ``forward``: the generator alone on a batch of noise.
- ``plain``: the same with textbook layers (``layers.set_fast``), separate norms, and without keeping freed memory.
- ``onnxruntime`` …: the same batch with other backends (--backends). The largest difference of the results is printed.
- ``tensor``: ``model.translate`` of the same batch.
- ``files``: ``i2i translate`` of PNG files: reading, checking, batches, writing. Its ``forward`` is that of the same batches.

Reported are medians, and the ratio to ``forward`` in the same round: its median and quartiles.

    python benchmarks/inference.py [MODEL] [--rounds 7] [--side 256] [--batch 8] [--pictures 16] [--threads 2]

MODEL is a run or model folder. Without it, a network with random weights is used (--generator, --width, --blocks).
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
import torch
from machine import arguments, keep, machine_line, refuse_emulation
from PIL import Image
from processes import PAUSE, asked, started
from rich.console import Console
from rich.table import Table
from torch import Tensor

from i2i.allocator import keep_freed_memory
from i2i.layers import set_fast
from i2i.protocols import Direction, Domain
from i2i.registry import default_registry
from i2i.translation import translator as inference
from i2i.translation.loading import load
from i2i.translation.model_folder import Origin, save_model
from i2i.translation.translator import Precision, Translator
from i2i_translate.file_translation import batch_pixels, translate_files
from i2i_translate.requests import Finish, Request

TARGET = 1.10


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("model", type=Path, nargs="?", help="a run or model folder")
    parser.add_argument("--to", help="the domain to translate to, if there are several")
    parser.add_argument("--width", type=int, default=32, help="channels of the random network's first layer")
    parser.add_argument("--generator", choices=["resnet", "unet"], default="resnet", help="the random network")
    parser.add_argument("--blocks", type=int, default=9, help="residual blocks of the random ResNet")
    parser.add_argument("--side", type=int, default=256, help="height and width of the pictures")
    parser.add_argument("--batch", type=int, default=8, help="pictures in a batch of noise")
    parser.add_argument("--pictures", type=int, default=16, help="number of PNG files for 'files'")
    parser.add_argument("--backends", nargs="*", default=["onnxruntime"], help="onnxruntime, openvino, 'openvino bf16' …")
    parser.add_argument("--emulate", action="store_true", help="allow bf16 on a processor without instructions for it")
    parser.add_argument("--rounds", type=int, default=7, help="number of turns of each (at least 2)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of each backend")
    options = parser.parse_args()
    refuse_emulation(map(precision_of, options.backends), options.emulate, torch.device("cpu"))
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        source = options.model or random_model(folder / "model", options)
        figures = batches(source, options) | files(source, folder, options)
    show(figures, options)
    keep(figures, options.json)


def random_model(folder: Path, options: argparse.Namespace) -> Path:
    """CycleGAN's or pix2pix's generator with random weights, as a model folder."""
    given: dict[str, dict[str, Any]] = {"resnet": {"blocks": options.blocks}, "unet": {"inference": "eval"}}
    settings = {"width": options.width, **given[options.generator]}
    entry = default_registry().get("generator", options.generator)
    domains = {"a": Domain("day", "image", 3), "b": Domain("night", "image", 3)}
    ways: tuple[Direction, ...] = (("a", "b"),)
    torch.manual_seed(0)
    module = entry.factory(domains=domains, directions=ways, **settings)
    origin = Origin(entry.name, entry.plugin, entry.version, settings)
    save_model(folder, module, {"": origin}, domains=domains, directions=ways)
    return folder


def batches(source: Path, options: argparse.Namespace) -> dict[str, Any]:
    """``forward``, ``plain``, every backend and ``tensor`` on one batch of noise, and the differences of their results."""
    names = ["forward", "plain", *options.backends, "tensor"]
    ends = {name: started(translating, name, source, options) for name in names}
    results = {name: end.recv() for name, end in ends.items()}
    others = [name for name in names if name != "plain"]
    differences = {f"{name} differs by": float((results[name] - results["plain"]).abs().max()) for name in others}
    ways: dict[str, Callable[[], float]] = {name: partial(asked, end) for name, end in ends.items()}
    found = rows(ways, options.rounds) | differences
    for end in ends.values():
        end.send("")  # no more
    return found


def translating(name: str, source: Path, options: argparse.Namespace, end: Connection) -> None:
    """A process that translates in one way: it sends its result, then the seconds for each request."""
    torch.set_num_threads(options.threads)
    if name == "plain":
        inference.fold_norms = lambda network: None
    else:
        keep_freed_memory()
    way = prepared(name, source, options)
    for _ in range(2):
        result = way()
    end.send(result)
    while end.recv():
        end.send(timed(way))


def prepared(name: str, source: Path, options: argparse.Namespace) -> Callable[[], Tensor]:
    """The function to time."""
    model = load(source, "cpu")
    here, there = model.direction(options.to)
    torch.manual_seed(0)
    noise = torch.rand(options.batch, model.domains[here].channels, options.side, options.side) * 2 - 1
    if name == "tensor":
        return lambda: model.translate(noise, there, here, tile=0)
    if name not in ("forward", "plain"):
        model = replace(model, precision=precision_of(name)).with_backend(name.split()[0])
    set_fast((model.module,), name != "plain")
    return lambda: computed(model, (here, there), noise)


def precision_of(name: str) -> Precision:
    """The precision in a name such as "openvino bf16"."""
    return "bf16" if name.endswith("bf16") else "fp32"


def computed(model: Translator, way: Direction, x: Tensor) -> Tensor:
    """The network alone."""
    with torch.inference_mode():
        return model.network(x, way, {})


def files(source: Path, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """``files``, and the forward passes of batches as large as those that it makes."""
    keep_freed_memory()  # as the command does
    model = load(source, "cpu")
    way = model.direction(options.to)
    given = folder / "pictures"
    given.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (options.pictures, options.side, options.side, 3), dtype=np.uint8)
    for i, picture in enumerate(pixels):
        smooth = Image.fromarray(picture).resize((8, 8)).resize((options.side, options.side), Image.Resampling.BICUBIC)
        smooth.save(given / f"{i:04d}.png")  # noise would be an unusually large file
    count = max(1, batch_pixels(model.device) // options.side**2)
    samples = torch.rand(options.pictures, model.domains[way[0]].channels, options.side, options.side) * 2 - 1
    ways: dict[str, Callable[[], float]] = {
        "forward": lambda: timed(lambda: [computed(model, way, part) for part in torch.split(samples, count)]),
        "files": lambda: timed(
            lambda: translate_files(model, Request([given], way[1], way[0], tile=0), Finish(folder / "out", True))
        ),
    }
    return {f"{options.pictures} {name}": row for name, row in rows(ways, options.rounds).items()}


def timed(way: Callable[[], object]) -> float:
    """Its seconds."""
    start = time.perf_counter()
    way()
    return time.perf_counter() - start


def rows(ways: dict[str, Callable[[], float]], rounds: int) -> dict[str, Any]:
    """Summaries of all ways of translating. The order rotates from round to round; the first round is left out."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for turn in range(-1, rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            time.sleep(PAUSE)
            taken = ways[name]()
            if turn >= 0:
                seconds[name].append(taken)
    return {name: summary(seconds, name) for name in ways}


def summary(seconds: dict[str, list[float]], name: str) -> dict[str, Any]:
    """Median seconds, and in the same round the time relative to ``forward`` and the speed relative to ``plain``."""
    found: dict[str, Any] = {"median_s": median(seconds[name])}
    low, middle, high = quantiles(ratios(seconds[name], seconds["forward"]), n=4, method="inclusive")
    found |= {"ratio": middle, "ratio_quartiles": [low, high]}
    if "plain" in seconds:
        found["faster"] = median(ratios(seconds["plain"], seconds[name]))
    return found


def ratios(first: list[float], second: list[float]) -> list[float]:
    return [mine / other for mine, other in zip(first, second, strict=True)]


def show(figures: dict[str, Any], options: argparse.Namespace) -> None:
    """Print the table, the differences, and the machine."""
    console = Console(width=120, highlight=False)
    what = f"{options.batch} x {options.side} x {options.side}"
    table = Table(title=f"translating {what}, {options.rounds} interleaved rounds", title_justify="left")
    for heading in ("what", "median s", "ratio to forward", "quartiles", "times as fast as plain"):
        table.add_column(heading, justify="left" if heading == "what" else "right", no_wrap=True)
    for name, row in figures.items():
        if isinstance(row, dict):
            low, high = row["ratio_quartiles"]
            faster = f"{row['faster']:.2f}" if "faster" in row else ""
            table.add_row(name, f"{row['median_s']:.4f}", f"{row['ratio']:.3f}", f"{low:.3f}-{high:.3f}", faster)
    console.print(table)
    for name, row in figures.items():
        if not isinstance(row, dict):
            console.print(f"{name} {row:.1e} at most")
    console.print(f"target: a ratio of at most {TARGET:.2f} for 'files'")
    console.print(machine_line(), soft_wrap=True)


if __name__ == "__main__":
    main()
