"""What a call of a generator gives beside the image: accepted before step 0, and owed extras only where it is given."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import toy
from i2i.building.combined import ByDirection, joined
from i2i.building.needs import check_keywords, check_needs, owed
from i2i.errors import UserError
from i2i.protocols import Batch, Generator, Images, Needs, Translation
from i2i.recipe import Recipe
from i2i.testing import check_generator, check_loss

HERE, BACK = ("a", "b"), ("b", "a")
DOMAINS = toy.Stripes().domains


class Styled(nn.Module):
    """Adds the style's mean, of which it tells only where it is given one."""

    accepts = frozenset({"style"})
    exposes = frozenset({"style_mean"})
    divisor = 1

    def __init__(self, *, domains: Any, directions: Any, flaw: str = "") -> None:
        super().__init__()
        self.weights = nn.ParameterDict({target: nn.Parameter(torch.ones(())) for _, target in directions})
        self.channels, self.flaw = {key: domain.channels for key, domain in domains.items()}, flaw

    def forward(self, x: Tensor, source: str, *targets: str, style: Tensor | None = None) -> Translation:
        mean = torch.zeros(len(x), 1, 1, 1) if style is None else style.mean((1, 2, 3), keepdim=True)
        made = {t: torch.tanh(self.weights[t] * x.mean(1, True) + mean).repeat(1, self.channels[t], 1, 1) for t in targets}
        told = (style is not None or self.flaw == "always") and self.flaw != "never"
        return Translation(made, {"style_mean": mean} if told else {})


class Plain(Styled):
    accepts = frozenset[str]()


def parts(**generator: str) -> Recipe:
    slot = {key: {"name": name} for key, name in generator.items()}
    given = {"dataset": {"name": "-"}, "loss": {"name": "mine"}, "generator": slot.get("only", slot)}
    return Recipe.model_validate(given)


@pytest.mark.parametrize(
    ("needs", "message"),
    [
        (Needs((HERE,), keywords=frozenset({"style"})), "'mine' passes 'style' to the generator, but 'plain' accepts no"),
        (Needs((BACK,), keywords=frozenset({"time"})), "passes 'time' to the generator, but 'styled' accepts 'style'"),
        (
            Needs((BACK,), extras=frozenset({"style_mean"})),
            "'style_mean', which the generator 'styled' returns only to a call that gives it 'style', and the loss does not",
        ),
    ],
)
def test_a_keyword_that_one_directions_generator_lacks_is_refused_by_its_name(needs: Needs, message: str) -> None:
    generator = ByDirection({way: kind(domains=DOMAINS, directions=[way]) for way, kind in ((HERE, Plain), (BACK, Styled))})
    assert generator.accepts == frozenset()
    with pytest.raises(UserError, match=message):
        check_needs(parts(ab="plain", ba="styled"), "mine", needs, generator, None, toy.registry())


def test_needs_that_are_met_pass_and_are_joined() -> None:
    with_style = Needs((HERE,), extras=frozenset({"style_mean"}), keywords=frozenset({"style"}))
    check_keywords("mine", with_style, "styled", Styled(domains=DOMAINS, directions=[HERE]))
    assert joined([("x", with_style), ("y", Needs((BACK,)))]).keywords == {"style"}
    assert owed("style_mean", {"style"}, {"style"})
    assert not owed("style_mean", {"style"}, ())
    assert owed("styles", {"style"}, ())


@pytest.mark.parametrize(
    ("flaw", "message"),
    [
        ("never", r"exposes \['style_mean'\] but does not return them"),
        ("always", r"returns \['style_mean'\] in a call without a style"),
    ],
)
def test_the_kit_asks_for_the_extras_of_a_keyword_where_it_is_given(flaw: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_generator(Styled, options={"flaw": flaw}, domains=DOMAINS)


class Undeclared(toy.ToyLoss):
    """Gives a style that its needs do not tell of."""

    def __init__(self, *, domains: Any) -> None:
        super().__init__(domains=domains)

    def translate(self, G: Generator, batch: Batch) -> Images:
        return {"fake": G(batch["a"], "a", "b", style=batch["b"]).image}


def test_the_kit_refuses_a_keyword_that_is_not_among_the_needs() -> None:
    with pytest.raises(AssertionError, match="to the generator: declare"):
        check_loss(Undeclared)
