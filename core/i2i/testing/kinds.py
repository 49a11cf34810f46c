"""What ``i2i plugins new --kind KIND`` writes for kinds other than generators: one small component, and its test."""

DISCRIMINATOR = '''\
"""A discriminator: replace its layers with yours. The options of a recipe are its keyword-only parameters."""

from i2i.adapters import per_domain
from i2i.layers import Count
from torch import Tensor, nn


class Judge(nn.Module):
    """(B, C, H, W) to logits (B, 1, H / 4, W / 4)."""

    small = {{"width": 4}}  # noqa: RUF012

    def __init__(self, in_channels: int, *, width: Count = 64) -> None:
        super().__init__()
        first, last = nn.Conv2d(in_channels, width, 4, 2, 1), nn.Conv2d(width, 1, 4, 2, 1)
        self.layers = nn.Sequential(first, nn.LeakyReLU(0.2), last)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y


{name} = per_domain(Judge)
'''

LOSS = '''\
"""A loss: what it needs, what it translates, and what each player minimises."""

from collections.abc import Mapping
from functools import partial

from i2i.objectives import Adversarial, Objective, Weight, two_domains
from i2i.protocols import Batch, Discriminator, Domain, Generator, Images, Needs, Terms
from torch import nn
from torch.nn.functional import l1_loss


class Loss(nn.Module):
    """From a to b: the image should look like b's images, and be close to the one that is paired with the input."""

    order = "generator_first"
    fresh_fakes = False
    networks: tuple[str, ...] = ()

    def __init__(self, *, domains: Mapping[str, Domain], l1: Weight = 10.0, objective: Objective = "lsgan") -> None:
        super().__init__()
        self.l1, self.adversarial = l1, Adversarial(objective)
        self.a, self.b = two_domains(domains)
        self.needs = Needs(directions=((self.a, self.b),), paired=True)

    def translate(self, G: Generator, batch: Batch) -> Images:
        return {{f"fake_{{self.b}}": G(batch[self.a], self.a, self.b).image}}  # under this name losses beside it find it

    def fakes(self, G: Generator, batch: Batch, images: Images) -> Images:
        return self.translate(G, batch)

    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        fake, real = images[f"fake_{{self.b}}"], batch[self.b]
        gan = self.adversarial.generator(D(fake, self.b), partial(D, real, self.b))
        return {{"gan": gan, "l1": self.l1 * l1_loss(fake, real)}}

    def discriminator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        return self.adversarial.discriminator(D(batch[self.b], self.b), D(images[f"fake_{{self.b}}"], self.b))


{name} = Loss
'''

OBJECTIVE = '''\
"""An adversarial objective: what both players minimise, of the discriminator's logits (any shape, larger for real pictures)."""

from typing import Annotated

from pydantic import Field
from torch import Tensor


class Objective:
    """Each logit should be on its side of 0 by a margin."""

    paired = False  # True: discriminator(real, fake) and generator(fake, real) compare the two pictures of a sample

    def __init__(self, *, margin: Annotated[float, Field(ge=0, description="How far from 0 a logit should be.")] = 1.0) -> None:
        self.margin = margin

    def real(self, logits: Tensor) -> Tensor:
        return (self.margin - logits).relu().mean()

    def fake(self, logits: Tensor) -> Tensor:
        return (self.margin + logits).relu().mean()

    def generator(self, logits: Tensor) -> Tensor:
        return -logits.mean()


{name} = Objective
'''

DATASET = '''\
"""A data set: one sample has a picture of each domain."""

import torch
from i2i.layers import Count
from i2i.protocols import Domain
from torch import Tensor


class Data:
    """Noise, and its negative: float32 (3, size, size) in [-1, 1]. Draw from torch's default generator only."""

    paired = True

    def __init__(self, *, size: Count = 16, length: Count = 10, split: str = "train") -> None:
        self.size, self.length, self.split = size, length, split
        self.domains = {{"a": Domain("plain", "image", 3), "b": Domain("negative", "image", 3)}}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        a = torch.rand(3, self.size, self.size) * 2 - 1
        return {{"a": a, "b": -a}}


{name} = Data
'''

METRIC = '''\
"""A metric: a number for each picture, averaged over all pictures."""

from collections.abc import Mapping

from i2i.metrics import PerImage, Seen, needs_images, paired_images
from i2i.protocols import Direction, Domain
from torch import Tensor


class Brightness(PerImage):
    """The difference between the mean brightness and the truth's, from 0 to 1. ``better`` defaults to "lower"."""

    paired = True

    def __init__(self, *, domains: Mapping[str, Domain], direction: Direction) -> None:
        needs_images(domains[direction[1]], "the target")
        super().__init__("{name}", range="[0, 1], float")

    def measure(self, seen: Seen) -> Mapping[str, Tensor]:
        made, truth = paired_images(seen)  # (B, C, H, W) in [0, 1]
        return {{"{name}": (made - truth).mean((1, 2, 3)).abs()}}


{name} = Brightness
'''

METRIC_TEST = '''\
"""The conformance kit of i2i, and a case whose figures are known."""

import torch
from i2i.metrics import Seen
from i2i.protocols import Domain
from i2i.testing import check_plugin

from {module}.metric import {name}

DOMAINS = {{"a": Domain("plain", "image", 3), "b": Domain("bright", "image", 3)}}


def test_conformance() -> None:
    check_plugin("{name}")


def test_it_is_the_mean_over_the_pictures() -> None:
    black, grey = -torch.ones(2, 3, 8, 8), torch.zeros(2, 3, 8, 8)
    metric = {name}(domains=DOMAINS, direction=("a", "b"))
    for first, made, real in ((0, black, black), (2, grey, black)):
        metric.update(Seen((first, first + 1), ("a", "b"), black, made, real, lambda x, *_: x, lambda made=made: made))
    (figure,) = metric.figures()
    assert (figure.name, figure.better) == ("{name}", "lower")
    assert figure.images == {{0: 0, 1: 0, 2: 0.5, 3: 0.5}}
    assert figure.value == 0.25
'''

COMMAND = '''\
"""The command: a function with typer's annotations. ``i2i --help`` shows the first line of its docstring."""

import typer
from i2i.command_options import Device, ModelPath
from i2i.errors import UserError


def {name}(model: ModelPath, device: Device = None) -> None:
    """Say what a model translates into what."""
    import i2i  # heavy modules inside: the command answers --help without torch

    if not model.is_dir():
        raise UserError(f"{{model}}: there is no such folder. Give a run folder.")  # one sentence, exit code 2
    loaded = i2i.load(model, device)
    for source, target in loaded.directions:
        typer.echo(f"{{loaded.label(source)}} to {{loaded.label(target)}}")
'''

COMMAND_TEST = '''\
"""The command on a model, and on a folder that is not there."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from i2i.cli import app
from typer.testing import CliRunner


def test_it_is_a_command_of_i2i(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = SimpleNamespace(directions=[("a", "b")], label={{"a": "day", "b": "night"}}.get)
    monkeypatch.setattr("i2i.load", lambda path, device=None: model)
    assert CliRunner().invoke(app, ["{name}", str(tmp_path)]).output == "day to night\\n"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    refused = CliRunner().invoke(app, ["{name}", str(tmp_path / "run")])
    assert "there is no such folder. Give a run folder." in str(refused.exception)
'''

TEST = '''\
"""The conformance kit of i2i, on everything that this plugin registers."""

from i2i.testing import check_plugin


def test_conformance() -> None:
    check_plugin("{name}")
'''

KINDS = {
    "discriminator": (DISCRIMINATOR, TEST),
    "loss": (LOSS, TEST),
    "objective": (OBJECTIVE, TEST),
    "dataset": (DATASET, TEST),
    "metric": (METRIC, METRIC_TEST),
    "command": (COMMAND, COMMAND_TEST),
}
"""The module for each kind except generators, and its test."""
