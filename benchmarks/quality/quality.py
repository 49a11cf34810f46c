"""Trains the shipped recipes and the same architectures with the published settings, from several seeds, and compares them.

    python benchmarks/quality/quality.py OUT [--recipes NAME …] [--seeds 3] [--scale 0.25 unit_day2night=1] [--table FILE]

Both see the same number of pictures: the recipe's steps times its batch size, times ``--scale``, which can also be given for
a single recipe (1 is sized for two CPU cores; on a GPU use 20, and full widths with ``--set``). All are evaluated on the
64 px tiles of the columns of ``--splits``. A training that has figures under OUT is not repeated, so that a long table can be
made in parts. A run that was stopped is resumed.
"""

import argparse
import json
import shutil
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rich.console import Console

from i2i.files import write_text
from i2i.recipe import load_recipe
from i2i.registry import default_registry
from i2i.training.running import run_recipe
from i2i_evaluate.evaluation import evaluate_model, read_result

RECIPES = Path(__file__).parents[2] / "recipes"
Row = tuple[str, str, list[dict[str, float]]]
HELD_OUT = ("dataset.crop=64", "dataset.max_ocean=0.95")
BOTH = {"train.ema": None, "train.schedule": {"name": "constant"}, "train.batch_size": 1}
PUBLISHED: dict[str, dict[str, Any]] = {
    "unit_day2night": {
        **BOTH,
        "generator": {"name": "unit", "width": 16},
        "discriminator": {"name": "multiscale", "width": 64},
        "loss": {"name": "unit"},
        "train.generator": {"lr": 1e-4, "weight_decay": 1e-4},
        "train.discriminator": {"lr": 1e-4, "weight_decay": 1e-4},
        "train.schedule": {"name": "step", "every": 100_000, "factor": 0.5},
    },
    "pix2pix_sketch2photo": {
        **BOTH,
        "generator.inference": "train_mode",
        "train.generator": {"lr": 2e-4},
        "train.schedule": {"name": "constant_then_linear"},
    },
    "spade_labels2photo": {
        **BOTH,
        "loss": {"name": "spade"},
        "train.generator.lr": 1e-4,
        "train.schedule": {"name": "constant_then_linear"},
    },
    "cyclegan_photo2oldmap": {
        **BOTH,
        "generator.upsampling": "transposed",
        "loss.cycle": 10,
        "train.generator": {"lr": 2e-4},
        "train.discriminator": {"lr": 2e-4},
        "train.schedule": {"name": "constant_then_linear"},
    },
}
"""What the papers' programs set otherwise than the recipe, at the recipe's widths and on its data."""
TRANSLATES: dict[str, tuple[str, tuple[str, ...]]] = {"pix2pix_sketch2photo": ("inference", ("eval", "train_mode"))}
"""An option of the generator that changes how it translates and not how it trains: each model is evaluated with all values."""

PAGE = """# Quality

This page compares the shipped recipes with the same architectures, at the same widths, trained with the papers' settings
(`PUBLISHED` in `benchmarks/quality/quality.py` lists them). Both were trained on the same number of pictures, this fraction
of the recipe's budget:
{scales}. The figures are from 64 px tiles of held-out places:
mean ± standard deviation over {seeds} seeds. Each picture is translated alone, as by `i2i translate`.

    {command}

**How the settings were chosen.** We chose the recipes' settings by their figures on `test`, partly with the same seeds:
CycleGAN's after at least one trial, pix2pix's after at least two, SPADE's after at least four, UNIT's after more than ten.
The papers' settings were not tuned to this sample. So the `test` figures flatter the recipes. `val` consists of other
places, which played no part in the choice, so it is the fairer comparison. UNIT is an exception: we chose its
`brightness_start`, loss weights, learning rates and number of steps later, by both splits and with the seeds 0, 1, 10 and
11, after about thirty trials.

{tables}

Rows with `inference` use the weights of the row above with the other mode of inference.

`kid[efficientnet_lite0]` is a distance between the sets of pictures; lower is better. Its features are not those of the
papers, so it cannot be compared with their figures. `psnr` (dB) and `ssim` measure the similarity to the true picture;
higher is better. `cycle` is the mean absolute error of a picture translated there and back, `identity` that of translating
a picture that is already in the target domain; lower is better.
"""


def main() -> None:
    """Train what is missing, evaluate it, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--recipes", nargs="+", choices=sorted(PUBLISHED), default=sorted(PUBLISHED))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--scale", nargs="+", default=["1"], metavar="[NAME=]SHARE", help="share of the recipe's pictures to train on"
    )
    parser.add_argument("--splits", nargs="+", choices=("val", "test"), default=["val", "test"])
    parser.add_argument(
        "--set", dest="sets", action="append", default=[], metavar="KEY=VALUE", help="replace a value in all recipes"
    )
    parser.add_argument("--table", type=Path, help="write the table to this file")
    options = parser.parse_args()
    rows: dict[str, list[Row]] = {split: [] for split in options.splits}
    for name in options.recipes:
        for variant, settings in (("recipe", {}), ("published settings", PUBLISHED[name])):
            folders = [options.out / name / variant.split()[0] / str(seed) for seed in range(options.seeds)]
            for seed, folder in enumerate(folders):
                trained(name, folder, {**settings, "train.seed": seed}, options)
            for split in options.splits:
                for value in ("", *others(name, folders[0])):
                    shown = f"{variant}, {TRANSLATES[name][0]}: {value}" if value else variant
                    rows[split].append((name, shown, [figures(folder, split, value) for folder in folders]))
    text = page(rows, options)
    print(text)
    if options.table:
        write_text(options.table, text)


def trained(name: str, folder: Path, settings: dict[str, Any], options: argparse.Namespace) -> None:
    """Train and evaluate one model, unless its figures are there."""
    missing = [split for split in options.splits if not evaluation(folder, split).exists()]
    if not missing:
        return
    path, registry = RECIPES / f"{name}.yaml", default_registry()
    given = [*options.sets, *(f"{key}={json.dumps(value)}" for key, value in settings.items())]
    own, batch = load_recipe(path, options.sets).train, load_recipe(path, given).train.batch_size
    steps = round(scale(name, options) * own.steps * own.batch_size / batch)
    recipe = load_recipe(path, [*given, f"train.steps={steps}"], registry)
    if not any(folder.glob("evaluation-*.json")):
        run_recipe(recipe, folder, registry, resume=(folder / "recipe.yaml").exists(), console=Console(stderr=True))
    to = name.rpartition("2")[2].replace("photo", "day")
    aligned = to != "oldmap"  # the map of 1689 shows places elsewhere: no pairs
    held_out = [*HELD_OUT, f"dataset.paired={str(aligned).lower()}"]
    metrics = ["kid", "psnr", "ssim"] if aligned else ["kid", "cycle", "identity"]
    for split in missing:
        for value in (*others(name, folder), ""):  # what says that all is done is written last
            model = changed(name, folder, value) if value else folder / "model"  # the last, not the best
            result = evaluate_model(model, registry, data=path, overrides=held_out, metrics=metrics, to=to, split=split)
            write_text(evaluation(folder, split, value), json.dumps(result.to_json(), indent=1) + "\n")


def evaluation(folder: Path, split: str, value: str = "") -> Path:
    """The file with the figures of a model, or of its weights with another value of the option in ``TRANSLATES``."""
    return folder / f"evaluation-{split}{value and '-'}{value}.json"


def others(name: str, folder: Path) -> list[str]:
    """The values of that option which the model does not have."""
    option, values = TRANSLATES.get(name, ("", ()))
    own = json.loads((folder / "model" / "config.json").read_text())["generator"]["options"].get(option)
    return [value for value in values if value != own]


def changed(name: str, folder: Path, value: str) -> Path:
    """A copy of the model whose option has this value."""
    copy = folder / f"model-{value}"
    shutil.copytree(folder / "model", copy, dirs_exist_ok=True)
    config = json.loads((copy / "config.json").read_text())
    config["generator"]["options"][TRANSLATES[name][0]] = value
    write_text(copy / "config.json", json.dumps(config))
    return copy


def scale(name: str, options: argparse.Namespace) -> float:
    """The share of its number of pictures that a recipe sees: the last value given for it or for all."""
    shares = [("", "", "1"), *(text.rpartition("=") for text in options.scale)]
    if unknown := [recipe for recipe, _, _ in shares if recipe and recipe not in PUBLISHED]:
        raise SystemExit(f"--scale: there is no recipe {unknown[0]}. Choose one of {', '.join(sorted(PUBLISHED))}.")
    return float([share for recipe, _, share in shares if recipe in ("", name)][-1])


def figures(folder: Path, split: str, value: str) -> dict[str, float]:
    """One model's figures by name."""
    return {figure.name: figure.value for figure in read_result(evaluation(folder, split, value)).figures}


def page(rows: dict[str, list[Row]], options: argparse.Namespace) -> str:
    """The page: what was compared and how, and a table for each split."""
    sets = "".join(f" --set {pair}" for pair in options.sets)
    command = f"python benchmarks/quality/quality.py OUT --seeds {options.seeds} --scale {' '.join(options.scale)}{sets}"
    scales = ", ".join(f"{scale(name, options):g} {name.partition('_')[0]}" for name in options.recipes)
    tables = "\n\n".join(f"## On `{split}`\n\n{table(found)}" for split, found in rows.items())
    return PAGE.format(scales=scales, seeds=options.seeds, command=command, tables=tables)


def table(rows: list[Row]) -> str:
    """Mean ± standard deviation over the seeds."""
    names = sorted({name for _, _, found in rows for name in found[0]})
    lines = [f"| recipe | settings | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
    for recipe, variant, found in rows:
        cells = [spread([figure[name] for figure in found]) if name in found[0] else "" for name in names]
        lines.append(f"| {recipe} | {variant} | {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    """``21.3 ± 0.2``; the mean alone for a single value."""
    return f"{mean(values):.4g}" + (f" ± {stdev(values):.2g}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
