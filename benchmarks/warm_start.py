"""How many steps a warm start saves: a CycleGAN for one pair of drawings begins with one that was trained for another pair.

One run learns the first pair. Then, for each seed, three runs learn the second pair: from random weights, with ``train.start``
from the first run, and with its generator alone. Each measures its KID on held-out things as it goes. Finished runs are not
repeated.
"""

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

import i2i
from i2i.files import write_text
from i2i.pictures.files import read_picture
from i2i.pictures.sources import Blob
from i2i.recipe import load_recipe
from i2i.training.log import read_metrics

RECIPE = """\
dataset: {name: folders, transform: {resize: SIZE, crop: SIZE}}
generator: {name: resnet, width: WIDTH, blocks: 3, upsampling: resize}
discriminator: {name: patchgan, width: WIDTH, layers: 2, norm: instance}
loss: {name: cyclegan}
train:
  steps: STEPS
  batch_size: BATCH
  generator: {lr: 4e-4}
  discriminator: {lr: 4e-4}
  ema: 0.99
  threads: 1
  workers: 0
samples: {every: STEPS, count: 4, dataset: {split: SPLIT}}
checkpoint: {every: STEPS}
log: {every: 50, trackers: []}
evaluate: {every: EVERY, metrics: [{name: kid, resize: 64}], dataset: {split: SPLIT}}
"""

Curve = Mapping[int, float]
"""The KID, mean of both directions, after each number of steps."""

Start = str | dict[str, str] | None

COLORS = {"random weights": "#b3541e", "warm start": "#1f5f8b", "its generator alone": "#5a8f29"}
"""Of the curves of each kind of run."""


def unpacked(parquet: Path, drawings: Sequence[str], size: int, out: Path) -> Path:
    """The folder of the pictures, SPLIT/DRAWING/NAME.png, scaled to *size* pixels."""
    import pyarrow.parquet

    for drawing in drawings:
        if any(out.glob(f"*/{drawing}")):
            continue
        table = pyarrow.parquet.read_table(parquet, columns=["name", "split", drawing]).to_pylist()
        for row in table:
            folder = out / row["split"] / drawing
            folder.mkdir(parents=True, exist_ok=True)
            content = row[drawing]["bytes"] if isinstance(row[drawing], dict) else row[drawing]
            picture = read_picture(Blob(content, row["name"])).convert("RGB").resize((size, size), Image.Resampling.LANCZOS)
            picture.save(folder / f"{row['name'].replace('/', '-')}.png")
    return out


def run(recipe: Path, pictures: Path, pair: Sequence[str], out: Path, seed: int, start: Start = None) -> Path:
    """The folder *out* of a run, which is trained or resumed unless it has ended."""
    sides = {f"dataset.{key}": f"{pictures.resolve()}/{{split}}/{name}" for key, name in zip("ab", pair, strict=True)}
    settings = {**sides, "dataset.names": list(pair), "train.seed": seed, "train.start": start}
    steps = load_recipe(recipe).train.steps
    if steps not in curve(out):
        i2i.run(recipe, set=settings, out=out, resume=(out / "recipe.yaml").is_file())
    if steps not in curve(out):
        sys.exit(f"{out}: stopped before its end; the same command goes on.")
    return out


def curve(run: Path, way: str = "") -> Curve:
    """What a run's metrics.jsonl has, of one direction (``noto → glossy``) or the mean of both."""
    found = {}
    for line in read_metrics(run / "metrics.jsonl"):
        if kids := [value for name, value in line.items() if name.startswith("eval/kid") and name.endswith(way)]:
            found[int(line["step"])] = statistics.mean(kids)
    return found


def reached(curve: Curve, value: float) -> int | None:
    """The first step at which a curve is as low as *value*."""
    return next((step for step, kid in sorted(curve.items()) if kid <= value), None)


def mean(curves: Sequence[Curve]) -> Curve:
    """The mean curve."""
    return {step: statistics.mean(curve[step] for curve in curves) for step in curves[0]}


def table(found: Mapping[str, Sequence[Curve]], seeds: Sequence[int]) -> str:
    """A row for each run, in Markdown."""
    steps = sorted(next(iter(found.values()))[0])
    rows = [["start", "seed", *map(str, steps)], ["---"] * (len(steps) + 2)]
    for name, curves in found.items():
        named = [(str(seed), one) for seed, one in zip(seeds, curves, strict=False)] + [("mean", mean(curves))]
        rows += [[name, seed, *(f"{one[step]:.2f}" for step in steps)] for seed, one in named]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def saved(found: Mapping[str, Sequence[Curve]], what: str) -> str:
    """What each warm start saves, in sentences."""
    first, *others = found
    lines, last = [], max(found[first][0])
    for name in others:
        each = [reached(one, other[last]) for one, other in zip(found[name], found[first], strict=False)]
        told = ", ".join(str(step or f"more than {last}") for step in each)
        whole = reached(mean(found[name]), mean(found[first])[last]) or f"more than {last}"
        lines += ["", f"{what}, {name}: {whole} steps until it is where {first} are after {last} (means); by seed: {told}."]
    return "\n".join(lines) + "\n"


def drawn(found: Mapping[str, Sequence[Curve]], width: int = 640, height: int = 360) -> str:
    """The curves as an SVG: thin lines for seeds, thick ones for means."""
    left, top, right, bottom = 56, 16, width - 16, height - 40
    every = [curve for curves in found.values() for curve in curves]
    steps, most = sorted(every[0]), max(max(curve.values()) for curve in every)

    def at(step: float, kid: float) -> str:
        return f"{left + (right - left) * step / steps[-1]:.1f},{bottom - (bottom - top) * kid / most:.1f}"

    parts = []
    for name, curves in found.items():
        for one, thick in [*((one, 1) for one in curves), (mean(curves), 3)]:
            points = " ".join(at(step, one[step]) for step in steps)
            parts.append(f'<polyline points="{points}" fill="none" stroke="{COLORS[name]}" stroke-width="{thick}"/>')
    goal, dashed = mean(next(iter(found.values())))[steps[-1]], 'fill="none" stroke="#888" stroke-dasharray="4 4"'
    parts.append(f'<polyline points="{at(0, goal)} {at(steps[-1], goal)}" {dashed}/>')
    for step in steps:
        parts.append(f'<text x="{at(step, 0).split(",")[0]}" y="{bottom + 16}" text-anchor="middle">{step}</text>')
    for kid in (0.0, most / 2, most):
        parts.append(f'<text x="{left - 8}" y="{float(at(0, kid).split(",")[1]) + 4:.1f}" text-anchor="end">{kid:.1f}</text>')
    for i, name in enumerate(found):
        parts.append(f'<text x="{right}" y="{top + 12 + 16 * i}" text-anchor="end" fill="{COLORS[name]}">{name}</text>')
    parts.append(f'<text x="{(left + right) / 2}" y="{height - 6}" text-anchor="middle">steps</text>')
    parts.append(f'<text x="14" y="{(top + bottom) / 2}" text-anchor="middle">KID</text>')
    axes = f'<path d="M{left} {top}V{bottom}H{right}" fill="none" stroke="#888"/>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">'
    return f'{head}\n<rect width="100%" height="100%" fill="white"/>\n{axes}\n' + "\n".join(parts) + "\n</svg>\n"


def curves(runs: Mapping[str, Sequence[Path]], way: str = "") -> dict[str, list[Curve]]:
    """The curves of all runs."""
    return {name: [curve(path, way) for path in paths] for name, paths in runs.items()}


def report(runs: Mapping[str, Sequence[Path]], seeds: Sequence[int], pair: Sequence[str]) -> str:
    """The table, and what was saved: in the mean of both directions, and in each."""
    there, back = (" → ".join(way) for way in (pair, pair[::-1]))
    ways = {"both directions": "", there: there, back: back}
    return table(curves(runs), seeds) + "".join(saved(curves(runs, way), what) for what, way in ways.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the folder for pictures, runs, table.md and curves.svg")
    parser.add_argument("--parquet", type=Path, required=True, help="rows with name, split and a column for each drawing")
    parser.add_argument("--first", default="noto,flat", help="the pair of columns that is learned first")
    parser.add_argument("--second", default="noto,glossy", help="the pair that is learned then")
    parser.add_argument(
        "--split", default="test", help="the held-out things to measure: val to choose settings, test to report"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--every", type=int, default=100, help="the number of steps between two measurements")
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--batch", type=int, default=2)
    options = parser.parse_args()
    first, second = (pair.split(",") for pair in (options.first, options.second))
    drawings = list(dict.fromkeys([*first, *second]))
    pictures = unpacked(options.parquet, drawings, options.size, options.out / f"pictures-{options.size}")
    text = RECIPE
    for word in ("size", "width", "steps", "batch", "split", "every"):
        text = text.replace(word.upper(), str(getattr(options, word)))
    recipe = options.out / "recipe.yaml"
    write_text(recipe, text)
    source = options.out / "first"
    run(recipe, pictures, first, source, 0)
    starts: list[Start] = [None, str(source), {"generator": str(source)}]
    runs: dict[str, list[Path]] = {name: [] for name in COLORS}
    for done, seed in enumerate(options.seeds, 1):
        for (name, made), start in zip(runs.items(), starts, strict=True):
            place = options.out / f"{name.replace(' ', '-')}-{seed}"
            made.append(run(recipe, pictures, second, place, seed, start))
        told = report(runs, options.seeds[:done], second)
        write_text(options.out / "table.md", told)
        write_text(options.out / "curves.svg", drawn(curves(runs)))
    print(told, end="")


if __name__ == "__main__":
    main()
