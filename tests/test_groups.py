"""Parts of players that learn at rates of their own, are frozen for a while, or rest in a step."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

import strangers
import toy
from i2i.adapters import per_direction
from i2i.errors import UserError
from i2i.protocols import Batch, Discriminator, Domain, Generator, Images, Terms
from i2i.recipe import load_recipe
from i2i.registry import Registry, default_registry, hookimpl
from i2i.testing import check_generator, check_loss
from i2i.training.log import read_metrics
from i2i.training.loop import accumulated_step
from i2i.training.running import run_recipe
from i2i.training.state import Run
from i2i.translation.state_files import load_state

SGD = "{optimizer: sgd, lr: 0.01%s}"


class Mapped(nn.Module):
    """A mapping network that wants a hundredth of the rate, and a layer."""

    rates = {"mapping": 0.01}  # noqa: RUF012

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.mapping = nn.Sequential(nn.Conv2d(in_channels, 4, 1), nn.Conv2d(4, 4, 1))
        self.last = nn.Conv2d(4, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.mapping(x)).tanh()  # type: ignore[no-any-return]


class Tired(toy.ToyLoss):
    """Lets rest what it is told to, by step, and notes what it is asked for."""

    rest: Mapping[int, Sequence[str]] = {}

    def __init__(self, *, domains: Mapping[str, Domain], adversarial: bool = True) -> None:
        super().__init__(domains=domains, adversarial=adversarial)
        self.asked: list[str] = []

    def resting(self, step: int) -> Sequence[str]:
        self.asked.append("")
        return self.rest.get(step, ())

    def translate(self, G: Generator, batch: Batch) -> Images:
        self.asked[-1:] = [*self.asked[-1:], "translate" if torch.is_grad_enabled() else "translate without gradient"]
        return super().translate(G, batch)

    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        self.asked.append("generator")
        return super().generator_terms(D, batch, images)

    def discriminator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        self.asked.append("discriminator")
        return super().discriminator_terms(D, batch, images)


class Watch:
    """The plugin, which also keeps every weight after each step."""

    def __init__(self, stop_at: int = -1) -> None:
        self.stop_at = stop_at
        self.weights: list[dict[str, Tensor]] = []

    @hookimpl
    def register_generators(self) -> dict[str, Any]:
        return {"mapped": per_direction(Mapped)}

    @hookimpl
    def register_losses(self) -> dict[str, Any]:
        return {"tired": Tired}

    @hookimpl
    def run_started(self, run: Run) -> None:
        self.step_ended(run)

    @hookimpl
    def step_ended(self, run: Run) -> None:
        named = {f"{player}.{name}": p for player, own in run.players.items() for name, p in own.parameters.items()}
        self.weights.append({name: p.detach().clone() for name, p in named.items()})
        if run.step == self.stop_at:
            run.ask_to_stop()


TEXT = toy.RECIPE.replace("{name: toy}", "{name: mapped}", 1)
TIRED = toy.RECIPE.replace("loss: {name: toy}", "loss: {name: tired}")


def trained(folder: Path, *overrides: str, text: str = TEXT, stop_at: int = -1, **more: Any) -> tuple[Run, Watch]:
    watch = Watch(stop_at)
    return toy.trained(folder, *overrides, text=text, plugins=toy.registry(watch=watch), **more), watch


def moves(watch: Watch, step: int) -> dict[str, float]:
    """How far the step moved each weight."""
    before, after = watch.weights[step - 1 : step + 1]
    return {name: float((after[name] - before[name]).abs().max()) for name in after}


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (
            "{mapped: {lr: 1e-3}}",
            r"toy.yaml:5:30: train.generator.groups.mapped: the generator has no trained part of that name. "
            "Did you mean 'mapping'",
        ),
        ("{x: {lr: 1e-3}}", "There are: mapping, networks, last, loss"),
        ("{mapping: {frozen_until: 6}}", r"toy.yaml:5:40: .*mapping.frozen_until: the run has 6 steps, so this group"),
        ("{mapping: {frozen_until: never}}", "frozen_until: must be a whole number.* Or: must be 'end'"),
        ("{mapping: {lr: 0}}", "groups.mapping.lr: must be greater than 0"),
        ("{mapping: {rate: 1}}", "groups.mapping.rate: unknown key"),
        ("{mapping: 1e-3}", "groups.mapping: must be a mapping"),
    ],
)
def test_a_group_that_would_change_nothing_is_refused_at_its_place(tmp_path: Path, groups: str, message: str) -> None:
    text = TEXT.replace("train: {", f"train: {{generator: {{groups: {groups}}}, ")
    with pytest.raises(UserError, match=message):
        trained(tmp_path, text=text)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        (
            ("generators",),
            r"loss 'tired': 'resting' names 'generators', which is not a part. Did you mean 'generator'",
        ),
        (("generator.layer",), r"Did you mean 'generator.layers'"),
        (("generator", "discriminator"), "step 2: every player is frozen or rests"),
    ],
)
def test_a_loss_that_lets_rest_what_there_is_not_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rest: Sequence[str], message: str
) -> None:
    monkeypatch.setattr(Tired, "rest", {1: rest})
    with pytest.raises(UserError, match=message):
        trained(tmp_path, text=TIRED)


@pytest.mark.parametrize(
    ("groups", "share"),
    [
        ("", 0.01),
        (", groups: {mapping: {lr: 0.02}}", 2.0),
        (", groups: {networks.a_b: {lr: 0.02}, mapping.1: {lr: 0.01}}", 2.0),
        (", groups: {mapping: {frozen_until: 3}}", 0.0),
    ],
)
def test_a_network_asks_for_rates_and_a_recipe_overrules_them(tmp_path: Path, groups: str, share: float) -> None:
    """SGD moves by rate times gradient; the first step's gradients are the same."""
    run, watch = trained(tmp_path, "train.steps=4", f"train.generator={SGD % groups}")
    _, plain = trained(tmp_path, "train.steps=1", f"train.generator={SGD % ', groups: {mapping: {lr: 0.01}}'}", out="plain")
    first, usual = moves(watch, 1), moves(plain, 1)
    place = "generator.networks.a_b."
    assert first[f"{place}mapping.0.weight"] == pytest.approx(share * usual[f"{place}mapping.0.weight"], rel=1e-3)
    last = 2.0 if "networks" in groups else 1.0
    assert first[f"{place}last.weight"] == pytest.approx(last * usual[f"{place}last.weight"], rel=1e-3)
    if "mapping.1" in groups:  # the innermost part decides
        assert first[f"{place}mapping.1.weight"] == pytest.approx(usual[f"{place}mapping.1.weight"], rel=1e-3)
    assert first["generator.loss.head.weight"] == usual["generator.loss.head.weight"]
    rates = {group["name"]: group["lr"] for group in run.optimizers["generator"].param_groups}
    logged = (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()[-1]
    for name, rate in rates.items():
        assert f'"lr_generator{"." * bool(name)}{name}": {rate:g}' in logged


def test_a_rate_for_a_part_that_is_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Mapped, "rates", {"mappings": 0.01})
    with pytest.raises(UserError, match=r"Mapped: 'rates' names 'mappings', which it does not have. Did you mean 'mapping'\?"):
        trained(tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_loss_s_own_network_is_a_part_too(tmp_path: Path) -> None:
    _, watch = trained(tmp_path, "train.steps=2", "train.generator.groups={loss.head: {frozen_until: end}}")
    assert [moves(watch, step)["generator.loss.head.weight"] for step in (1, 2)] == [0, 0]


FROZEN = (
    "train.generator.groups={mapping: {frozen_until: 3}, last: {frozen_until: 2}}",
    "train.discriminator.groups={features: {frozen_until: end}}",
)


@pytest.mark.parametrize(
    "more", [(), ("train.clip=0.1", "train.accumulate=2", "train.fast=false", "train.schedule={name: cosine}")]
)
def test_what_is_frozen_has_neither_gradients_nor_state_and_learns_later(tmp_path: Path, more: Sequence[str]) -> None:
    class States:
        @hookimpl
        def step_ended(self, run: Run) -> None:
            places = {id(p): f"{player}.{name}" for player, own in run.players.items() for name, p in own.parameters.items()}
            kept = {places[id(p)] for o in run.optimizers.values() for p in o.state}
            trains = {places[id(p)] for own in run.players.values() for p in own.parameters.values() if p.requires_grad}
            states.append(kept)
            assert kept == trains

    states: list[set[str]] = []
    run, watch = trained(tmp_path, *FROZEN, *more, watcher=States())
    assert [any("mapping" in name for name in kept) for kept in states] == [False, False, False, True, True, True]
    assert [any("last" in name for name in kept) for kept in states] == [False, False, True, True, True, True]
    assert not any("features" in name for kept in states for name in kept)
    moved = [{name for name, way in moves(watch, step).items() if way} for step in range(1, 7)]
    assert moved == states
    assert "step 3: 'mapping' is no longer frozen" in (tmp_path / "out" / "log.txt").read_text()
    assert run.ema is not None
    assert all(p.isfinite().all() for p in run.ema.network.parameters())


@pytest.mark.parametrize("stop_at", [1, 2, 3, 4])
def test_a_resume_goes_on_to_the_same_bytes(tmp_path: Path, stop_at: int) -> None:
    every = (*FROZEN, "checkpoint.every=1", "train.generator.schedule={name: step, every: 2}", "train.clip=1")
    trained(tmp_path, *every, out="whole")
    trained(tmp_path, *every, out="parts", stop_at=stop_at)
    trained(tmp_path, *every, out="parts", resume=True)
    for path in sorted((tmp_path / "whole" / "checkpoints" / "step-00000006").rglob("*.safetensors")):
        assert path.read_bytes() == Path(str(path).replace("whole", "parts")).read_bytes(), path.name


def test_a_weight_takes_its_state_with_it_into_another_group(tmp_path: Path) -> None:
    """A resume with the rates of before, written otherwise, makes the step of before."""
    lr = "train.generator.lr=0.001"
    trained(tmp_path, lr, "train.steps=3")
    for name, more in (
        ("same", ()),
        ("other", ("train.generator.groups={last: {lr: 0.001}, mapping.0.bias: {lr: 1e-5}}",)),
        ("faster", ("train.generator.groups={last: {lr: 0.002}}",)),
    ):
        out = tmp_path / name
        out.mkdir()
        for path in sorted((tmp_path / "out").rglob("*")):
            target = out / path.relative_to(tmp_path / "out")
            target.mkdir() if path.is_dir() else target.write_bytes(path.read_bytes())
        trained(tmp_path, lr, "train.steps=4", *more, out=name, resume=True)
    same, other, faster = (
        load_state(tmp_path / name / "checkpoints" / "step-00000004")["generator"] for name in ("same", "other", "faster")
    )
    assert all(torch.equal(same[key], other[key]) for key in same)
    assert {key.split(".")[2] for key in same if not torch.equal(same[key], faster[key])} == {"last"}
    assert "changed after step 3: train.generator.groups.last" in (tmp_path / "faster" / "log.txt").read_text()


def test_each_player_has_a_schedule_of_its_own(tmp_path: Path) -> None:
    run, _ = trained(
        tmp_path, "train.steps=2", "train.schedule={name: step, every: 1}", "train.generator.schedule={name: constant}"
    )
    rates = [group["lr"] for optimizer in run.optimizers.values() for group in optimizer.param_groups]
    assert rates == pytest.approx([2e-4, 2e-6, 2e-6])


def test_what_rests_is_neither_computed_nor_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Tired, "rest", {1: ("discriminator",), 2: ("generator",), 3: ("generator.layers.3", "generator.loss.head")}
    )
    run, watch = trained(tmp_path, "train.accumulate=2", "train.steps=4", text=TIRED)
    both = ["translate", "generator", "discriminator"] * 2
    alone = ["translate", "generator"] * 2
    judged = ["translate without gradient", "discriminator"] * 2
    rehearsed = run.loss.asked[: run.loss.asked.index("")]
    assert run.loss.asked[len(rehearsed) :] == ["", *both, "", *alone, "", *judged, "", *both]
    still = [{name for name, way in moves(watch, step).items() if not way} for step in range(1, 5)]
    assert still[0] == set()
    assert still[1] == {name for name in watch.weights[0] if name.startswith("discriminator.")}
    assert still[2] == {name for name in watch.weights[0] if name.startswith("generator.")}
    assert still[3] == {name for name in watch.weights[0] if "layers.3" in name or "head" in name}
    lines = (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()
    assert ['"real"' in line for line in lines] == ["gradient_norm_discriminator" in line for line in lines]
    assert ['"real"' in line for line in lines] == [True, False, True, True]
    assert (
        ['"l1"' in line for line in lines] == ["gradient_norm_generator" in line for line in lines] == [True, True, False, True]
    )


def test_a_plateau_does_not_count_steps_that_its_player_rests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tired, "rest", {1: ("generator",)})
    run, _ = trained(tmp_path, "train.steps=3", "train.schedule={name: plateau, every: 9}", text=TIRED)
    assert [schedule.count for schedule in run.schedules] == [2, 2]


def test_a_player_that_rests_is_not_looked_at_and_what_is_not_finite_is_still_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tired, "rest", {0: ("discriminator",), 3: ("discriminator",)})
    monkeypatch.setattr(
        Tired,
        "discriminator_terms",
        lambda self, D, batch, images: {"real": D(batch["b"], "b", batch["a"])[0][-1].mean() * math.nan},
    )
    with pytest.raises(UserError, match=r"step 2: NaN or infinite loss in real"):
        trained(tmp_path, "log.every=4", "checkpoint.every=4", text=TIRED)


def test_a_dry_run_s_step_and_a_trial_s_rest_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from i2i.training.assembly import assemble

    monkeypatch.setattr(Tired, "rest", {0: ("discriminator",)})
    registry = Registry(plugins={"toys": toy, "watch": Watch()})
    run = assemble(toy.recipe(tmp_path, text=TIRED, plugins=registry), registry)
    assert set(accumulated_step(run, run.batches())) == {"l1", "gan"}


def test_the_kit_tries_what_a_network_and_a_loss_say(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError, match=r"Odd: 'rates' names 'mappings', which it does not have. Did you mean 'mapping'"):
        check_generator(per_direction(type("Odd", (Mapped,), {"rates": {"mappings": 0.1}})))
    unused = "its 'rates' name 'networks.a_b.unused', but no parameter's name begins with that"
    with pytest.raises(AssertionError, match=re.escape(unused)):
        check_generator(per_direction(type("Odd", (Mapped,), {"rates": {"unused": 0.1}, "unused": nn.Identity()})))
    with pytest.raises(AssertionError, match=r"its 'rates' set 'networks\.a_b\.mapping' to 0"):
        check_generator(per_direction(type("Odd", (Mapped,), {"rates": {"mapping": 0}})))
    monkeypatch.setattr(Tired, "rest", {7: ("mapping",)})
    with pytest.raises(AssertionError, match=r"resting\(7\) names 'mapping'"):
        check_loss(Tired)


def test_an_outside_package_uses_all_of_it(tmp_path: Path) -> None:
    """Adam's first step of a weight is as long as its rate; cosine's first is the whole of it."""
    watch = Watch()
    with strangers.installed(tmp_path, "rates"):
        registry = default_registry()
        recipe = load_recipe("rates:rates", ["train.steps=4"], registry)
        with registry.subscribed(watch):
            run_recipe(recipe, tmp_path / "out", registry, resume=False, console=Console(quiet=True))
    first = {name.removeprefix("generator.networks.a_b."): way for name, way in moves(watch, 1).items()}
    assert first["mapping.0.weight"] == pytest.approx(2e-5, rel=1e-2)
    assert first["last.0.weight"] == pytest.approx(2e-3, rel=1e-2)
    assert {name.split(".")[0] for name, way in first.items() if not way} == {"encoder"}
    judges = [any(way for name, way in moves(watch, step).items() if name.startswith("discriminator.")) for step in range(1, 5)]
    assert judges == [True, False, True, False]
    assert all(way for name, way in moves(watch, 2).items() if ".encoder." in name)
    lines = read_metrics(tmp_path / "out" / "metrics.jsonl")
    assert ["real" in line for line in lines] == judges
    assert lines[0]["lr_generator.mapping"] == pytest.approx(lines[0]["lr_generator"] / 100)
