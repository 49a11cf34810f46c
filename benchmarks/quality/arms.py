"""What is compared: the uses, and for each the arms, all as data.

An arm is a recipe. ``PUBLISHED`` has the papers' settings, complete, at the widths of the shipped recipe and on its data: they
do not change with the recipe. ``recipe`` is the shipped file. The rungs of a ladder are dotted keys that are laid over all
rungs before them; ``TRIED`` are single changes, laid over the arm that is named first. None removes what a key held.

Steps within an arm of ``PUBLISHED`` and what is built on it (``from`` of a judge, ``frozen_until``) count thousandths of the
run: its ``train.steps`` is 1000. All lengths in steps are scaled to the number of steps that an arm makes.

The last rung stands for the step before the recipe: what the two differ by is the recipe's last technique. ``quality.py show``
prints what each arm changes, and so whether the ladder still leads to the recipe.
"""

from dataclasses import dataclass, field
from typing import Any

Settings = dict[str, Any]


@dataclass(frozen=True)
class Use:
    """One translation that is compared. ``aligned``: truth and input show the same place, pixel by pixel.

    ``whole``: pictures are compared whole, as there are enough of them, and not by crops. ``figures`` are further ones:
    ``lights``, ``retrieval`` (of uses whose truths are true in name only).
    ``best``: the arms of which the best checkpoint is measured, and not the last. Evaluations while training are off elsewhere.
    """

    recipe: str
    to: str
    minutes: float
    published: Settings
    aligned: bool = True
    whole: bool = False
    figures: tuple[str, ...] = ()
    ladder: dict[str, Settings] = field(default_factory=dict)
    tried: dict[str, tuple[str, Settings]] = field(default_factory=dict)
    best: tuple[str, ...] = ()


FROZEN: Settings = {"name": "timm", "weights": "bundled", "width": 32}
"""A judge that looks through a trained network."""
PATCHES: Settings = {"name": "multiscale", "width": 64, "layers": 2}
FEATURES: Settings = {
    "name": "perceptual",
    "backbone": "tf_efficientnet_lite0",
    "layers": [0, 1, 2, 3],
    "weights": "bundled",
    "weight": 0.5,
}
"""A perceptual loss."""
ADAPTIVE: Settings = {"kinds": ["color", "translation", "cutout"]}
"""With the published target; ``images`` beside it is about a quarter of those that the discriminator sees of a domain."""
AVERAGE: Settings = {"train.ema": 0.995}
NO_AVERAGE: Settings = {"train.ema": None}
R1: Settings = {"name": "penalty", "every": 4}

UNIT = Use(
    recipe="unit_day2night",
    to="night",
    minutes=3,
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
    ladder={
        "batch 2, lr 5e-4, falling": {
            "train.batch_size": 2,
            "train.generator": {"lr": 5e-4},
            "train.discriminator": {"lr": 5e-4},
            "train.schedule": {"name": "constant_then_linear"},
        },
        "EMA": {"train.ema": 0.995},
        "full size, less noise": {
            "generator.downs": 0,
            "generator.blocks": 3,
            "generator.noise": 0.1,
            "discriminator.layers": 2,
            "loss": {"name": "unit", "gan": 4, "kl": 0.1, "cycle": 5, "cycle_kl": 0.1},
        },
        "layer norm, light stays light": {"generator.norm": "layer", "generator.brightness_start": True},
    },
    tried={
        "two judges": ("layer norm, light stays light", {"discriminator": [PATCHES, FROZEN]}),
        "with EMA": ("recipe", AVERAGE),
        "best checkpoint": ("recipe", {"evaluate.keep_best": "swd"}),
        "adaptive augmentation": ("recipe", {"train.augment": {**ADAPTIVE, "images": 200}}),
        "R1": ("recipe", {"loss": [{"name": "unit", "objective": "hinge", "kl": 0.1, "cycle": 5, "cycle_kl": 0.1}, R1]}),
    },
    best=("best checkpoint",),
)

PATCH: Settings = {"name": "patchgan", "width": 32, "norm": "instance"}
SHORT: Settings = {
    "generator.upsampling": "resize",
    "train.generator": {"lr": 4e-4},
    "train.discriminator": {"lr": 4e-4},
    "train.ema": 0.995,
}
"""What a short run of CycleGAN needs."""
START: Settings = {"generator.residual": True, "loss.identity": 0, "loss.cycle": 1, "train.generator.lr": 1e-3}
"""The picture itself at first, free to change."""
BATCH: Settings = {**START, "generator.norm": "batch", "train.batch_size": 4}


def _rising(to: float) -> Settings:
    return {"generator.residual": True, "loss.identity": 0, "loss.cycle": {"from": 0, "to": to, "until": 0.5}}


CYCLEGAN = Use(
    recipe="cyclegan_photo2oldmap",
    to="oldmap",
    minutes=3,
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
    ladder={"resize, lr 4e-4, EMA, cycle 20": {**SHORT, "loss.cycle": 20}},
    tried={
        "residual, batch norm, two judges": (
            "resize, lr 4e-4, EMA, cycle 20",
            {**BATCH, "discriminator": [PATCH, FROZEN]},
        ),
        "two judges": ("recipe", {"discriminator": [PATCH, FROZEN]}),
        "no EMA": ("recipe", NO_AVERAGE),
        "best checkpoint": ("recipe", {"evaluate.keep_best": "swd"}),
    },
    best=("best checkpoint",),
)

PIX2PIX = Use(
    recipe="pix2pix_sketch2photo",
    to="day",
    minutes=3,
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
    tried={
        "patches, batch 4": ("recipe", {"discriminator": {"name": "patchgan", "width": 32}, "train.batch_size": 4}),
        "no EMA": ("recipe", NO_AVERAGE),
    },
)

SOFTER: Settings = {"name": "pix2pix", "gan": 0, "l1": 10}

SPADE = Use(
    recipe="spade_labels2photo",
    to="day",
    minutes=3,
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
    ladder={
        "batch 4, lr 4e-4, EMA, L1": {
            "train.batch_size": 4,
            "train.generator": {"lr": 4e-4, "betas": [0, 0.9]},
            "train.ema": 0.995,
            "loss": [{"name": "spade"}, {"name": "pix2pix", "gan": 0, "l1": 30}],
        },
    },
    tried={
        "perceptual": ("batch 4, lr 4e-4, EMA, L1", {"loss": [{"name": "spade"}, SOFTER, FEATURES]}),
        "perceptual, two judges": (
            "batch 4, lr 4e-4, EMA, L1",
            {
                "loss": [{"name": "spade"}, SOFTER, FEATURES],
                "discriminator": [{"name": "spade", "width": 16, "layers": 3}, FROZEN],
            },
        ),
        "frozen judge": ("batch 4, lr 4e-4, EMA, L1", {"loss": [{"name": "spade"}, SOFTER], "discriminator": FROZEN}),
        "with EMA": ("recipe", AVERAGE),
    },
)

INK = Use(
    recipe="pix2pix_ink2glossy",
    to="glossy",
    minutes=3,
    whole=True,
    published=PIX2PIX.published,
    ladder={
        "inference: eval": {"generator.inference": "eval"},
        "batch 4, lr 5e-4": {"train.batch_size": 4, "train.generator": {"lr": 5e-4}},
        "EMA": {"train.ema": 0.995},
        "perceptual, no EMA": {"train.ema": None, "loss": [{"name": "pix2pix", "l1": 20}, FEATURES]},
    },
    tried={
        "with EMA": ("perceptual, no EMA", AVERAGE),
        "best checkpoint": ("perceptual, no EMA", {"evaluate": {"every": 200, "metrics": ["psnr"], "keep_best": "psnr"}}),
        "adaptive augmentation": ("perceptual, no EMA", {"train.augment": {**ADAPTIVE, "images": 1200}}),
    },
    best=("best checkpoint",),
)

NOTO = Use(
    recipe="cyclegan_noto2flat",
    to="flat",
    minutes=3,
    aligned=False,
    whole=True,
    published=CYCLEGAN.published,
    figures=("retrieval",),
    ladder={"resize, lr 4e-4, EMA": SHORT},
    tried={
        "residual, cycle rises to 10": ("resize, lr 4e-4, EMA", _rising(10)),
        "residual, cycle rises to 3, two judges": (
            "resize, lr 4e-4, EMA",
            {**_rising(3), "discriminator": [PATCH, FROZEN]},
        ),
        "residual, cycle 1": ("resize, lr 4e-4, EMA", START),
        "residual, cycle 1, frozen judge": ("resize, lr 4e-4, EMA", {**START, "discriminator": FROZEN}),
        "residual, cycle 1, two judges": ("resize, lr 4e-4, EMA", {**START, "discriminator": [PATCH, FROZEN]}),
        "residual, no norm, two judges": (
            "resize, lr 4e-4, EMA",
            {**START, "generator.norm": "none", "discriminator": [PATCH, FROZEN]},
        ),
        "residual, batch norm": ("resize, lr 4e-4, EMA", BATCH),
        "residual, batch norm, frozen judge": ("resize, lr 4e-4, EMA", {**BATCH, "discriminator": FROZEN}),
        "no EMA": ("recipe", NO_AVERAGE),
        "best checkpoint": ("recipe", {"evaluate.keep_best": "swd"}),
    },
    best=("best checkpoint",),
)

USES: dict[str, Use] = {
    "day2night": UNIT,
    "photo2oldmap": CYCLEGAN,
    "sketch2photo": PIX2PIX,
    "labels2photo": SPADE,
    "ink2glossy": INK,
    "noto2flat": NOTO,
}

SEEDS = (0, 1, 2)
THREADS = 1
"""Of each training."""

EXTRACTORS = {"thin_resnet50": "thin_resnet", "efficientnet_lite2": "efficientnet_lite"}
"""The networks whose features are compared, and the word by which a recipe is known that uses one of the same family: a figure
by features that a judge or a loss has seen is marked."""

LUMINANCE = 0.4
"""From where on a pixel in [0, 1] is a light at night. On ``val``'s true nights 2.7 % of the pixels are, all of them cities."""
REACH = 3
"""Pixels within which two lights are the same."""
