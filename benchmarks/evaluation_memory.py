"""How much more memory evaluation needs for more pictures: the peaks of processes that evaluate few and many.

    python benchmarks/evaluation_memory.py [--pictures 250 1000] [--side 256] [--metrics psnr,ssim,lpips,fid,kid]

A tiny ResNet with random weights translates pairs of smooth noise, written once. Reported is the peak of the resident memory,
and what each further picture adds to it. Metrics that compare sets keep the features of every picture, 1280 numbers or 5 KiB.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from machine import machine_line
from PIL import Image

from i2i.protocols import Domain
from i2i.registry import default_registry
from i2i.translation.model_folder import Origin, save_model
from i2i_evaluate.evaluation import evaluate_model

OPTIONS = {"width": 4, "blocks": 1}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, nargs=2, default=[250, 1000])
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--metrics", default="psnr,ssim,fid,kid")
    parser.add_argument("--within", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.within is not None:
        print(json.dumps(peak_mib(options.within, options.pictures[0], options.metrics.split(","))))
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write(folder, max(options.pictures), options.side)
        peaks = [measured(folder, count, options.metrics) for count in options.pictures]
    for count, peak in zip(options.pictures, peaks, strict=True):
        print(f"{count:6d} pictures of {options.side} px: peak {peak:.0f} MiB")
    more = (peaks[1] - peaks[0]) / (options.pictures[1] - options.pictures[0]) * 1024
    whole = options.side**2 * 3 * 4 // 1024
    print(f"each picture more: {more:+.1f} KiB; the picture itself is {whole} KiB as the network sees it")
    print(machine_line())


def write(folder: Path, count: int, side: int) -> None:
    """Write pairs, a model, and a recipe that names the pairs."""
    random = np.random.default_rng(0)
    for key in "AB":
        (folder / f"test{key}").mkdir()
        for i in range(count):
            coarse = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            coarse.resize((side, side), Image.Resampling.BICUBIC).save(folder / f"test{key}" / f"{i:05d}.jpg")
    domains = {"a": Domain("a", "image", 3), "b": Domain("b", "image", 3)}
    entry = default_registry().get("generator", "resnet")
    torch.manual_seed(0)
    module = entry.factory(domains=domains, directions=(("a", "b"),), **OPTIONS)
    origin = Origin(entry.name, entry.plugin, entry.version, OPTIONS)
    save_model(folder / "model", module, {"": origin}, domains=domains, directions=(("a", "b"),))
    (folder / "data.yaml").write_text(
        f"dataset: {{name: folders, root: '{folder}', paired: true}}\n"
        "generator: {name: resnet}\ndiscriminator: {name: patchgan}\nloss: {name: pix2pix}\n"
    )


def measured(folder: Path, count: int, metrics: str) -> float:
    """The peak of a separate process."""
    command = [sys.executable, __file__, "--within", str(folder), "--pictures", str(count), str(count), "--metrics", metrics]
    return float(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]))


def peak_mib(folder: Path, count: int, metrics: list[str]) -> float:
    """Evaluate *count* pictures here and give this process's peak of resident memory."""
    evaluate_model(folder / "model", default_registry(), data=folder / "data.yaml", metrics=metrics, images=count)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
