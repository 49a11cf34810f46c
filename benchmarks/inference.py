"""What translating costs: other backends beside torch, and ``i2i translate`` beside the bare forward pass.

In turn within one process, with as many threads each:

- ``forward``: the generator alone on a batch of noise.
- ``plain``: the same with the textbook's layers (``layers.set_fast``).
- ``onnxruntime`` …: the same batch by other backends (--backends). The largest difference of the results is printed.
- ``tensor``: ``model.translate`` of the same batch.
- ``files``: ``i2i translate`` of PNG files: reading, checking, batches, writing. Its ``forward`` are the same batches' passes.

Reported are medians and the ratio to ``forward`` in the same round, its median and quartiles.

    python benchmarks/inference.py [MODEL] [--rounds 7] [--side 256] [--batch 8] [--pictures 16] [--threads 2]

Without MODEL, a run or model folder, a network with random weights is taken (--generator, --width, --blocks).
"""

import argparse
import copy
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
import torch
from machine import machine_line
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor

from i2i.backends import with_backend
from i2i.file_translation import batch_pixels, translate_files
from i2i.inference import Precision, Translator, load
from i2i.layers import set_fast
from i2i.model_folder import Origin, save_model
from i2i.protocols import Direction, Domain
from i2i.registry import default_registry

TARGET = 1.10
Way = Callable[[], Any]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", help="a run or model folder")
    parser.add_argument("--to", help="the domain to translate to, where there are several")
    parser.add_argument("--width", type=int, default=32, help="channels of the random network's first layer")
    parser.add_argument("--generator", choices=["resnet", "unet"], default="resnet", help="without MODEL")
    parser.add_argument("--blocks", type=int, default=9, help="residual blocks of the random ResNet")
    parser.add_argument("--side", type=int, default=256, help="height and width of the pictures")
    parser.add_argument("--batch", type=int, default=8, help="pictures in a batch of noise")
    parser.add_argument("--pictures", type=int, default=16, help="PNG files for 'files'")
    parser.add_argument("--backends", nargs="*", default=["onnxruntime"], help="onnxruntime, openvino, 'openvino bf16' …")
    parser.add_argument("--rounds", type=int, default=7, help="how often each takes its turn (at least 2)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="for torch and onnxruntime")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        model = load(options.model or random_model(folder / "model", options), "cpu")
        way = model.direction(options.to)
        figures = batches(model, way, folder, options) | files(model, way, folder, options)
    show(figures, options)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


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


def batches(model: Translator, way: Direction, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """``forward``, ``plain``, every backend and ``tensor`` on one batch of noise, and by how much the results differ."""
    noise = torch.rand(options.batch, model.domains[way[0]].channels, options.side, options.side) * 2 - 1
    textbook = copy.deepcopy(model.module)
    set_fast((textbook,), False)
    ways: dict[str, Way] = {"forward": lambda: forward(model, way, noise)}
    ways["plain"] = lambda: forward(replace(model, module=textbook), way, noise)
    for name in options.backends:
        ways[name] = partial(computed, with_backend(replace(model, precision=precision_of(name)), name.split()[0]), way, noise)
    others = [name for name in ways if name != "plain"]
    differences = {f"{name} differs by": float((ways[name]() - ways["plain"]()).abs().max()) for name in others}
    ways["tensor"] = lambda: model.translate(noise, way[1], way[0], tile=0)
    return rows(ways, options.rounds) | differences


def precision_of(name: str) -> Precision:
    """What "openvino bf16" computes in."""
    return "bf16" if name.endswith("bf16") else "fp32"


def computed(model: Translator, way: Direction, x: Tensor) -> Tensor:
    """The network alone, by the model's backend."""
    with torch.inference_mode():
        return model.network(x, *way, {})


def files(model: Translator, way: Direction, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """``files`` beside the forward passes of batches as large as those that it makes."""
    source = folder / "pictures"
    source.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (options.pictures, options.side, options.side, 3), dtype=np.uint8)
    for i, picture in enumerate(pixels):
        smooth = Image.fromarray(picture).resize((8, 8)).resize((options.side, options.side), Image.Resampling.BICUBIC)
        smooth.save(source / f"{i:04d}.png")  # noise would be an unusually large file
    count = max(1, batch_pixels(model.device) // options.side**2)
    samples = torch.rand(options.pictures, model.domains[way[0]].channels, options.side, options.side) * 2 - 1
    ways: dict[str, Way] = {
        "forward": lambda: [forward(model, way, part) for part in torch.split(samples, count)],
        "files": lambda: translate_files(model, [source], way[1], folder / "out", True, way[0], tile=0),
    }
    return {f"{options.pictures} {name}": row for name, row in rows(ways, options.rounds).items()}


def rows(ways: dict[str, Way], rounds: int) -> dict[str, Any]:
    """The summaries of ways that are compared with the way ``forward``."""
    seconds = interleaved(ways, rounds)
    return {name: summary(seconds, name) for name in ways}


def forward(model: Translator, way: Direction, x: Tensor) -> Tensor:
    """The generator and nothing else."""
    with torch.inference_mode():
        made: Tensor = model.module(x, *way).images[way[1]]
    return made


def interleaved(ways: dict[str, Way], rounds: int) -> dict[str, list[float]]:
    """Seconds of every way in every round. The order turns from round to round; a first round is left out."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for turn in range(-1, rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            start = time.perf_counter()
            ways[name]()
            if turn >= 0:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def summary(seconds: dict[str, list[float]], name: str) -> dict[str, Any]:
    """Median seconds; median and quartiles of the ratio to ``forward`` in the same round."""
    ratios = [mine / bare for mine, bare in zip(seconds[name], seconds["forward"], strict=True)]
    low, middle, high = quantiles(ratios, n=4, method="inclusive")
    return {"median_s": median(seconds[name]), "ratio": middle, "ratio_quartiles": [low, high]}


def show(figures: dict[str, Any], options: argparse.Namespace) -> None:
    """The table, the difference, and the machine."""
    console = Console(highlight=False)
    what = f"{options.batch} x {options.side} x {options.side}"
    table = Table(title=f"translating {what}, {options.rounds} interleaved rounds", title_justify="left")
    for heading in ("what", "median s", "ratio to forward", "quartiles"):
        table.add_column(heading, justify="left" if heading == "what" else "right", no_wrap=True)
    for name, row in figures.items():
        if isinstance(row, dict):
            low, high = row["ratio_quartiles"]
            table.add_row(name, f"{row['median_s']:.4f}", f"{row['ratio']:.3f}", f"{low:.3f}-{high:.3f}")
    console.print(table)
    for name, row in figures.items():
        if not isinstance(row, dict):
            console.print(f"{name} {row:.1e} at most")
    console.print(f"target: a ratio of at most {TARGET:.2f} for 'files'")
    console.print(machine_line(), soft_wrap=True)


if __name__ == "__main__":
    main()
