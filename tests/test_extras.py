"""What networks give beside images and logits: asked of the right player, and named where it is missing."""

import re
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import toy
from i2i.building.parts import build
from i2i.errors import UserError
from i2i.protocols import Needs
from i2i.registry import Registry, hookimpl


class Asking(toy.ToyLoss):
    """Asks for what its options say."""

    def __init__(self, *, domains: Any, generator: list[str] = [], discriminator: list[str] = []) -> None:  # noqa: B006
        super().__init__(domains=domains)
        self.needs = Needs((("a", "b"),), extras=frozenset(generator), verdict=frozenset(discriminator))


class Exposing(nn.Module):
    """Exposes "mean" and "cam"; only its name matters here."""

    exposes = frozenset({"mean", "cam"})
    divisor = 1

    def __init__(self, *, domains: Any, directions: Any = (), conditions: Any = ()) -> None:
        super().__init__()


class Plugin:
    @hookimpl
    def register_generators(self) -> dict[str, Any]:
        return {"exposing": Exposing, "broken": "no.such:thing"}

    @hookimpl
    def register_discriminators(self) -> dict[str, Any]:
        return {"exposing": Exposing}

    @hookimpl
    def register_losses(self) -> dict[str, Any]:
        return {"asking": Asking}


REGISTRY = Registry(plugins={"toys": toy, "mine": Plugin()})
TEXT = toy.RECIPE.replace("loss: {name: toy}", "loss: {name: asking}")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["loss.generator=[cam]", "discriminator.name=exposing"],  # the other player's does not do
            "loss 'asking' needs 'cam' of the generator, and 'toy' does not expose it. "
            "Choose a generator that does (exposing), or set the weights of the terms that need it to 0.",
        ),
        (
            ["loss.discriminator=[mean, cam]", "generator.name=exposing"],
            "loss 'asking' needs 'cam' and 'mean' of the discriminator, and 'judge' does not expose them. "
            "Choose a discriminator that does (exposing), or set the weights of the terms that need them to 0.",
        ),
        (["loss.generator=[depth]"], "and 'toy' does not expose it. Choose a generator that does, or"),
        (["loss.discriminator=[cam]", "discriminator={b: {name: judge}}"], "needs 'cam' of the discriminator, and 'judge'"),
        (["loss.generator=[cam]", "generator={ab: {name: toy}}"], "needs 'cam' of the generator, and 'toy'"),
    ],
)
def test_what_a_loss_needs_is_asked_of_the_right_player(overrides: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        build(toy.recipe(tmp_path, *overrides, text=TEXT, plugins=REGISTRY), REGISTRY)


def test_what_is_exposed_is_accepted(tmp_path: Path) -> None:
    names = ["generator.name=exposing", "discriminator={b: {name: exposing}}"]
    needs = ["loss.generator=[cam, mean]", "loss.discriminator=[cam]"]
    build(toy.recipe(tmp_path, *names, *needs, text=TEXT, plugins=REGISTRY), REGISTRY)
