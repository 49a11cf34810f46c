"""Recipes of a few seconds for tests that kill runs: eight kinds of state that a resume must bring back."""

from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console

import i2i_beside
import i2i_cyclegan
import i2i_data
import i2i_earth
import i2i_evaluate
import i2i_metrics
import i2i_objectives
import i2i_pix2pix
import i2i_spade
import i2i_unit
import i2i_watch
import toy
from i2i.recipe import load_recipe
from i2i.registry import Registry
from i2i_data.pack import pack

COMMON = """
train: {steps: 8, batch_size: 1, seed: 3, ema: 0.9, workers: WORKERS}
samples: {every: 4, count: 1}
checkpoint: {every: 2, keep_last: 2}
log: {every: 1, trackers: []}
"""
RECIPES = {
    "pix2pix": """
dataset: {name: stripes, size: 32}
generator: {name: unet, width: 2, downs: 5}
discriminator: {name: patchgan, width: 2, layers: 2}
loss: {name: pix2pix}
""",
    "cyclegan": """
dataset: {name: stripes, size: 16, paired: false}
generator: {name: resnet, width: 2, blocks: 1}
discriminator: {name: patchgan, width: 2, layers: 1, norm: instance}
loss: {name: cyclegan, pool: 4}
""",
    "unit": """
dataset: {name: stripes, size: 32, paired: false}
generator: {name: unit, width: 2, downs: 1, blocks: 1}
discriminator: {name: multiscale, width: 2, layers: 2, scales: 2}
loss: {name: unit}
""",
    "spade": """
dataset: {name: stripes, size: 64}
generator: {name: spade, width: 1, hidden: 4, vae: true, style_size: 4, encoder_width: 1}
discriminator: {name: spade, width: 2, layers: 2}
loss: {name: spade, vae: true}
""",
}
JUDGES = """
dataset: {name: stripes, size: 16, paired: false}
generator: {name: resnet, width: 2, blocks: 1}
discriminator:
- {name: patchgan, width: 2, layers: 1, norm: instance}
- {name: patchgan, width: 4, layers: 1, norm: instance, weight: 0.5, from: 4}
loss: {name: cyclegan, pool: 2}
"""
PENALTY = """
dataset: {name: stripes, size: 32}
generator: {name: unet, width: 2, downs: 5}
discriminator: {name: patchgan, width: 2, layers: 2, norm: instance}
loss: [{name: pix2pix}, {name: penalty, at: [real, fake], every: 2}]
"""
LABELS = """
dataset: {name: earth, a: labels, b: day, paired: true, crop: 32}
generator: {name: unet, width: 2, downs: 5}
discriminator: {name: patchgan, width: 2, layers: 2}
loss: {name: pix2pix}
evaluate: {metrics: [l1], every: 3, keep_best: l1, images: 2}
"""
STREAM = """
dataset: {name: hub, source: PACK, columns: [imageA, imageB], streaming: true, samples: 10, shuffle_buffer: 4}
generator: {name: unet, width: 2, downs: 5}
discriminator: {name: patchgan, width: 2, layers: 2}
loss: {name: pix2pix}
"""
TEXTS = {
    **{name: text + COMMON for name, text in RECIPES.items()},
    "judges": JUDGES + COMMON,
    "penalty and ADA": PENALTY
    + COMMON.replace("seed: 3", "seed: 3, augment: {kinds: [color, translation], every: 2, images: 20}"),
    "labels and best": LABELS + COMMON,
    "stream of a pack": STREAM + COMMON,
}
"""Eight recipes."""
LAUNCHED = """
dataset: {name: earth, a: day, b: night, paired: false, crop: 32}
generator: {name: resnet, width: 4, blocks: 1}
discriminator: {name: patchgan, width: 4, layers: 2, norm: instance}
loss: {name: cyclegan, pool: 4}
train: {steps: 60, batch_size: 1, seed: 3, ema: 0.9, workers: 1}
samples: {every: 30, count: 1}
checkpoint: {every: 10, keep_last: 2}
log: {every: 1, trackers: []}
"""

_OURS = (
    i2i_beside, i2i_cyclegan, i2i_data, i2i_earth, i2i_evaluate, i2i_metrics, i2i_objectives, i2i_pix2pix, i2i_spade, i2i_unit,
    i2i_watch,
)  # fmt: skip


def registry() -> Registry:
    """Toys, and what the recipes name."""
    return Registry(plugins={"toys": toy, **{module.__name__.removeprefix("i2i_"): module for module in _OURS}})


def packed(folder: Path) -> None:
    """Ten pairs in shards of four."""
    random_ = np.random.default_rng(0)
    for side in "ab":
        (folder / side).mkdir(parents=True)
        for i in range(10):
            Image.fromarray(random_.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(folder / side / f"{i}.png")
    text = (
        f"dataset: {{name: folders, a: {folder / 'a'}, b: {folder / 'b'}, paired: true}}\n"
        + RECIPES["pix2pix"].split("\n", 2)[2]
    )
    (folder / "sides.yaml").write_text(text)
    found = registry()
    pack(load_recipe(folder / "sides.yaml", [], found), found, folder / "packed", 4, Console(quiet=True))
