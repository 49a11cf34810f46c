"""What no gradient reaches is left out where a network can do without it, and refused by its name where it cannot."""

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

import i2i
import strangers
import terminal
import toy
from i2i.building.reach import leave_out, left_out, unreached
from i2i.errors import UserError
from i2i.objectives import Weight
from i2i.protocols import Batch, Discriminator, Domain, Generator, Images, Terms, Translation
from i2i.recipe import load_recipe
from i2i.registry import Registry, default_registry, hookimpl
from i2i.testing.matrix import cells_of
from i2i.testing.workshop import Choice
from i2i.training.assembly import assemble
from i2i.translation.loading import load


class Net(nn.Module):
    """A layer, a style's shift, and what an option adds: a layer that nobody calls, or one whose gradients are all zero."""

    parts = {"style": ("encoder", "scale"), "mix": ("encoder",)}  # noqa: RUF012

    def __init__(self, odd: str) -> None:
        super().__init__()
        self.layer, self.odd = nn.Conv2d(3, 3, 1), odd
        self.encoder, self.scale = nn.Conv2d(3, 3, 1), nn.Parameter(torch.ones(()))
        self.spare = nn.Sequential(nn.Conv2d(3, 3, 1)) if odd else None

    def forward(self, x: Tensor, style: Tensor | None, steps: int) -> tuple[Tensor, dict[str, Tensor]]:
        y, extras = self.layer(x) / steps, {}
        if style is not None:
            extras["style_mean"] = self.encoder(style).mean((2, 3), keepdim=True)
            y = y + self.scale * extras["style_mean"]
        if self.odd == "zero" and self.spare is not None:
            y = y + 0 * self.spare(x)
        return y.tanh(), extras


class Styled(nn.Module):
    accepts, exposes, divisor = frozenset({"style", "mix"}), frozenset({"style_mean", "styles"}), 1
    at_use = frozenset({"steps"})

    def __init__(
        self, *, domains: Any, directions: Any, odd: Literal["", "unused", "zero"] = "", styles: bool = True, steps: int = 1
    ) -> None:
        super().__init__()
        self.networks, self.steps = nn.ModuleDict({f"{s}_{t}": Net(odd) for s, t in directions}), steps
        if not styles:
            leave_out(self, left_out(self))

    def forward(self, x: Tensor, source: str, *targets: str, style: Tensor | None = None) -> Translation:
        images, extras = {}, {}
        for target in targets:
            images[target], extras = self.networks[f"{source}_{target}"](x, style, self.steps)
        return Translation(images, {**extras, "styles": x})


class Judge(toy.ToyJudge):
    """With a second opinion that only who asks for it hears."""

    parts = {"opinion": ("opinion",)}  # noqa: RUF012

    def __init__(self, in_channels: int, *, width: int = 4, spare: bool = False) -> None:
        super().__init__(in_channels, width=width)
        self.opinion = nn.Conv2d(in_channels, 1, 1)
        self.spare = nn.Conv2d(1, 1, 1) if spare else None


class Loss(toy.ToyLoss):
    """Gives a style always, never or at random; its head learns always, later, at random or never."""

    def __init__(
        self,
        *,
        domains: Mapping[str, Domain],
        style: Literal["never", "always", "random", "promised"] = "never",
        head: Literal["learns", "random", "unused"] = "learns",
        weight: Weight = 1.0,
    ) -> None:
        super().__init__(domains=domains, conditional=False)
        keywords = frozenset({"style"} if style != "never" else ())
        self.needs = type(self.needs)(self.needs.directions, paired=True, keywords=keywords)
        self.style, self.learns, self.weight = style, head, weight

    def translate(self, G: Generator, batch: Batch) -> Images:
        given = self.style == "always" or (self.style == "random" and float(torch.rand(())) < 0.5)
        return {"fake": G(batch["a"], "a", "b", **({"style": batch["b"]} if given else {})).image}

    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        terms = super().generator_terms(D, batch, images)
        if not self.weight or self.learns == "unused" or (self.learns == "random" and random.random() < 0.5):
            terms["l1"] = (images["fake"] - batch["b"]).abs().mean()
        return terms


class OneOfMany(toy.ToyLoss):
    """Draws the network of its own that learns."""

    networks = ("heads",)

    def __init__(self, *, domains: Mapping[str, Domain]) -> None:
        super().__init__(domains=domains)
        self.heads = nn.ModuleList(nn.Conv2d(3, 3, 1) for _ in range(12))
        del self.head

    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        head = self.heads[int(torch.randint(len(self.heads), ()))]
        return {"l1": (head(images["fake"]) - batch["b"]).abs().mean()}


class Plugin:
    @hookimpl
    def register_generators(self) -> dict[str, Any]:
        return {"styled": Styled}

    @hookimpl
    def register_discriminators(self) -> dict[str, Any]:
        return {"opinionated": toy.per_domain(Judge, features=True)}

    @hookimpl
    def register_losses(self) -> dict[str, Any]:
        return {"giving": Loss, "drawing": OneOfMany}


REGISTRY = Registry(plugins=[toy, Plugin()])
RECIPE = (
    toy.RECIPE.replace("generator: {name: toy}", "generator: {name: styled}")
    .replace("{name: judge}", "{name: opinionated}")
    .replace("loss: {name: toy}", "loss: {name: giving}")
)


def train(folder: Path, *overrides: str, resume: bool = False, out: str = "out") -> Any:
    return toy.trained(folder, *overrides, text=RECIPE, plugins=REGISTRY, resume=resume, out=out)


def test_parts_that_no_loss_reaches_are_not_trained_not_saved_and_not_offered(tmp_path: Path) -> None:
    run = train(tmp_path, "samples.use={steps: 2}")
    gone = ["networks.a_b.encoder", "networks.a_b.scale"]
    assert run.model.networks["a_b"].encoder is run.model.networks["a_b"].scale is None
    assert (run.model.accepts, run.model.exposes) == (frozenset(), {"styles"})
    assert (Styled.accepts, Styled.exposes) == ({"style", "mix"}, {"style_mean", "styles"})
    assert not any("encoder" in name or "scale" in name for own in run.players.values() for name in own.parameters)
    assert all(judge.opinion is None for judge in run.discriminator.networks.values())
    config = json.loads((tmp_path / "out/model/config.json").read_text())
    assert config["extra"]["left_out"] == gone
    assert f"{', '.join(gone)}: left out" in (tmp_path / "out/log.txt").read_text()
    for use in ({}, {"steps": 3}):
        model = load(tmp_path / "out", "cpu", registry=REGISTRY, use=use)
        assert model.module.networks["a_b"].encoder is None
        with pytest.raises(UserError, match="takes no style"):
            model.translate(torch.rand(3, 16, 16), style=torch.rand(3, 16, 16))


def test_a_resume_leaves_the_same_out_and_ends_at_the_same_bytes(tmp_path: Path) -> None:
    train(tmp_path, out="whole")
    train(tmp_path, "train.steps=4")
    train(tmp_path, "train.steps=6", resume=True)
    names = ("generator", "discriminator", "ema")
    whole, resumed = (
        {name: (tmp_path / out / "checkpoints/step-00000006" / f"{name}.safetensors").read_bytes() for name in names}
        for out in ("whole", "out")
    )
    assert whole == resumed


def test_parts_that_a_loss_reaches_stay(tmp_path: Path) -> None:
    run = train(tmp_path, "loss.style=always")
    assert "networks.a_b.encoder.weight" in run.players["generator"].parameters
    model = load(tmp_path / "out", "cpu", registry=REGISTRY)
    made = [model.translate(torch.zeros(3, 16, 16), style=torch.full((3, 16, 16), grey)) for grey in (0.0, 1.0)]
    assert not torch.equal(*made)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["generator.odd=unused"],
            r"generator 'styled': 'networks.a_b.spare' gets no gradient from loss 'giving'\. Choose",
        ),
        (
            ["discriminator.spare=true"],
            r"discriminator 'opinionated': 'networks.b.spare' gets no .*train.discriminator.groups",
        ),
        (["loss.head=unused"], r"loss 'giving': 'loss.head' gets no gradient\. .*groups: {loss.head: {frozen_until: end}}"),
        (["loss.style=promised"], "'networks.a_b.scale'"),
        (["generator.odd=unused", "train.generator.groups={spare: {frozen_until: 2}}"], "'networks.a_b.spare'"),
        (["train.generator.groups={encoder: {lr: 0.1}}"], "the generator has no trained part of that name"),
    ],
)
def test_what_no_gradient_reaches_is_refused_by_name(overrides: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        train(tmp_path, *overrides)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "overrides",
    [
        ["generator.odd=zero"],
        ["loss.head=random"],
        ["loss.style=random"],
        ["loss.weight={from: 0, to: 1, until: 0.5}"],
        ["loss.weight={from: 1, to: 0, until: 0.5}"],
        ["generator.odd=unused", "train.generator.groups={spare: {frozen_until: end}}"],
        ["loss.head=unused", "train.generator.groups={loss.head: {frozen_until: end}}"],
        ["loss={name: drawing}", "discriminator={name: judge}"],
        ["train.precision=bf16"],
    ],
)
def test_what_is_reached_at_some_time_or_frozen_on_purpose_trains(overrides: list[str], tmp_path: Path) -> None:
    assert train(tmp_path, *overrides).step == 6


@pytest.mark.parametrize("weight", ["{from: 0, to: 1}", "{from: 1, to: 0, until: 0.5}"])
def test_several_processes_need_a_gradient_in_every_step(weight: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = toy.recipe(tmp_path, f"loss.weight={weight}", text=RECIPE, plugins=REGISTRY)
    accelerator = assemble(recipe, REGISTRY).accelerator
    monkeypatch.setattr("accelerate.Accelerator.num_processes", 2)
    with pytest.raises(
        UserError, match=r"several processes .* in every step, and in some steps loss 'giving': 'loss.head' gets no"
    ):
        assemble(recipe, REGISTRY, accelerator=accelerator)


def test_the_first_step_is_rehearsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(Loss, "translate", lambda self, G, batch: calls.append(0) or super(Loss, self).translate(G, batch))
    assemble(toy.recipe(tmp_path, text=RECIPE, plugins=REGISTRY), REGISTRY)
    assert len(calls) == 1


def test_a_part_that_several_directions_have_goes_where_none_needs_it() -> None:
    ways = {"domains": {}, "directions": [("a", "b"), ("b", "a")]}
    network = Styled(**ways)
    network(torch.rand(1, 3, 4, 4), "a", "b", style=torch.rand(1, 3, 4, 4)).image.sum().backward()
    reached = {p for p in network.parameters() if p.grad is not None}
    assert unreached(network, reached, {"style", "mix"}) == ([], "networks.b_a")
    assert unreached(network, {*reached, *network.networks["b_a"].layer.parameters()}, ())[1] is None
    assert unreached(network, set(network.parameters()), ()) == ([], None)


def test_the_matrix_says_trains_or_refused() -> None:
    for odd, results in (("", {"trains"}), ("unused", {"refused"})):
        cells = [c for c in cells_of(Choice(REGISTRY, {"generator styled": {"odd": odd}}, size=16)) if c.generator == "styled"]
        found = [cell for cell in cells if cell.loss == "giving" and cell.data == "images"]
        assert {cell.result for cell in found} == results
        drawn = [cell for cell in cells if cell.loss == "drawing" and cell.discriminator == "judge" and cell.data == "images"]
        assert odd or {cell.result for cell in drawn} == {"trains"}
        assert all("'networks.a_b.spare'" in cell.reason for cell in found if odd)


SPADE = """
dataset: {name: earth, a: labels, b: day, crop: 64}
generator: {name: spade, width: 2, hidden: 2, vae: true}
discriminator: {name: patchgan, width: 4, layers: 2}
loss: {name: pix2pix}
train: {steps: 2}
samples: {every: 2, count: 1}
log: {trackers: []}
"""


def test_spades_encoder_is_left_out_under_a_loss_without_styles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "r.yaml").write_text(SPADE)
    i2i.run(tmp_path / "r.yaml", out=tmp_path / "run")
    model = load(tmp_path / "run", "cpu")
    assert (model.module.accepts, model.module.exposes) == (frozenset(), frozenset())
    assert not any("encoder" in name for name in model.module.state_dict())
    source = sorted(Path(i2i.__file__).parents[2].rglob("i2i_earth/data/**/*.png"))[0]
    code = terminal.call(
        monkeypatch, "translate", tmp_path / "run", source, "--style", source, "--out", tmp_path / "o", "--device", "cpu"
    )
    assert code == 2
    assert "style" in capsys.readouterr().err
    i2i.run(tmp_path / "r.yaml", out=tmp_path / "run", resume=True, set={"train.steps": 3})


@pytest.mark.slow
def test_the_outside_packages_styles_are_there_where_its_loss_teaches_them(tmp_path: Path) -> None:
    with strangers.installed(tmp_path, "parts"):
        registry, offered = default_registry(), []
        for weight in (0, 1):
            run = assemble(load_recipe("parts:parts", [f"loss.styles={weight}"], registry), registry)
            offered.append((run.model.accepts, run.model.exposes, len(list(run.model.networks["a_b"].children()))))
    assert offered == [(frozenset(), frozenset(), 4), ({"style"}, {"style_code"}, 6)]
