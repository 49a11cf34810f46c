"""Several losses in one, and networks of their own for each direction and domain."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

import toy
from i2i.building.combined import ByDirection, Losses, joined
from i2i.building.parts import build
from i2i.errors import UserError
from i2i.objectives import Adversarial
from i2i.protocols import Batch, Discriminator, Domain, Generator, Images, Needs, Terms, Translation, Verdict
from i2i.recipe import load_recipe
from i2i.registry import Registry, hookimpl
from i2i.training.running import run_recipe
from i2i.translation.loading import load


class BothWays(nn.Module):
    """Adversarial in both directions, and L1 between the image and its way there and back."""

    networks: tuple[str, ...] = ()
    order = "discriminator_first"
    fresh_fakes = False

    def __init__(self, *, domains: Mapping[str, Domain], conditional: bool = False, gan: float = 1.0) -> None:
        super().__init__()
        ways = (("a", "b"), ("b", "a"))
        self.needs = Needs(ways, conditional=conditional, adversarial=gan > 0)
        self.adversarial = Adversarial("lsgan")

    def translate(self, G: Generator, batch: Batch) -> Images:
        fake = G(batch["a"], "a", "b").image
        return {"b": fake, "a": G(batch["b"], "b", "a").image, "back": G(fake, "b", "a").image}

    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        terms = {f"gan_{k}": self.adversarial.generator(D(images[k], k)) for k in "ab"}
        return {**terms, "cycle": (images["back"] - batch["a"]).abs().mean()}

    def discriminator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        judged = {k: self.adversarial.discriminator(D(batch[k], k), D(images[k], k)) for k in "ab"}
        return {f"{name}_{k}": term for k in "ab" for name, term in judged[k].items()}


class Beside(nn.Module):
    """Not adversarial: compares one translation; keeps what it was told of the losses before it."""

    networks: tuple[str, ...] = ()
    order = "generator_first"
    fresh_fakes = False

    def __init__(self, *, domains: Mapping[str, Domain], weight: float = 1.0, beside: Needs | None = None) -> None:
        super().__init__()
        self.beside, self.weight = beside, weight
        self.needs = Needs((("a", "b"),), adversarial=False)

    def translate(self, G: Generator, batch: Batch) -> Images:
        return {"fake": G(batch["a"], "a", "b").image}

    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        return {"cycle": self.weight * images["fake"].square().mean()}


class Plugin:
    @hookimpl
    def register_losses(self) -> dict[str, Any]:
        return {"both": BothWays, "beside": Beside}


REGISTRY = Registry(plugins=[toy, Plugin()])
RECIPE = toy.RECIPE.replace("loss: {name: toy}", "loss: [{name: both}, {name: beside, weight: 2}]").replace(
    "generator: {name: toy}", "generator: {ab: {name: toy, width: 2}, ba: {name: toy, width: 6}}"
)


def recipe(folder: Path, text: str, *overrides: str) -> Any:
    path = folder / "r.yaml"
    path.write_text(text)
    return load_recipe(path, overrides, REGISTRY)


class Counting:
    """A generator and a discriminator as bare callables, counted."""

    def __init__(self) -> None:
        self.translations = self.verdicts = 0

    def translate(self, x: Tensor, source: str, *targets: str) -> Translation:
        self.translations += 1
        return Translation(dict.fromkeys(targets, x * 0.5))

    def judge(self, image: Tensor, domain: str, condition: Tensor | None = None) -> Verdict:
        self.verdicts += 1
        return [[image.mean(1, keepdim=True)]]


def test_terms_are_joined_and_nothing_is_computed_twice() -> None:
    domains = {"a": Domain("a", "image", 3), "b": Domain("b", "image", 3)}
    both, beside, again = BothWays(domains=domains), Beside(domains=domains), BothWays(domains=domains)
    loss = Losses([("both", both), ("beside", beside), ("again", again)])
    batch = {key: torch.rand(2, 3, 4, 4) for key in "ab"}
    count = Counting()
    images = loss.translate(count.translate, batch)
    assert count.translations == 3
    made = loss.generator_terms(count.judge, batch, images)
    assert count.verdicts == 2
    judged = loss.discriminator_terms(count.judge, batch, loss.fakes(count.translate, batch, images))
    assert (count.translations, count.verdicts) == (3, 6)
    assert set(made) == {"gan_a", "gan_b", "cycle", "beside.cycle", "again.gan_a", "again.gan_b", "again.cycle"}
    assert set(judged) == {f"{who}{what}_{k}" for who in ("", "again.") for what in ("real", "fake") for k in "ab"}
    alone = both.generator_terms(count.judge, batch, both.translate(count.translate, batch))
    assert all(torch.equal(made[name], term) for name, term in alone.items())
    assert loss.order == "discriminator_first"


def test_the_source_is_shown_to_the_discriminator_by_all_or_by_none() -> None:
    seeing, blind, silent = (
        Needs((("a", "b"),), paired=True, conditional=True),
        Needs((("a", "b"), ("b", "a")), extras=frozenset({"mean"})),
        Needs((("b", "b"),), adversarial=False),
    )
    with pytest.raises(UserError, match="loss 'x' shows the discriminator the source image and loss 'y' does not"):
        joined([("x", seeing), ("y", blind)])
    together = joined([("x", seeing), ("z", silent)])
    assert together == Needs((("a", "b"), ("b", "b")), paired=True, conditional=True, judged=(("a", "b"),))


def test_a_recipe_of_parts_trains_resumes_and_is_rebuilt(tmp_path: Path) -> None:
    checked = recipe(tmp_path, RECIPE)
    parts = build(checked, REGISTRY)
    judged = parts.loss.losses[0].needs.directions
    assert parts.loss.losses[1].beside == replace(parts.loss.losses[0].needs, judged=judged)
    run = run_recipe(checked, tmp_path / "run", REGISTRY, resume=False, console=Console(quiet=True))
    assert set(run.terms) == {"gan_a", "gan_b", "cycle", "beside.cycle", "real_a", "real_b", "fake_a", "fake_b"}
    widths = {name: net.networks[name].layers[0].out_channels for name, net in run.parts.generator.networks.items()}
    assert widths == {"a_b": 2, "b_a": 6}
    image = torch.rand(3, 16, 16)
    translated = load(tmp_path / "run", "cpu", registry=REGISTRY).translate(image, to="negative")
    with torch.no_grad():
        assert torch.equal(translated, run.model.eval()(image[None], "a", "b").image[0])
    again = load_recipe(tmp_path / "run" / "recipe.yaml", ["train.steps=8"], REGISTRY)
    resumed = run_recipe(again, tmp_path / "run", REGISTRY, resume=True, console=Console(quiet=True))
    assert resumed.step == 8


def test_one_judge_for_each_domain(tmp_path: Path) -> None:
    text = RECIPE.replace("discriminator: {name: judge}", "discriminator: {b: {name: judge, width: 3}, a: {name: judge}}")
    judges = build(recipe(tmp_path, text), REGISTRY).discriminator
    assert judges is not None
    assert judges.exposes == {"features"}
    assert judges(torch.rand(1, 3, 8, 8), "b")[0][0].shape[1] == 3
    assert judges(torch.rand(1, 3, 8, 8), "a")[0][0].shape[1] == 4


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("{ab:", "{cd:", r"generator.cd: the loss needs the directions ab, ba\."),
        (", ba: {name: toy, width: 6}", "", r"generator: the loss needs the directions ab, ba; add 'ba: \{name: …\}'"),
        (
            "ba: {name: toy, width: 6}",
            "ba: {name: toy, widht: 6}",
            r"r.yaml:2:\d+: generator.ba.widht: unknown key. Did you mean",
        ),
        ("ba: {name: toy, width: 6}", "ba: {width: 6}", r"r.yaml:2:\d+: generator.ba.name: this key is missing"),
        ("{name: beside, weight: 2}", "{name: besides}", r"r.yaml:4:\d+: loss.1.name: there is no loss 'besides'"),
        ("[{name: both}, {name: beside, weight: 2}]", "[]", "must hold at least 1 items"),
        ("[{name: both}, {name: beside, weight: 2}]", "[both]", r"loss.0: must be a mapping"),
        ("{name: judge}", "{b: {name: judge}}", "discriminator: the loss needs the domains b, a; add 'a:"),
        ("{name: stripes}", "[{name: stripes}]", "dataset: must be a mapping"),
    ],
)
def test_bad_parts_are_named(tmp_path: Path, before: str, after: str, message: str) -> None:
    assert before in RECIPE
    with pytest.raises(UserError, match=message):
        build(recipe(tmp_path, RECIPE.replace(before, after, 1)), REGISTRY)


def test_extras_are_had_without_a_target() -> None:
    class Encodes(nn.Module):
        exposes = frozenset({"mean"})
        divisor = 1

        def __init__(self, number: float) -> None:
            super().__init__()
            self.number = number

        def forward(self, x: Tensor, source: str, *targets: str) -> Translation:
            return Translation(dict.fromkeys(targets, x), {"mean": x * self.number})

    G = ByDirection({("a", "b"): Encodes(2.0), ("b", "a"): Encodes(3.0)})
    x = torch.ones(1, 3, 4, 4)
    assert G(x, "b").extras["mean"].mean() == 3
    assert not G(x, "b").images


def test_only_what_an_adversarial_loss_judges_gets_a_judge(tmp_path: Path) -> None:
    """The toy translates a to b and judges b; the other one goes both ways, and is not adversarial."""
    both = Needs((("a", "b"), ("b", "a")), paired=True, adversarial=False)
    together = joined([("x", Needs((("a", "b"),), conditional=True)), ("y", both)])
    assert (together.directions, together.judged) == (both.directions, (("a", "b"),))
    one, other = Needs((("a", "b"),)), Needs((("b", "a"),))
    assert joined([("x", one), ("y", other)]).judged == (("a", "b"), ("b", "a"))
    assert joined([("y", both)]).judged == ()
    losses = "loss: [{name: toy, conditional: false}, {name: both, gan: 0}]"
    parts = build(recipe(tmp_path, toy.RECIPE.replace("loss: {name: toy}", losses)), REGISTRY)
    assert set(parts.generator.networks) == {"a_b", "b_a"}
    assert parts.discriminator is not None
    assert set(parts.discriminator.networks) == {"b"}
