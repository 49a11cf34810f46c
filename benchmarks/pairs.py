"""The four published architectures twice: a run of ours, and the plain step of ``plain`` with the same weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import plain.cyclegan
import plain.pix2pix
import plain.spade
import plain.unit
import torch
from torch import Tensor

import i2i_cyclegan
import i2i_pix2pix
import i2i_spade
import i2i_unit
from i2i.protocols import Batch, Domain
from i2i.recipe import Recipe
from i2i.registry import Registry, hookimpl
from i2i.training.assembly import assemble
from i2i.training.state import Run

LABELS = 20
MODELS = ("pix2pix", "cyclegan", "unit", "spade")
SIZES = {"pix2pix": 256, "cyclegan": 128, "unit": 128, "spade": 128}
PLAIN: Mapping[str, Any] = {
    "pix2pix": plain.pix2pix.Step,
    "cyclegan": plain.cyclegan.Step,
    "unit": plain.unit.Step,
    "spade": plain.spade.Step,
}
RATES = {"pix2pix": (2e-4, 2e-4), "cyclegan": (2e-4, 2e-4), "unit": (1e-4, 1e-4), "spade": (1e-4, 4e-4)}


class Noise:
    """Pictures of random numbers; with *labels* the first domain is a random label map."""

    paired = True

    def __init__(self, *, size: int, labels: int = 0) -> None:
        self.size, self.labels = size, labels
        first = Domain("labels", "labels", labels) if labels else Domain("left", "image", 3)
        self.domains = {"a": first, "b": Domain("right", "image", 3)}

    def __len__(self) -> int:
        return 1000

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        a, b = (torch.rand(3, self.size, self.size) * 2 - 1 for _ in range(2))
        if self.labels:  # areas of 8 x 8 px: the labels of real pictures are no noise
            a = torch.randint(self.labels, (1, self.size // 8, self.size // 8)).repeat_interleave(8, 1).repeat_interleave(8, 2)
        return {"a": a, "b": b}


class _Plugin:
    """Registers ``Noise``."""

    @staticmethod
    @hookimpl
    def register_datasets() -> dict[str, Any]:
        return {"noise": Noise}


@dataclass(frozen=True)
class Case:
    """An architecture at a size; *depth* is the U-Net's halvings or the number of residual blocks."""

    model: str
    size: int
    width: int = 64
    batch: int = 1
    depth: int | None = None

    @property
    def deep(self) -> int:
        """The published depth; a U-Net halves no more often than the size allows."""
        if self.depth is not None:
            return self.depth
        halvings = (self.size & -self.size).bit_length() - 1
        return {"pix2pix": min(8, halvings), "cyclegan": 9, "unit": 4, "spade": 0}[self.model]

    def run(self, **train: Any) -> Run:
        """A run of ours; *train* are further settings of the recipe's section."""
        plugins = {"pix2pix": i2i_pix2pix, "cyclegan": i2i_cyclegan, "unit": i2i_unit, "spade": i2i_spade, "noise": _Plugin}
        run = assemble(Recipe.model_validate(self._recipe(train)), Registry(plugins))
        run.training_mode()
        return run

    def plain(self, run: Run) -> Any:
        """The plain step, from the run's present weights and in its number format."""
        assert run.discriminator is not None
        first = next(run.generator.parameters())
        own = {"pix2pix": {"downs": self.deep}, "spade": {"labels": LABELS}}.get(self.model, {"blocks": self.deep})
        step = PLAIN[self.model](width=self.width, **own)
        for theirs, ours in ((step.G, run.generator), (step.D, run.discriminator)):
            theirs.load_state_dict(ours.state_dict())
            theirs.to(first.device, first.dtype).train()
        return step

    def batches(self, run: Run, count: int) -> list[Batch]:
        """This number of batches in the run's number format, on its device."""
        dtype, batches = next(run.generator.parameters()).dtype, run.batches()
        return [{key: images.to(dtype) for key, images in next(batches).items()} for _ in range(count)]

    def _recipe(self, train: Mapping[str, Any]) -> dict[str, Any]:
        width, deep = {"width": self.width}, self.deep
        patches = {"name": "patchgan", "norm": "batch" if self.model == "pix2pix" else "instance", **width}
        generator, discriminator = {
            "pix2pix": ({"name": "unet", "downs": deep, **width}, patches),
            "cyclegan": ({"name": "resnet", "blocks": deep, **width}, patches),
            "unit": ({"name": "unit", "blocks": deep, **width}, {"name": "multiscale", **width}),
            "spade": ({"name": "spade", "hidden": 2 * self.width, **width}, {"name": "spade", **width}),
        }[self.model]
        data = {"name": "noise", "size": self.size, "labels": LABELS if self.model == "spade" else 0}
        betas = [0.0, 0.9] if self.model == "spade" else [0.5, 0.999]
        decay = 1e-4 if self.model == "unit" else 0.0
        players = {
            player: {"lr": rate, "betas": betas, "weight_decay": decay}
            for player, rate in zip(("generator", "discriminator"), RATES[self.model], strict=True)
        }
        settings = {"batch_size": self.batch, "workers": 0, "threads": None, **players, **train}
        return {
            "dataset": data,
            "generator": generator,
            "discriminator": discriminator,
            "loss": {"name": self.model},
            "train": settings,
        }
