"""A plugin of toys: the smallest data set, networks and losses that exercise the core."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from rich.console import Console
from torch import Tensor, nn

from i2i.adapters import per_direction, per_domain
from i2i.metrics import Figure
from i2i.objectives import Adversarial, gradient_penalty
from i2i.protocols import Batch, Discriminator, Domain, Generator, Images, Needs, Terms
from i2i.recipe import Recipe, load_recipe
from i2i.registry import Registry, hookimpl
from i2i.training.running import run_recipe
from i2i.training.state import Run
from i2i.translation.checkpoints import BEST
from i2i_objectives.plain import LeastSquares


class Stripes:
    """Pictures of one random grey each; b is the negative of a. (3, size, size)."""

    def __init__(self, *, size: int = 16, paired: bool = True, length: int = 10, split: str = "train") -> None:
        self.size, self.paired, self.length, self.split = size, paired, length, split
        self.domains = {"a": Domain("plain", "image", 3), "b": Domain("negative", "image", 3)}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        a = torch.rand(3, self.size, self.size) * 2 - 1
        return {"a": a, "b": -a if self.paired else torch.rand_like(a) * 2 - 1}


class ToyNet(nn.Module):
    """Two convolutions."""

    divisor = 4

    def __init__(self, in_channels: int, out_channels: int, *, width: Annotated[int, Field(ge=1, le=64)] = 4) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Conv2d(width, out_channels, 1),
            nn.Tanh(),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y


class ToyJudge(nn.Module):
    """One convolution to logits."""

    def __init__(self, in_channels: int, *, width: int = 4) -> None:
        super().__init__()
        self.features = nn.Conv2d(in_channels, width, 4, 2, 1)
        self.logits = nn.Conv2d(width, 1, 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        h = self.features(x)
        return [h, self.logits(h.relu())]


class ToyLoss(nn.Module):
    """Adversarial and L1 terms for a → b; ``memory`` is state that a checkpoint must carry."""

    networks: tuple[str, ...] = ("head",)

    def __init__(
        self,
        *,
        domains: Mapping[str, Domain],
        order: Literal["generator_first", "discriminator_first"] = "generator_first",
        fresh_fakes: bool = False,
        paired: bool = True,
        conditional: bool = True,
        adversarial: bool = True,
        penalty: float = 0.0,
        extra: str | None = None,
        verdict: str | None = None,
        explode_at: int | None = None,
    ) -> None:
        super().__init__()
        self.penalty, self.adversarial = penalty, Adversarial(LeastSquares())
        self.order, self.fresh_fakes, self.conditional, self.explode_at = order, fresh_fakes, conditional, explode_at
        owed = {"extras": frozenset({extra} if extra else ()), "verdict": frozenset({verdict} if verdict else ())}
        self.needs = Needs((("a", "b"),), paired, conditional, adversarial, **owed)
        self.head = nn.Conv2d(3, 3, 1)
        self.memory: Tensor
        self.register_buffer("memory", torch.zeros(()))

    def translate(self, G: Generator, batch: Batch) -> Images:
        return {"fake": G(batch["a"], "a", "b").image}

    def fakes(self, G: Generator, batch: Batch, images: Images) -> Images:
        return self.translate(G, batch)

    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        self.memory += 1
        terms = {"l1": (self.head(images["fake"]) - batch["b"]).abs().mean()}
        if self.needs.adversarial:
            terms["gan"] = self.adversarial.generator(D(images["fake"], "b", self._condition(batch)))
        if self.explode_at is not None and self.memory.item() == self.explode_at:
            terms["l1"] = terms["l1"] * float("nan")
        return terms

    def discriminator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        condition = self._condition(batch)
        terms = self.adversarial.discriminator(D(batch["b"], "b", condition), D(images["fake"], "b", condition))
        if self.penalty:
            judge = lambda x: D(x, "b", condition)  # noqa: E731
            terms["penalty"] = gradient_penalty(judge, batch["b"], images["fake"], weight=self.penalty)
        return terms

    def _condition(self, batch: Batch) -> Tensor | None:
        return batch["a"] if self.conditional else None


def _fails(*, domains: Any, directions: Any, width: int = 4) -> nn.Module:
    raise RuntimeError("the constructor broke")


@hookimpl
def register_datasets() -> dict[str, Any]:
    return {"stripes": Stripes}


@hookimpl
def register_generators() -> dict[str, Any]:
    return {"toy": per_direction(ToyNet), "fails": _fails}


@hookimpl
def register_discriminators() -> dict[str, Any]:
    return {"judge": per_domain(ToyJudge, features=True)}


@hookimpl
def register_losses() -> dict[str, Any]:
    return {"toy": ToyLoss}


def registry(**others: Any) -> Registry:
    """A registry that holds this module, the objectives, and other plugins by their names."""
    import i2i_objectives
    import toy

    return Registry(plugins={"toys": toy, "objectives": i2i_objectives, **others})


RECIPE = """\
dataset: {name: stripes}
generator: {name: toy}
discriminator: {name: judge}
loss: {name: toy}
train: {steps: 6, batch_size: 2, seed: 1, ema: 0.9}
samples: {every: 3, count: 2}
checkpoint: {every: 2}
log: {every: 1, trackers: []}
"""


def recipe(folder: Path, *overrides: str, text: str = RECIPE, plugins: Registry | None = None) -> Recipe:
    """The recipe *text*, written into the folder as toy.yaml and read with the overrides."""
    path = folder / "toy.yaml"
    path.write_text(text)
    return load_recipe(path, overrides, plugins or registry())


def trained(
    folder: Path,
    *overrides: str,
    out: str = "out",
    text: str = RECIPE,
    plugins: Registry | None = None,
    resume: bool = False,
    watcher: object | None = None,
) -> Run:
    """A run of that recipe in the folder *out*; the hooks of *watcher* are called too."""
    plugins = plugins or registry()
    checked = recipe(folder, *overrides, text=text, plugins=plugins)
    with plugins.subscribed(*([watcher] if watcher else [])):
        return run_recipe(checked, folder / out, plugins, resume=resume, console=Console(quiet=True))


def with_best(run: Path, step: int = 3) -> Path:
    """The run folder with a best model, made up from its last one: psnr 20 and l1 0.1; the last has psnr 12.5."""
    shutil.copytree(run / "model", run / "best")
    protocol = {"direction": "plain → negative", "split": "val", "pictures": 4}
    figures = [Figure("psnr", 20.0, "higher", protocol), Figure("l1", 0.1, "lower", protocol)]
    best = {"keep_best": "psnr", "value": 20.0, "step": step, "figures": [figure.to_json() for figure in figures]}
    (run / "best" / BEST).write_text(json.dumps(best))
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 6, "eval/psnr": 12.5}) + "\n")
    return run
