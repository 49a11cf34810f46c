"""The parts of a recipe for each method: as published on a GPU, and small enough for a CPU otherwise."""

from dataclasses import dataclass
from typing import Any

from i2i.errors import UserError
from i2i_new.found import Found

METHODS = ("cyclegan", "unit", "pix2pix", "spade")
NEEDS_PAIRS = ("pix2pix", "spade")
WANTED = {"cyclegan": 2000, "unit": 800, "pix2pix": 1500, "spade": 1000}
"""The number of steps from which the recipes on the Earth sample show something."""
LONG = 20_000
"""From this number of steps on the published learning rates are taken; shorter runs take higher ones."""
DIVISORS = {"cyclegan": 4, "unit": 4, "pix2pix": 4, "spade": 32}
"""What a side must be a multiple of. A U-Net's depth follows the size."""


@dataclass(frozen=True)
class Said:
    """A value and its reason, a comment in the recipe."""

    value: Any
    why: str


def chosen_method(found: Found, given: str | None, size: int) -> tuple[str, str]:
    """The method, and why.

    Raises:
        UserError: the one that was given needs pairs, and there are none.
    """
    if given is not None:
        if given in NEEDS_PAIRS and not found.paired:
            raise UserError(f"--method {given}: it needs pairs. {found.why[0]} Methods without: cyclegan, unit.")
        return given, "as given"
    if found.labels and size >= DIVISORS["spade"]:
        return "spade", "for label maps and their pictures"
    if found.paired:
        return "pix2pix", "for pairs of pictures"
    return "cyclegan", "for pictures that are not paired"


def multiple_for(method: str, size: int) -> int:
    """The largest side up to *size* that the method's networks take; 0 if there is none."""
    return size // DIVISORS[method] * DIVISORS[method]


def batch_of(method: str, count: int, gpu: bool) -> int:
    """Pictures in a batch, no more than there are."""
    wanted = {"cyclegan": 1, "unit": 1, "pix2pix": 1 if gpu else 4, "spade": 4}[method]
    return max(1, min(wanted, count))


def networks(method: str, size: int, gpu: bool) -> dict[str, Any]:
    """``generator``, ``discriminator`` and ``loss``, with reasons where they differ from what was published."""
    generator, discriminator, loss = _published(method, size) if gpu else _small(method, size)
    return {"generator": {"name": _NAMES[method][0], **generator}, "discriminator": discriminator, "loss": loss}


_NAMES = {"cyclegan": ("resnet",), "unit": ("unit",), "pix2pix": ("unet",), "spade": ("spade",)}
_WIDTH = "published: 64"


def _published(method: str, size: int) -> tuple[dict[str, Any], dict[str, Any], Any]:
    if method == "cyclegan":
        blocks = Said(9 if size >= 256 else 6, "as published: 9 from 256 px on, 6 below")
        return {"blocks": blocks, "upsampling": "resize"}, _patches(size), {"name": "cyclegan"}
    if method == "unit":
        return {}, {"name": "multiscale", "layers": _layers(size, 4)}, {"name": "unit"}
    if method == "pix2pix":
        return {"downs": _downs(size)}, {**_patches(size), "norm": "batch"}, {"name": "pix2pix"}
    l1 = {"name": "pix2pix", "gan": 0, "l1": 30}  # the published perceptual term needs VGG19's weights
    return {}, {"name": "spade", "layers": _layers(size, 4)}, [{"name": "spade"}, l1]


def _small(method: str, size: int) -> tuple[dict[str, Any], dict[str, Any], Any]:
    if method == "cyclegan":
        small: dict[str, Any] = {"width": Said(16, f"{_WIDTH}, about 16 times as much to compute")}
        small |= {"blocks": Said(6, "published: 9, and 6 below 256 px")}
        small |= {"upsampling": Said("resize", "published: transposed; resizing leaves no checkerboard")}
        return small, {**_patches(size), "width": Said(32, _WIDTH)}, {"name": "cyclegan"}
    if method == "unit":
        small = {"width": Said(16, _WIDTH), "downs": Said(1, "published: 2; details get through sooner"), "blocks": 3}
        small |= {"noise": Said(0.1, "published: 1, which blurs for the first many thousand steps")}
        loss = {"name": "unit", "gan": Said(4, "published: 1"), "kl": Said(0.1, "published: 0.01, for ten times the noise")}
        return small, {"name": "multiscale", "layers": _layers(size, 2)}, {**loss, "cycle_kl": 0.1}
    if method == "pix2pix":
        small = {"width": Said(32, _WIDTH), "downs": Said(_downs(size), "published: 8, for 256 px")}
        small |= {"inference": Said("eval", "published: train_mode, each picture by its own statistics")}
        return small, {**_patches(size), "norm": "batch", "width": Said(32, _WIDTH)}, {"name": "pix2pix"}
    small = {"width": Said(8, _WIDTH), "hidden": Said(32, "published: 128")}
    l1 = {"name": "pix2pix", "gan": 0, "l1": 30}
    judge = {"name": "spade", "width": Said(16, _WIDTH), "layers": _layers(size, 3)}
    return small, judge, [{"name": "spade"}, Said(l1, "published: a perceptual term in its place, which needs VGG19's weights")]


def rates(method: str, steps: int) -> dict[str, Any]:
    """The learning rates of both players."""
    quick = {"cyclegan": (4e-4, 4e-4), "unit": (5e-4, 5e-4), "pix2pix": (5e-4, 2e-4), "spade": (4e-4, 4e-4)}[method]
    published = {"cyclegan": (2e-4, 2e-4), "unit": (1e-4, 1e-4), "pix2pix": (2e-4, 2e-4), "spade": (1e-4, 4e-4)}[method]
    betas = {"betas": [0, 0.9]} if method == "spade" else {}
    if steps >= LONG:
        return {"generator": {"lr": published[0], **betas}, "discriminator": {"lr": published[1], **betas}}
    why = f"published: {published[0]:g}, for long runs"
    generator: Any = Said({"lr": quick[0], **betas}, why) if quick[0] != published[0] else {"lr": quick[0], **betas}
    other = f"published: {published[1]:g}, for long runs"
    discriminator: Any = Said({"lr": quick[1], **betas}, other) if quick[1] != published[1] else {"lr": quick[1], **betas}
    return {"generator": generator, "discriminator": discriminator}


def _downs(size: int) -> int:
    """How often the side can be halved, at most the published 8 times."""
    return min(8, (size & -size).bit_length() - 1)


def _layers(size: int, most: int) -> int:
    """Convolutions that halve the size, so that the judge of the smallest pictures still sees something."""
    return max(1, min(most, size.bit_length() - 3))


def _patches(size: int) -> dict[str, Any]:
    layers = _layers(size, 3)
    return {"name": "patchgan", "norm": "instance", **({"layers": layers} if layers != 3 else {})}
