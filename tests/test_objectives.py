"""Adversarial objectives: a kind of component of their own, which losses use through ``Adversarial``."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jsonschema
import pytest
import torch
from pydantic import Field
from torch import Tensor, nn

import i2i_cyclegan
import i2i_pix2pix
import i2i_spade
import i2i_unit
import toy
from i2i.building.parts import build
from i2i.errors import UserError
from i2i.objectives import Adversarial, Objective, objective_of
from i2i.protocols import Domain, Translation
from i2i.recipe import load_recipe
from i2i.registry import Registry, hookimpl
from i2i.testing import check_loss, check_objective, check_plugin
from i2i.testing.matrix import as_markdown, cells_of
from i2i.testing.schema import recipe_schema
from i2i.testing.workshop import Choice
from i2i.training.assembly import assemble
from i2i.training.loop import accumulated_step
from i2i.training.state import Run
from i2i_objectives.paired import Relativistic
from i2i_objectives.plain import LeastSquares
from i2i_pix2pix.loss import Pix2PixLoss


class Margin:
    """A stranger's objective: this class, the hook below, and a line of pyproject.toml."""

    paired = False

    def __init__(self, *, margin: Annotated[float, Field(ge=0)] = 1.0) -> None:
        self.margin = margin

    def real(self, logits: Tensor) -> Tensor:
        return (self.margin - logits).relu().mean()

    def fake(self, logits: Tensor) -> Tensor:
        return (self.margin + logits).relu().mean()

    def generator(self, logits: Tensor) -> Tensor:
        return -logits.mean()


def wrong() -> list[str]:
    return ["lsgan"]


def lame() -> Any:
    return type("Lame", (), {"paired": True, "generator": LeastSquares().generator})()


def breaks() -> None:
    raise ValueError("no")


class Unreduced(LeastSquares):
    def real(self, logits: Tensor) -> Tensor:
        return logits.square()


class Plugin:
    @hookimpl
    def register_objectives(self) -> dict[str, Any]:
        return {"margin": Margin, "wrong": wrong, "lame": lame, "breaks": breaks, "unreduced": Unreduced}


REGISTRY = toy.registry(mine=Plugin(), pix2pix=i2i_pix2pix, cyclegan=i2i_cyclegan, unit=i2i_unit, spade=i2i_spade)
RECIPE = """\
dataset: {name: stripes}
generator: {name: toy}
discriminator: {name: judge}
loss:
  name: pix2pix
  objective: OBJECTIVE
train: {steps: 2, batch_size: 2}
"""
PAIRED = {
    "pix2pix": "{name: pix2pix, objective: relativistic}",
    "spade": "{name: spade, objective: relativistic}",
    "spade, unconditional": "{name: spade, objective: relativistic, conditional: false, features: 0}",
    "cyclegan": "{name: cyclegan, objective: relativistic, pool: 0}",
    "unit": "{name: unit, objective: relativistic, kl: 0, cycle_kl: 0}",
}
"""Losses with an objective that compares the pictures of a sample."""


def checked(folder: Path, objective: str, *overrides: str, registry: Registry = REGISTRY) -> Any:
    path = folder / "r.yaml"
    path.write_text(RECIPE.replace("OBJECTIVE", objective))
    return load_recipe(path, overrides, registry)


def stepped(recipe: Any, registry: Registry = REGISTRY) -> Run:
    """A run after its first step."""
    run = assemble(recipe, registry)
    run.training_mode()
    run.terms = accumulated_step(run, run.batches())
    return run


def test_the_relativistic_pairing_is_that_of_its_equation() -> None:
    """log(1 + exp(-d)) of the difference d, in plain Python."""
    real, fake = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([1.0, 3.0, 0.5])
    for term, first, second in (("discriminator", real, fake), ("generator", fake, real)):
        expected = sum(math.log1p(math.exp(-(a - b))) for a, b in zip(first.tolist(), second.tolist(), strict=True)) / 3
        assert getattr(Relativistic(), term)(first, second).item() == pytest.approx(expected, rel=1e-6)
    shifted = Relativistic().generator(fake + 7, real + 7)
    torch.testing.assert_close(shifted, Relativistic().generator(fake, real))


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_scales_are_compared_one_by_one(reduction: Any) -> None:
    real, fake = ([[torch.full((2, 1, n, n), value)] for n in (2, 4)] for value in (1.0, 0.0))
    adversarial, each = Adversarial("relativistic", reduction), math.log1p(math.exp(-1))
    (term,) = adversarial.discriminator(real, fake).values()
    assert term.item() == pytest.approx(2 * each if reduction == "sum" else each)


def test_real_pictures_are_judged_for_the_generator_only_where_the_objective_needs_them() -> None:
    calls: list[str] = []

    def judged() -> list[list[Tensor]]:
        calls.append("real")
        return [[torch.zeros(2, 1, 2, 2, requires_grad=True)]]

    fake = [[torch.zeros(2, 1, 2, 2, requires_grad=True)]]
    Adversarial("lsgan").generator(fake, judged)
    assert calls == []
    truth = judged()
    Adversarial("relativistic").generator(fake, lambda: truth).backward()
    assert fake[0][0].grad is not None
    assert truth[0][0].grad is None
    with pytest.raises(UserError, match="it has no real pictures to compare with"):
        Adversarial("relativistic").generator(fake)


@pytest.mark.parametrize("loss", PAIRED.values(), ids=PAIRED)
def test_each_loss_compares_the_pictures_of_a_sample(loss: str, tmp_path: Path) -> None:
    run = stepped(checked(tmp_path, "lsgan", f"loss={loss}"))
    assert run.parts.needs.paired
    keys = "ab" if "cyclegan" in loss or "unit" in loss else "b"
    assert {name for name in run.terms if name.startswith(("pair", "real", "fake"))} == {f"pair_{key}" for key in keys}
    assert all(bool(term.isfinite()) for term in run.terms.values())
    wanted = "with objective 'relativistic' compares pictures of the same .* choose a loss and an objective for unpaired data"
    with pytest.raises(UserError, match=wanted):
        build(checked(tmp_path, "lsgan", f"loss={loss}", "dataset.paired=false"), REGISTRY)


weight = torch.tensor(0.7, requires_grad=True)


def translating(x: Tensor, source: str, *targets: str, **_: Any) -> Translation:
    return Translation({target: (x * 0.5 + len(target)).tanh() * weight for target in targets})


def judging(image: Tensor, domain: str, condition: Tensor | None = None) -> Any:
    shown = image if condition is None else image + 0.3 * condition
    return [[image, shown.mean(1, keepdim=True) * (2 if domain == "a" else -3)]]


@pytest.mark.parametrize(("name", "halved"), [("pix2pix", 2), ("cyclegan", 2), ("unit", 1), ("spade", 1)])
def test_what_is_compared_is_each_real_picture_with_its_own_translation(name: str, halved: int) -> None:
    """By the logits of a judge that is a formula."""
    domains, pool = {key: Domain(key, "image", 3) for key in "ab"}, {"pool": 0} if name == "cyclegan" else {}
    loss: Any = REGISTRY.get("loss", name).factory(domains=domains, objective="relativistic", **pool)
    batch = {key: torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(i)) for i, key in enumerate("ab")}
    without_latent = {"mean": torch.zeros(3, 2), "latent": torch.zeros(3, 2)} if name == "unit" else {}
    G = lambda x, *way, **more: translating(x, *way)._replace(extras=without_latent)  # noqa: E731
    images = loss.translate(G, batch)
    made, judged = loss.generator_terms(judging, batch, images), loss.discriminator_terms(judging, batch, images)
    for target, source in (("b", "a"), ("a", "b")) if name in ("cyclegan", "unit") else (("b", "a"),):
        condition = batch[source] if name in ("pix2pix", "spade") else None
        real, fake = (judging(x, target, condition)[0][-1] for x in (batch[target], images[f"fake_{target}"]))
        torch.testing.assert_close(made[f"gan_{target}"], nn.functional.softplus(real - fake).mean())
        torch.testing.assert_close(judged[f"pair_{target}"] * halved, nn.functional.softplus(fake - real).mean())


def test_without_an_adversarial_term_its_objective_needs_nothing(tmp_path: Path) -> None:
    free = "loss={name: cyclegan, objective: relativistic, gan: 0}"
    parts = build(checked(tmp_path, "lsgan", free, "discriminator=null", "dataset.paired=false"), REGISTRY)
    assert not parts.needs.paired


def test_a_pool_of_other_samples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"loss 'cyclegan': its 'objective' compares .* Set 'pool' to 0, or choose another"):
        build(checked(tmp_path, "lsgan", "loss={name: cyclegan, objective: relativistic}"), REGISTRY)


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ("marginn", r"r.yaml:6:14: loss.objective: there is no objective 'marginn'. Did you mean 'margin'\? Objectives: bce,"),
        ("{name: lsgn}", r"r.yaml:6:21: loss.objective.name: there is no objective 'lsgn'. Did you mean 'lsgan'\?"),
        ("{name: margin, margn: 2}", r"r.yaml:6:29: loss.objective.margn: unknown key. Did you mean 'margin'\?"),
        ("{name: margin, margin: -1}", r"r.yaml:6:37: loss.objective.margin: must be at least 0.0, not -1."),
        ("{name: margin, margin: wide}", r"loss.objective.margin: must be a number, not the text 'wide'."),
        ("{name: lsgan, margin: 1}", r"loss.objective.margin: unknown key. It takes no keys."),
        ("{margin: 2}", r"r.yaml:6:3: loss.objective.name: this key is missing."),
        ("[bce]", r"r.yaml:6:14: loss.objective: must be the name of an objective, or {name: …} with its options."),
        ("null", r"r.yaml:6:14: loss.objective: must be the name of an objective, or {name: …} with its options."),
    ],
)
def test_mistakes_are_named_at_their_place(objective: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        checked(tmp_path, objective)


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ("wrong", "objective 'wrong' of the plugin 'mine' is no objective: it has no attribute 'paired', True or False"),
        ("lame", "objective 'lame' of the plugin 'mine' has no method 'discriminator', which 'i2i.protocols' describes"),
        ("breaks", "objective 'breaks' of the plugin 'mine' could not be built: ValueError: no"),
        ("unreduced", r"the objective gives the shape \(2, 1, 8, 8\), and must give a scalar tensor \(0-d\)"),
    ],
)
def test_a_factory_that_gives_something_else_is_refused_before_step_0(objective: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        assemble(checked(tmp_path, objective), REGISTRY)


def test_a_stranger_adds_an_objective_without_writing_a_loss(tmp_path: Path) -> None:
    recipe = checked(tmp_path, "margin")
    assert "objective: {name: margin, margin: 1.0}" in recipe.to_yaml()  # every default is spelled out
    (tmp_path / "again.yaml").write_text(recipe.to_yaml())
    assert load_recipe(tmp_path / "again.yaml", [], REGISTRY) == recipe
    wide = checked(tmp_path, "{name: margin, margin: 3}")
    assert stepped(recipe).terms["real_b"].item() != stepped(wide).terms["real_b"].item()
    check_objective("margin", registry=REGISTRY)


def test_names_alone_stay_text(tmp_path: Path) -> None:
    recipe = checked(tmp_path, "{name: hinge}")
    assert recipe.model_dump(mode="json")["loss"]["objective"] == "hinge"
    assert recipe == checked(tmp_path, "hinge")


def test_a_loss_that_is_called_in_python_takes_a_name_or_an_object() -> None:
    domains = {key: Domain(key, "image", 3) for key in "ab"}
    for given in ("lsgan", {"name": "lsgan"}, LeastSquares()):
        assert isinstance(Pix2PixLoss(domains=domains, objective=given).adversarial.objective, LeastSquares)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"there is no objective 'lsgn'\. Did you mean 'lsgan'"):
        Pix2PixLoss(domains=domains, objective="lsgn")
    with pytest.raises(UserError, match="the objective int is no objective: it has no attribute 'paired'"):
        objective_of(3)


class Keeping(nn.Module):
    """Compares with the mean of all real logits so far, which a checkpoint must carry."""

    paired = False

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def real(self, logits: Tensor) -> Tensor:
        self.mean += 0.1 * (logits.detach().mean() - self.mean)
        return nn.functional.softplus(-logits).mean()

    def fake(self, logits: Tensor) -> Tensor:
        return nn.functional.softplus(logits - self.mean).mean()

    def generator(self, logits: Tensor) -> Tensor:
        return nn.functional.softplus(self.mean - logits).mean()


def test_what_an_objective_keeps_is_part_of_the_losss_state() -> None:
    loss = Pix2PixLoss(domains={key: Domain(key, "image", 3) for key in "ab"}, objective=Keeping())
    assert list(loss.state_dict()) == ["adversarial.objective.mean"]
    check_objective(Keeping)


def test_the_shipped_ones_conform() -> None:
    check_plugin("objectives")


def mutated(base: type, **methods: Callable[..., Any]) -> type:
    return type("Mutated", (base,), methods)


@pytest.mark.parametrize(
    ("objective", "reason"),
    [
        (mutated(LeastSquares, real=lambda self, x: (x - 1).square().sum()), "means: real depends on the number of pictures"),
        (mutated(LeastSquares, fake=lambda self, x: x.square()), r"scalars: fake must return a scalar tensor \(0-d\)"),
        (
            mutated(LeastSquares, fake=lambda self, x: -x.square().mean()),
            "fake must be smaller for logits of 0 than for",
        ),
        (mutated(LeastSquares, generator=lambda self, x: x.mean()), "generator must be smaller for logits of 1 for its own"),
        (mutated(LeastSquares, real=lambda self, x: x.detach().mean()), "real has no gradient: do not detach"),
        (mutated(LeastSquares, real=lambda self, x: (-x).exp().log1p().mean()), "real is inf for logits of 10000"),
        (mutated(LeastSquares, paired="yes"), "has no attribute 'paired', True or False"),
        (mutated(LeastSquares, paired=True), "has no method 'discriminator'"),
        (
            mutated(Relativistic, discriminator=lambda self, real, fake: (1 - real).relu().mean() + (1 + fake).relu().mean()),
            "pairing: discriminator does not compare the pictures of a sample",
        ),
        (mutated(Relativistic, generator=lambda self, fake, real: (fake - real).mean()), "generator must be smaller for"),
    ],
)
def test_the_kit_finds(objective: type, reason: str) -> None:
    with pytest.raises(AssertionError, match=reason):
        check_objective(objective)


class Deaf(Pix2PixLoss):
    """Takes an objective, and does not use it."""

    def __init__(self, *, domains: Any, objective: Objective = "bce") -> None:
        super().__init__(domains=domains)


def test_the_kit_finds_an_objective_without_effect() -> None:
    with pytest.raises(AssertionError, match="comparing: its option 'objective' has no effect"):
        check_loss(Deaf)


def test_the_schema_knows_objectives_as_text_and_with_options(tmp_path: Path) -> None:
    schema = recipe_schema(REGISTRY)
    valid = partial(jsonschema.validate, schema=schema)
    data = checked(tmp_path, "margin").model_dump(mode="json")
    for objective in ("hinge", {"name": "margin", "margin": 2}, {"name": "relativistic"}):
        valid({**data, "loss": {"name": "pix2pix", "objective": objective}})
    for objective in ("hing", {"name": "margin", "margin": -2}, {"name": "hinge", "margin": 2}, 3):
        with pytest.raises(jsonschema.ValidationError):
            valid({**data, "loss": {"name": "pix2pix", "objective": objective}})
    assert "Chosen" not in str(schema)


def test_the_matrix_tries_each_objective_with_each_loss() -> None:
    registry = toy.registry(mine=Plugin(), pix2pix=i2i_pix2pix)
    cells = list(cells_of(Choice(registry, {}, size=16, plugin="mine")))
    found = {cell.loss: cell for cell in cells}
    assert found["pix2pix with margin"].result == "trains"
    assert found["pix2pix with wrong"].result == "refused"
    assert "is no objective" in found["pix2pix with wrong"].reason
    assert (cells[0].generator, cells[0].discriminator) == ("toy", "judge")
    page = as_markdown(cells)
    assert "| loss | breaks | lame | margin | unreduced | wrong |" in page
    assert "| generator |" not in page  # no other combination has a component of this plugin


@pytest.mark.filterwarnings("ignore")
def test_a_compiled_discriminator_compares_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By torch.compile without its code generator, which needs no compiler of C++."""
    whole = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda network, **_: whole(network, backend="eager"))
    usual, compiled = (stepped(checked(tmp_path, "relativistic", f"train.compile={on}")) for on in ("false", "true"))
    assert "pair_b" in compiled.terms
    for name, term in usual.terms.items():
        torch.testing.assert_close(compiled.terms[name], term, rtol=1e-4, atol=1e-5)
