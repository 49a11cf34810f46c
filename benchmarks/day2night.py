"""How well a run translates day into night on columns of the Earth that it never saw in training.

It measures the model and three baselines on all tiles of a split (default: ``test``), which do not overlap. The baselines are
the input itself, the mean night colour, and an affine map of the colours (3 x 4, least squares, the same for every pixel).
The last two are fitted on random crops of the ``train`` bands and clipped to [0, 1].

- PSNR, in dB: images in [0, 1], -10 log10 of the mean squared error over a tile, averaged over the tiles. Tiles of plain
  sea have a large influence; "pooled" is the PSNR of the mean squared error over all tiles.
- The distance of features is described in ``feature_distance.py``.

    python benchmarks/day2night.py runs/unit_day2night [--json FILE] [--sheet PICTURE]
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from feature_distance import KERNEL, Distance, FeatureDistance
from machine import arguments, keep, machine_line
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text
from torch import Tensor

from i2i.data import SeededDataset
from i2i.errors import UserError
from i2i.pictures.pixels import save_picture
from i2i.pictures.sheet import contact_sheet
from i2i.protocols import Dataset, Domain
from i2i.registry import default_registry
from i2i.translation.loading import load
from i2i.translation.translator import Translator

MODEL, INPUT, MEAN, AFFINE = "model", "input", "mean colour", "affine map"


@dataclass(frozen=True)
class Result:
    """One row: PSNR as a mean over tiles and pooled, in dB, and the distance of features."""

    psnr: float
    pooled: float
    distance: Distance

    def as_json(self) -> dict[str, float]:
        """The figures under their full names, for quoting."""
        return {
            "psnr": self.psnr,
            "psnr_pooled": self.pooled,
            KERNEL: self.distance.mean,
            f"{KERNEL}_std": self.distance.std,
        }


def main() -> None:
    """Measure and print."""
    options = options_given()
    translator = load(options.run)
    key_a, key_b = translator.direction(options.to, options.source)
    a, b = translator.domains[key_a], translator.domains[key_b]
    tiles = earth(a, b, options.crop, options.split)
    source, truth = stacked(tiles)
    fit_a, fit_b = drawn(earth(a, b, options.crop, "train"), options.fit_crops)
    made = {MODEL: translated(translator, source, key_a, key_b), **baselines(source, fit_a, fit_b)}
    distance = FeatureDistance(truth, size=options.feature_crop, stride=options.feature_stride)
    results = {name: measure(images, truth, distance) for name, images in made.items()}
    protocol = describe(options, a, b, len(truth), distance.count)
    show(results, protocol, translator.device)
    keep({"protocol": protocol, "results": {name: result.as_json() for name, result in results.items()}}, options.json)
    if options.sheet:
        night = [("model", made[MODEL], b), (f"true {b.name}", truth, b), ("affine map", made[AFFINE], b)]
        columns = [(a.name, source, a), *night]
        save_picture(contact_sheet(columns), options.sheet)


def options_given() -> argparse.Namespace:
    """The command line."""
    parser = arguments(__doc__)
    parser.add_argument("run", type=Path, help="a run folder or a model folder")
    parser.add_argument("--to", default="night", help="the domain to translate to")
    parser.add_argument("--source", help="the domain to translate from, if there are several")
    parser.add_argument("--split", default="test", help="the split to measure on")
    parser.add_argument("--crop", type=int, default=128, help="side of a tile")
    parser.add_argument("--feature-crop", type=int, default=64, help="side of the crops whose features are compared")
    parser.add_argument("--feature-stride", type=int, default=32, help="distance between these crops")
    parser.add_argument("--fit-crops", type=int, default=256, help="number of train crops to fit the baselines on")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet to this file: input, model, truth, affine map")
    return parser.parse_args()


def earth(a: Domain, b: Domain, crop: int, split: str) -> Dataset:
    """Both sides of the Earth, aligned; without random flips, as the split makes none."""
    factory = default_registry().get("dataset", "earth").factory
    dataset: Dataset = factory(a=a.name, b=b.name, paired=True, crop=crop, split=split)
    return dataset


def stacked(dataset: Dataset) -> tuple[Tensor, Tensor]:
    """Every sample of a split that has fixed tiles: two of (N, 3, H, W) in [-1, 1]."""
    samples = [dataset[index] for index in range(len(dataset))]
    return torch.stack([s["a"] for s in samples]), torch.stack([s["b"] for s in samples])


def drawn(dataset: Dataset, count: int) -> tuple[Tensor, Tensor]:
    """The pixels of *count* random crops, always the same ones: two of (pixels, 3) in [0, 1], float64."""
    seeded = SeededDataset(dataset, seed=0)
    samples = [seeded[divmod(i, len(dataset))] for i in range(count)]
    a, b = (torch.stack([sample[key] for sample in samples]) for key in ("a", "b"))
    return pixels(a), pixels(b)


def pixels(images: Tensor) -> Tensor:
    """(N, 3, H, W) in [-1, 1] to (N * H * W, 3) in [0, 1], float64."""
    return unit(images).permute(0, 2, 3, 1).flatten(0, 2).double()


def unit(images: Tensor) -> Tensor:
    """[-1, 1] to [0, 1]."""
    return (images + 1) / 2


def translated(translator: Translator, source: Tensor, key_a: str, key_b: str) -> Tensor:
    """The model's translation of each tile, made separately as by ``i2i translate``, (N, 3, H, W) in [-1, 1]."""
    return torch.stack([translator.translate(tile, to=key_b, source=key_a) for tile in source])


def baselines(source: Tensor, fit_a: Tensor, fit_b: Tensor) -> dict[str, Tensor]:
    """Translations that ignore a pixel's surroundings, (N, 3, H, W) in [-1, 1]."""
    homogeneous = with_one(fit_a)
    matrix = torch.linalg.solve(homogeneous.T @ homogeneous, homogeneous.T @ fit_b)  # 4 x 3
    maps: dict[str, Callable[[Tensor], Tensor]] = {
        MEAN: lambda colours: fit_b.mean(0).expand_as(colours),
        AFFINE: lambda colours: with_one(colours) @ matrix,
    }
    return {INPUT: source, **{name: recoloured(source, function) for name, function in maps.items()}}


def with_one(colours: Tensor) -> Tensor:
    """(pixels, 3) to (pixels, 4), the last column one."""
    return torch.cat((colours, torch.ones_like(colours[:, :1])), 1)


def recoloured(source: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """A function of colours (pixels, 3) in [0, 1], applied to every pixel and clipped."""
    n, _, h, w = source.shape
    colours = function(pixels(source)).clamp(0, 1).float()
    return colours.reshape(n, h, w, 3).permute(0, 3, 1, 2).contiguous() * 2 - 1


def measure(images: Tensor, truth: Tensor, distance: FeatureDistance) -> Result:
    """All figures of one set of translations."""
    errors = (unit(images) - unit(truth)).double().square().mean((1, 2, 3))
    return Result(float(decibels(errors).mean()), float(decibels(errors.mean())), distance(images))


def decibels(error: Tensor) -> Tensor:
    """PSNR of mean squared errors of images in [0, 1]; 100 dB at most."""
    return -10 * error.clamp_min(1e-10).log10()


def describe(options: argparse.Namespace, a: Domain, b: Domain, tiles: int, crops: int) -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "direction": f"{a.name} -> {b.name}",
        "split": options.split,
        "tiles": tiles,
        "tile": options.crop,
        "feature_crops": crops,
        "feature_crop": options.feature_crop,
        "feature_stride": options.feature_stride,
        "fitted_on": f"{options.fit_crops} crops of train",
    }


def show(results: dict[str, Result], protocol: dict[str, Any], device: torch.device) -> None:
    """Print the table, the comparisons and the machine."""
    console = Console(highlight=False)
    console.print(", ".join(f"{name} {value}" for name, value in protocol.items()), soft_wrap=True, markup=False)
    table = Table(Column(no_wrap=True, min_width=len(KERNEL)), *results)
    for column in table.columns[1:]:
        column.justify = "right"
    rows = list(results.values())
    table.add_row("PSNR dB", *(f"{row.psnr:.2f}" for row in rows))
    table.add_row("pooled PSNR dB", *(f"{row.pooled:.2f}" for row in rows))
    table.add_row(Text(KERNEL), *(f"{row.distance.mean:.3f}" for row in rows))
    table.add_row("  ± over subsets", *(f"{row.distance.std:.3f}" for row in rows))
    console.print(table)
    console.print("PSNR: higher is better; the distance to the true pictures: lower is better.")
    for name in (INPUT, MEAN, AFFINE):
        won = ", ".join(better(results[MODEL], results[name])) or "nothing"
        console.print(f"the model beats the {name} on: {won}", markup=False)
    console.print(machine_line(device), soft_wrap=True)


def better(model: Result, other: Result) -> Sequence[str]:
    """The figures in which the model is better."""
    wins = {
        "PSNR": model.psnr > other.psnr,
        KERNEL: model.distance.mean < other.distance.mean,
    }
    return [name for name, won in wins.items() if won]


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
