"""How many steps a warm start saves: a CycleGAN for one pair of drawings begins with one that was trained for another pair.

One run learns the first pair. Then, for each seed, two runs learn the second pair: from random weights, and with
``train.start`` from the first run. Each measures its KID on held-out things as it goes. Finished runs are not repeated.
"""

import argparse
import io
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

import i2i
from i2i.files import write_text
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
            picture = Image.open(io.BytesIO(content)).convert("RGB").resize((size, size), Image.Resampling.LANCZOS)
            picture.save(folder / f"{row['name'].replace('/', '-')}.png")
    return out


def run(recipe: Path, pictures: Path, pair: Sequence[str], out: Path, seed: int, start: Path | None = None) -> Curve:
    """The curve of a run, which is trained or resumed unless it has ended."""
    sides = {f"dataset.{key}": f"{pictures.resolve()}/{{split}}/{name}" for key, name in zip("ab", pair, strict=True)}
    settings = {**sides, "dataset.names": list(pair), "train.seed": seed, **({"train.start": str(start)} if start else {})}
    steps = load_recipe(recipe).train.steps
    if steps not in curve(out):
        i2i.run(recipe, set=settings, out=out, resume=(out / "recipe.yaml").is_file())
    if steps not in curve(out):
        sys.exit(f"{out}: stopped before its end; the same command goes on.")
    return curve(out)


def curve(run: Path) -> Curve:
    """What a run's metrics.jsonl has."""
    found = {}
    for line in read_metrics(run / "metrics.jsonl"):
        if kids := [value for name, value in line.items() if name.startswith("eval/kid")]:
            found[int(line["step"])] = statistics.mean(kids)
    return found


def reached(curve: Curve, value: float) -> int | None:
    """The first step at which a curve is as low as *value*."""
    return next((step for step, kid in sorted(curve.items()) if kid <= value), None)


def mean(curves: Sequence[Curve]) -> Curve:
    """The mean curve."""
    return {step: statistics.mean(curve[step] for curve in curves) for step in curves[0]}


def table(random: Sequence[Curve], warm: Sequence[Curve], seeds: Sequence[int]) -> str:
    """A row for each run in Markdown, then what the warm start saves."""
    steps = sorted(random[0])
    head = ["start", "seed", *map(str, steps)]
    rows = [head, ["---"] * len(head)]
    for name, curves in (("random", random), ("warm", warm)):
        named = [(str(seed), one) for seed, one in zip(seeds, curves, strict=True)] + [("mean", mean(curves))]
        rows += [[name, seed, *(f"{one[step]:.3f}" for step in steps)] for seed, one in named]
    last = steps[-1]
    each = [reached(one, other[last]) for one, other in zip(warm, random, strict=True)]
    told = ", ".join(str(step or f"more than {last}") for step in each)
    whole = reached(mean(warm), mean(random)[last]) or f"more than {last}"
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines += ["", f"Steps until the warm start is where random weights are after {last}: {whole} (means); {told} (by seed)."]
    return "\n".join(lines) + "\n"


COLORS = {"random weights": "#b3541e", "warm start": "#1f5f8b"}


def drawn(random: Sequence[Curve], warm: Sequence[Curve], width: int = 640, height: int = 360) -> str:
    """The curves as an SVG: thin lines for seeds, thick ones for means."""
    left, top, right, bottom = 56, 16, width - 16, height - 40
    steps, most = sorted(random[0]), max(max(curve.values()) for curve in (*random, *warm))
    least = min(0.0, *(min(curve.values()) for curve in (*random, *warm)))

    def at(step: float, kid: float) -> str:
        x = left + (right - left) * step / steps[-1]
        return f"{x:.1f},{bottom - (bottom - top) * (kid - least) / (most - least):.1f}"

    parts = []
    for color, curves in zip(COLORS.values(), (random, warm), strict=True):
        for one, thick in [*((one, 1) for one in curves), (mean(curves), 3)]:
            points = " ".join(at(step, one[step]) for step in steps)
            parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="{thick}"/>')
    goal = mean(random)[steps[-1]]
    parts.append(f'<polyline points="{at(0, goal)} {at(steps[-1], goal)}" stroke="{COLORS["random weights"]}" '
                 'stroke-dasharray="4 4" fill="none"/>')  # fmt: skip
    for step in steps:
        x = at(step, least).split(",")[0]
        parts.append(f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">{step}</text>')
    for kid in (least, (least + most) / 2, most):
        y = float(at(0, kid).split(",")[1]) + 4
        parts.append(f'<text x="{left - 8}" y="{y:.1f}" text-anchor="end">{kid:.2f}</text>')
    for i, (name, color) in enumerate(COLORS.items()):
        parts.append(f'<text x="{right}" y="{top + 12 + 16 * i}" text-anchor="end" fill="{color}">{name}</text>')
    parts.append(f'<text x="{(left + right) / 2}" y="{height - 6}" text-anchor="middle">steps</text>')
    axes = f'<path d="M{left} {top}V{bottom}H{right}" fill="none" stroke="#888"/>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">'
    return f'{head}\n<rect width="100%" height="100%" fill="white"/>\n{axes}\n' + "\n".join(parts) + "\n</svg>\n"


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
    random, warm = [], []
    for done, seed in enumerate(options.seeds, 1):
        random.append(run(recipe, pictures, second, options.out / f"random-{seed}", seed))
        warm.append(run(recipe, pictures, second, options.out / f"warm-{seed}", seed, source))
        found = table(random, warm, options.seeds[:done])
        write_text(options.out / "table.md", found)
        write_text(options.out / "curves.svg", drawn(random, warm))
    print(found, end="")


if __name__ == "__main__":
    main()
