"""A list of discriminators, each of which judges every image: their weights, and when they join."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from i2i.errors import UserError
from i2i.protocols import Judged, JudgedBySeveral
from i2i.recipe import Recipe
from i2i.recipe.components import Judge
from i2i.recipe.sections import Optimizer


class Judges(nn.Module):
    """Several discriminators in one; its verdict is a ``JudgedBySeveral``, which losses sum up by the weights.

    ``networks`` are in the order of the recipe, which gives the *names*. All judge, until ``begin`` has told the step: then
    those that have joined do.
    """

    def __init__(
        self, networks: Sequence[nn.Module], weights: Sequence[float], joins: Sequence[int], names: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.networks, self.names = nn.ModuleList(networks), tuple(names)
        self.weights, self.joins = tuple(weights), tuple(joins)
        self.active = tuple(range(len(networks)))
        judges: list[Any] = list(networks)
        self.exposes = frozenset.intersection(*(frozenset(judge.exposes) for judge in judges))

    def begin(self, step: int, steps: int) -> None:
        """Let those judge that have joined after so many steps."""
        self.active = tuple(i for i, join in enumerate(self.joins) if join <= step)

    def let(self, i: int, act: Callable[[], None]) -> None:
        """Do something to a judge, unless it has not joined."""
        if i in self.active:
            act()

    def forward(self, image: Tensor, domain: str, condition: Tensor | None = None) -> Judged:
        """Judge image (B, C, H, W) by every active discriminator."""
        return JudgedBySeveral((self.weights[i], self.networks[i](image, domain, condition)) for i in self.active)


def judges_of(recipe: Recipe) -> dict[int, Judge]:
    """The recipe's list of discriminators by their places; empty where it has one, or one for each domain."""
    return dict(enumerate(recipe.discriminator)) if isinstance(recipe.discriminator, list) else {}


def build_judges(recipe: Recipe, build: Callable[[int], nn.Module]) -> Judges:
    """The recipe's list; *build* builds the one at a place.

    Raises:
        UserError: one of them cannot be built, or when they join makes no sense.
    """
    judges, networks = judges_of(recipe), []
    _check_joining(recipe, judges)
    for i in judges:
        try:
            networks.append(build(i))
        except UserError as error:
            raise UserError(f"{recipe.where('discriminator', i)}: {error}") from error
    told = [(judge.weight, judge.since, judge.name) for judge in judges.values()]
    return Judges(networks, *zip(*told, strict=True))


def _check_joining(recipe: Recipe, judges: Mapping[int, Judge]) -> None:
    """Check that a discriminator judges from the first step on, and that every one does at some step of the run."""
    if min(judge.since for judge in judges.values()):
        raise UserError(
            f"{recipe.where('discriminator')}: all judges join later ('from'), so that there would be none in the first step. "
            "Let one begin at once: leave its 'from' out."
        )
    for i, judge in judges.items():
        if judge.since >= recipe.train.steps:
            raise UserError(
                f"{recipe.where('discriminator', i, 'from')}: the run has {recipe.train.steps} steps, so '{judge.name}' would "
                f"never judge. Give fewer than {recipe.train.steps}, or leave it out of the list."
            )


def check_unused(recipe: Recipe) -> None:
    """Check that the recipe names no discriminator if none is built."""
    said = {"discriminator": recipe.discriminator is not None, "train.discriminator": recipe.train.discriminator != Optimizer()}
    nothing = {"discriminator": "null", "train.discriminator": "'{}'"}
    if unused := [key for key, there in said.items() if there]:
        without = " ".join(f"--set {key}={nothing[key]}" for key in unused)
        raise UserError(
            f"{' and '.join(unused)}: loss '{recipe.called('loss')}' is not adversarial with these options, so there is no "
            f"discriminator. Leave it out ({without}), or choose an adversarial loss."
        )
