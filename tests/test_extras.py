"""What networks give beside images and logits: asked of the right player, and named where it is missing."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import toy
from i2i.adapters import per_direction, per_domain
from i2i.building.parts import build
from i2i.errors import UserError
from i2i.objectives import both_judged, gradient_penalty, parted
from i2i.protocols import Batch, Images, Judged, Needs, Terms, Translation
from i2i.registry import Registry, hookimpl
from i2i.testing import check_discriminator, check_generator, check_loss
from i2i.testing.subject import PHOTO
from i2i.training.assembly import assemble


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


class Attentive(nn.Module):
    """A toy generator whose extra is a map of its own; it is a part that only the extra reaches."""

    divisor = 4

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.net, self.head = toy.ToyNet(in_channels, out_channels), nn.Conv2d(in_channels, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return self.net(x), {"cam": self.head(x)}


class Looks(nn.Module):
    """A toy judge with features and an auxiliary classifier."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.judge, self.head = toy.ToyJudge(in_channels), nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
        maps = self.judge(x)
        return maps, {"classes": self.head(maps[0]).mean((2, 3))}


class Reading(toy.ToyLoss):
    """Reads the extras of both players."""

    def __init__(self, *, domains: Any, conditional: bool = True) -> None:
        super().__init__(domains=domains, conditional=conditional)
        self.needs = replace(self.needs, extras=frozenset({"cam"}), verdict=frozenset({"classes"}))

    def translate(self, G: Any, batch: Batch) -> Images:
        made = G(batch["a"], "a", "b")
        return {"fake": made.image, "cam": made.extras["cam"]}

    def generator_terms(self, D: Any, batch: Batch, images: Images) -> Terms:
        verdict = D(images["fake"], "b", self._condition(batch))
        assert verdict.extras["classes"].dtype == torch.float32
        terms = super().generator_terms(D, batch, images)
        return terms | {"cam": images["cam"].square().mean(), "classes": verdict.extras["classes"].square().mean()}

    def discriminator_terms(self, D: Any, batch: Batch, images: Images) -> Terms:
        real, fake = both_judged(D, "b", batch["b"], images["fake"], together=not self.conditional)
        assert not images["cam"].requires_grad
        penalty = gradient_penalty(lambda x: D(x, "b"), batch["b"], images["fake"], kind="real")
        away = real.extras["classes"] - fake.extras["classes"]
        return {"real": away.square().mean(), "fake": fake[0][-1].square().mean(), "penalty": penalty}


class Extras:
    @hookimpl
    def register_generators(self) -> dict[str, Any]:
        return {"attentive": per_direction(Attentive, exposes=("cam",))}

    @hookimpl
    def register_discriminators(self) -> dict[str, Any]:
        return {"looks": per_domain(Looks, features=True, exposes=("classes",))}

    @hookimpl
    def register_losses(self) -> dict[str, Any]:
        return {"reading": Reading}


OFFERED = Registry(plugins={"toys": toy, "mine": Extras()})
ONE = """\
dataset: {name: stripes}
generator: {name: attentive}
discriminator: {name: looks}
loss: {name: reading, conditional: false}
train: {steps: 2, batch_size: 2, seed: 1, ema: 0.9}
samples: {every: 2, count: 2}
log: {every: 1, trackers: []}
"""


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["train.precision=bf16", "train.emulate=true"],
        ["train.augment=[color, cutout]"],
        ["generator={ab: {name: attentive}}", "discriminator={b: {name: looks}}"],
        ["loss=[{name: reading, conditional: false}, {name: toy, conditional: false}, {name: reading, conditional: false}]"],
        ["train.non_finite=skip", "train.accumulate=2", "train.ema=null"],
    ],
    ids=["plain", "bf16", "augment", "each its own", "several losses", "accumulate"],
)
def test_extras_of_both_players_reach_the_loss(overrides: list[str], tmp_path: Path) -> None:
    run = toy.trained(tmp_path, "train.steps=2", *overrides, text=ONE, plugins=OFFERED)
    names = {"cam", "classes", "real", "fake", "penalty"}
    assert names <= set(run.terms)
    assert all(term.isfinite() for term in run.terms.values())
    before = assemble(toy.recipe(tmp_path, *overrides, text=ONE, plugins=OFFERED), OFFERED)
    for player in ("generator", "discriminator"):
        then, now = (dict(getattr(r, player).named_parameters()) for r in (before, run))
        (head,) = (name for name in now if name.endswith("head.weight"))
        assert not torch.equal(then[head], now[head]), f"{head} has not learnt"


@pytest.mark.filterwarnings("ignore")
def test_extras_pass_through_the_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda network, **_: whole(network, backend="eager"))
    run = toy.trained(tmp_path, "train.steps=1", "train.compile=true", text=ONE, plugins=OFFERED)
    assert {"cam", "classes"} <= set(run.terms)


def test_verdicts_are_sequences_of_scales() -> None:
    half = torch.ones(2, 1, 3, 3, dtype=torch.bfloat16)
    verdict = Judged([[half, half.double()]], {"classes": half, "ids": torch.ones(2, dtype=torch.long)})
    assert [x.dtype for x in verdict[0]] == [torch.float32, torch.float64]
    assert [x.dtype for x in verdict.extras.values()] == [torch.float32, torch.int64]
    assert (len(verdict), len(verdict[:1]), len([*verdict]), bool(verdict)) == (1, 1, 1, True)
    first, last = parted(verdict, 1)
    assert first.extras["classes"].shape == last[0][-1].shape == (1, 1, 3, 3)


def test_the_kit_looks_at_extras() -> None:
    check_generator(per_direction(Attentive, exposes=("cam",)))
    check_discriminator(per_domain(Looks, features=True, exposes=("classes",)))
    given: dict[str, Any] = {"options": {"conditional": False}, "domains": {"a": PHOTO, "b": PHOTO}, "registry": OFFERED}
    check_loss("reading", **given)
    check_loss("reading", generator="attentive", discriminator="looks", **given)


class Hiding(nn.Module):
    """Exposes what it does not return."""

    exposes = frozenset({"classes"})

    def __init__(self, *, domains: Any, conditions: Any) -> None:
        super().__init__()
        self.judge = per_domain(toy.ToyJudge, features=True)(domains=domains, conditions=conditions)

    def forward(self, *asked: Any) -> Any:
        return self.judge(*asked)


class Odd(nn.Module):
    """Names an extra after one target of two."""

    exposes, divisor = frozenset({"cam"}), 4

    def __init__(self, *, domains: Any, directions: Any) -> None:
        super().__init__()
        self.made = per_direction(Attentive, exposes=("cam",))(domains=domains, directions=directions)

    def forward(self, *asked: Any) -> Translation:
        images, extras = self.made(*asked)
        return Translation(images, {name: x for name, x in extras.items() if name != "a.cam"})


def test_the_kit_refuses_extras_that_are_not_as_promised() -> None:
    with pytest.raises(AssertionError, match=r"exposes the extras \['classes'\] but returns \[\]"):
        check_discriminator(Hiding)
    with pytest.raises(AssertionError, match=r"as 'a.cam' and 'b.cam'.*returns \['b.cam', 'cam'\]"):
        check_generator(Odd)


class Several(Reading):
    """Asks for both its targets in one call, and for none; each target's own extra has its name."""

    def __init__(self, *, domains: Any) -> None:
        super().__init__(domains=domains, conditional=False)
        self.needs = replace(self.needs, directions=(("a", "a"), ("a", "b")))

    def translate(self, G: Any, batch: Batch) -> Images:
        both, none = G(batch["a"], "a", "b", "a"), G(batch["a"], "a")
        assert set(both.images) == {"a", "b"}
        assert set(both.extras) == {"cam", "a.cam", "b.cam"}
        assert torch.equal(both.extras["cam"], both.extras["b.cam"])
        assert set(none.extras) == {"cam"}
        return {"fake": both.images["b"] + both.images["a"], "cam": both.extras["a.cam"] + both.extras["b.cam"]}


class SeveralPlugin(Extras):
    @hookimpl
    def register_losses(self) -> dict[str, Any]:
        return {"reading": Several}


@pytest.mark.parametrize("generator", ["{name: attentive}", "{aa: {name: attentive}, ab: {name: attentive}}"])
def test_a_loss_may_ask_for_the_extras_of_several_targets(generator: str, tmp_path: Path) -> None:
    registry = Registry(plugins={"toys": toy, "mine": SeveralPlugin()})
    text = ONE.replace("{name: attentive}", generator).replace(", conditional: false", "")
    toy.trained(tmp_path, "train.steps=1", text=text, plugins=registry)
    given: dict[str, Any] = {"domains": {"a": PHOTO, "b": PHOTO}, "registry": registry}
    check_loss("reading", **given)
    check_loss("reading", generator="attentive", discriminator="looks", **given)


class Forgetful(Attentive):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x)[0]


def test_a_network_that_forgets_its_extras_is_named_before_the_first_step(tmp_path: Path) -> None:
    class Plugin(Extras):
        @hookimpl
        def register_generators(self) -> dict[str, Any]:
            return {"attentive": per_direction(Forgetful, exposes=("cam",))}

    said = "generator 'attentive': its network returns these extras: none; its adapter's 'exposes' names: 'cam'."
    with pytest.raises(UserError, match=re.escape(said)):
        toy.trained(tmp_path, text=ONE, plugins=Registry(plugins={"toys": toy, "mine": Plugin()}))
