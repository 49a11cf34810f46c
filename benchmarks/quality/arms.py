"""What is compared: the uses, and for each the arms, all as data.

An arm is a recipe. ``PUBLISHED`` has the papers' settings, complete, at the widths of the shipped recipe and on its data: they
do not change with the recipe. ``recipe`` is the shipped file. The rungs of a ladder are dotted keys that are laid over all
rungs before them; ``TRIED`` are single changes, laid over the arm that is named first. None removes what a key held.

Steps within an arm of ``PUBLISHED`` and what is built on it (``from`` of a judge, ``frozen_until``) count thousandths of the
run: its ``train.steps`` is 1000. All lengths in steps are scaled to the number of steps that an arm makes.
"""

from dataclasses import dataclass, field
from typing import Any

Settings = dict[str, Any]


@dataclass(frozen=True)
class Use:
    """One translation that is compared. ``aligned``: truth and input show the same place, pixel by pixel.

    ``best``: the arms of which the best checkpoint is measured, and not the last. Evaluations while training are off elsewhere.
    """

    recipe: str
    to: str
    minutes: float
    published: Settings
    aligned: bool = True
    figures: tuple[str, ...] = ()
    ladder: dict[str, Settings] = field(default_factory=dict)
    tried: dict[str, tuple[str, Settings]] = field(default_factory=dict)
    best: tuple[str, ...] = ()


LAST_AND_FIRST = ("published", "recipe")

UNIT = Use(
    recipe="unit_day2night",
    to="night",
    minutes=10,
    published={
        "generator": {"name": "unit", "width": 16},
        "discriminator": {"name": "multiscale", "width": 64},
        "loss": {"name": "unit"},
        "train": {
            "generator": {"lr": 1e-4, "weight_decay": 1e-4},
            "discriminator": {"lr": 1e-4, "weight_decay": 1e-4},
            "schedule": {"name": "step", "every": 100_000, "factor": 0.5},
        },
    },
    figures=("lights",),
)

CYCLEGAN = Use(
    recipe="cyclegan_photo2oldmap",
    to="oldmap",
    minutes=10,
    aligned=False,
    published={
        "generator": {"name": "resnet", "width": 16, "blocks": 6, "upsampling": "transposed"},
        "discriminator": {"name": "patchgan", "width": 32, "norm": "instance"},
        "loss": {"name": "cyclegan"},
        "train": {
            "generator": {"lr": 2e-4},
            "discriminator": {"lr": 2e-4},
            "schedule": {"name": "constant_then_linear"},
        },
    },
)

PIX2PIX = Use(
    recipe="pix2pix_sketch2photo",
    to="day",
    minutes=10,
    published={
        "generator": {"name": "unet", "width": 32, "downs": 6, "inference": "train_mode"},
        "discriminator": {"name": "patchgan", "width": 32},
        "loss": {"name": "pix2pix"},
        "train": {
            "generator": {"lr": 2e-4},
            "discriminator": {"lr": 2e-4},
            "schedule": {"name": "constant_then_linear"},
        },
    },
    ladder={
        "inference: eval": {"generator.inference": "eval"},
        "batch 4": {"train.batch_size": 4},
        "EMA": {"train.ema": 0.995},
        "lr 5e-4 for the generator": {"train.generator.lr": 5e-4},
    },
    tried={
        "colour augmentation": ("recipe", {"train.augment": ["color"]}),
    },
)

SPADE = Use(
    recipe="spade_labels2photo",
    to="day",
    minutes=10,
    published={
        "generator": {"name": "spade", "width": 8, "hidden": 32},
        "discriminator": {"name": "spade", "width": 16, "layers": 3},
        "loss": {"name": "spade"},
        "train": {
            "generator": {"lr": 1e-4, "betas": [0, 0.9]},
            "discriminator": {"lr": 4e-4, "betas": [0, 0.9]},
            "schedule": {"name": "constant_then_linear"},
        },
    },
)

USES: dict[str, Use] = {"day2night": UNIT, "photo2oldmap": CYCLEGAN, "sketch2photo": PIX2PIX, "labels2photo": SPADE}

SEEDS = (0, 1, 2)
THREADS = 1
"""Of each training."""

EXTRACTORS = ("efficientnet_lite2",)
"""The networks whose features are compared: the first only where no judge or loss has seen one of its family."""

LUMINANCE = 0.4
"""From where on a pixel in [0, 1] is a light at night. On ``val``'s true nights 2.7 % of the pixels are, all of them cities."""
REACH = 3
"""Pixels within which two lights are the same."""
