"""Reading, decoding, resize 286, crop 256 and flip on one core: our loader against the published programs' Pillow pipeline."""

import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from machine import arguments, keep, machine_line
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional as F  # type: ignore[import-untyped]

from i2i.data import SeededDataset
from i2i.pictures.formats import FORMATS
from i2i.pictures.pixels import read_picture
from i2i_data.folders import folders

SIZES = {"JPEG 256 x 256": (256, 256, "jpg"), "JPEG 1280 x 720": (1280, 720, "jpg"), "PNG 256 x 256": (256, 256, "png")}


def published(path: Path) -> Tensor:
    """What pix2pix's and CycleGAN's programs do to a picture: resize, crop and flip in Pillow, then a tensor in [-1, 1]."""
    picture = Image.open(path, formats=FORMATS).convert("RGB").resize((286, 286), Image.Resampling.BICUBIC)
    left, top = random.randint(0, 30), random.randint(0, 30)
    picture = picture.crop((left, top, left + 256, top + 256))
    if random.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    tensor: Tensor = F.normalize(F.to_tensor(picture), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    return tensor


def photographs(source: Path, folder: Path, count: int, width: int, height: int, suffix: str) -> None:
    """Write random parts of a real photograph, scaled to the size, to trainA and trainB."""
    whole = read_picture(source).convert("RGB")
    random.seed(0)
    for side in ("trainA", "trainB"):
        (folder / side).mkdir(parents=True)
        for i in range(count):
            w = random.randint(width // 4, min(width, whole.width))
            h = min(w * height // width, whole.height)
            left, top = random.randint(0, whole.width - w), random.randint(0, whole.height - h)
            part = whole.crop((left, top, left + w, top + h)).resize((width, height), Image.Resampling.BICUBIC)
            part.save(folder / side / f"{i}.{suffix}", quality=90)


def seconds(work: Callable[[int], object], count: int) -> float:
    """Seconds per pair."""
    start = time.perf_counter()
    for i in range(count):
        work(i)
    return (time.perf_counter() - start) / count


def compare(folder: Path, count: int, suffix: str, rounds: int) -> dict[str, float]:
    """Both ways in turn over the same files, which are in the system's cache."""
    data = SeededDataset(folders(root=str(folder), paired=True), 0)
    files = [[folder / side / f"{i}.{suffix}" for side in ("trainA", "trainB")] for i in range(count)]
    ways: dict[str, Callable[[int], object]] = {
        "published": lambda i: [published(path) for path in files[i]],
        "ours": lambda i: data[0, i],
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for name in list(ways) * (rounds + 1):
        times[name].append(seconds(ways[name], count))
    old, new = (np.array(taken[1:]) for taken in times.values())  # the first round warms up
    ratios = sorted(old / new)
    return {
        "published_ms": 1000 * statistics.median(old),
        "ours_ms": 1000 * statistics.median(new),
        "ratio": statistics.median(ratios),
        "ratio_low": float(ratios[0]),
        "ratio_high": float(ratios[-1]),
    }


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--pairs", type=int, default=16, help="number of pairs of files of each kind")
    parser.add_argument("--photograph", type=Path, help="cut pictures from this file instead of the Earth sample's photograph")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine_line())
    photograph = options.photograph or Path(__file__).parents[1] / "plugins/i2i_earth/data/day.jpg"
    results = {}
    for name, (width, height, suffix) in SIZES.items():
        with tempfile.TemporaryDirectory() as folder:
            photographs(photograph, Path(folder), options.pairs, width, height, suffix)
            found = results[name] = compare(Path(folder), options.pairs, suffix, options.rounds)
        print(
            f"{name:16}  published {found['published_ms']:6.2f} ms a pair   ours {found['ours_ms']:6.2f} ms   "
            f"ratio {found['ratio']:.2f} ({found['ratio_low']:.2f} to {found['ratio_high']:.2f})"
        )
    keep(results, options.json)


if __name__ == "__main__":
    main()
