"""Weights of losses that change in the course of training, by a recipe alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import i2i_pix2pix
import toy
from i2i.errors import UserError
from i2i.objectives import Weight
from i2i.protocols import Batch, Discriminator, Domain, Images, Terms
from i2i.registry import hookimpl
from i2i.testing import check_loss
from i2i.training.dry_run import dry_run
from i2i.training.log import read_metrics
from i2i.training.state import Run
from i2i_watch.replay import replay


class Weighty(toy.ToyLoss):
    """Its terms are the weights that it sees."""

    def __init__(self, *, domains: Mapping[str, Domain], near: Weight = 1.0, far: Weight = 2.0, fixed: Weight = 1.0) -> None:
        super().__init__(domains=domains)
        self.near, self.far, self.built = near, far, {"fixed": fixed, "near": near}

    def begin(self, step: int, steps: int) -> None:
        self.noted = self.near

    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        l1 = super().generator_terms(D, batch, images)["l1"]
        return {name: weight + 0 * l1 for name, weight in (("near", self.near), ("far", self.far), ("noted", self.noted))}


class Plugin:
    @hookimpl
    def register_losses(self) -> dict[str, Any]:
        return {"weighty": Weighty}


REGISTRY = toy.registry(weighty=Plugin(), pix2pix=i2i_pix2pix)
TEXT = toy.RECIPE.replace("loss: {name: toy}", "loss: {name: weighty}")


def trained(folder: Path, *overrides: str, **more: Any) -> Run:
    return toy.trained(folder, *overrides, text=TEXT, plugins=REGISTRY, **more)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("{name: weighty, near: {from: 1}}", r"toy.yaml:4:23: loss.near.to: this key is missing"),
        ("{name: weighty, near: {from: 1, to: -1}}", r"toy.yaml:4:43: loss.near.to: must be at least 0"),
        ("{name: weighty, near: {from: 1, to: 0, until: 5}}", r"toy.yaml:4:53: loss.near.until: must be at most 1"),
        ("{name: weighty, near: {from: 1, to: 0, untl: 1}}", r"4:46: loss.near.untl: unknown key. Did you mean 'until'"),
        ("{name: weighty, near: far}", r"toy.yaml:4:29: loss.near: must be a number, not the text 'far'\.$"),
        ("[{name: toy}, {name: weighty, near: {from: .inf, to: 0}}]", r"loss.1.near.from: .*finite"),
        (
            "{name: weighty, fixed: {from: 1, to: 0}}",
            "loss 'weighty': 'fixed' cannot change during training: it is not kept",
        ),
        ("{name: toy, explode_at: {from: 1, to: 0}}", "loss.explode_at: must be a whole number, not a mapping"),
    ],
)
def test_what_cannot_change_is_refused_before_anything_is_written(tmp_path: Path, loss: str, message: str) -> None:
    text = toy.RECIPE.replace("loss: {name: toy}", f"loss: {loss}")
    with pytest.raises(UserError, match=message):
        toy.trained(tmp_path, text=text, plugins=REGISTRY)
    assert not (tmp_path / "out").exists()


NEAR = "loss.near={from: 1, to: 0, until: 0.5}"
FAR = "loss.far={from: 0, to: 6}"


def test_weights_follow_the_recipe_through_resumes_replays_and_dry_runs(tmp_path: Path) -> None:
    trained(tmp_path, NEAR, FAR, "train.steps=6")
    lines = read_metrics(tmp_path / "out" / "metrics.jsonl")
    assert [line["near"] for line in lines] == pytest.approx([1, 2 / 3, 1 / 3, 0, 0, 0], abs=1e-5)
    assert [line["far"] for line in lines] == pytest.approx([0, 1, 2, 3, 4, 5])
    assert [line["noted"] for line in lines] == [line["near"] for line in lines]  # begin comes after
    trained(tmp_path, NEAR, FAR, "train.steps=8", resume=True)  # a share of the run, which has become longer
    later = read_metrics(tmp_path / "out" / "metrics.jsonl")[6:]
    assert [line["far"] for line in later] == pytest.approx([4.5, 5.25])
    assert float(replay(tmp_path / "out", 8, REGISTRY, Console(quiet=True)).terms["far"]) == 5.25
    with Console(record=True, width=200) as console:
        dry_run(toy.recipe(tmp_path, NEAR, FAR, text=TEXT, plugins=REGISTRY), tmp_path / "dry", REGISTRY, False, console)
    assert "near                     1\n" in console.export_text().replace(" \n", "\n")


def test_the_recipe_of_the_run_says_how_they_change(tmp_path: Path) -> None:
    recipe = trained(tmp_path, NEAR, "train.steps=2").recipe
    again = toy.recipe(tmp_path, text=(tmp_path / "out" / "recipe.yaml").read_text(), plugins=REGISTRY)
    assert again.loss == recipe.loss
    assert "near: {from: 1.0, to: 0.0, until: 0.5}" in recipe.to_yaml()


def test_a_weight_that_begins_at_nothing_has_its_needs_from_the_start(tmp_path: Path) -> None:
    text = toy.RECIPE.replace("loss: {name: toy}", "loss: {name: pix2pix, gan: {from: 0, to: 3, until: 0.5}}")
    run = toy.trained(tmp_path, text=text, plugins=REGISTRY)
    assert run.discriminator is not None
    lines = read_metrics(tmp_path / "out" / "metrics.jsonl")
    assert ["gan_b" in line for line in lines] == [False, *[True] * 5]
    assert all("real_b" in line for line in lines)


def test_the_kit_sees_a_weight_that_would_not_change() -> None:
    class Deaf(Weighty):
        def __init__(self, *, domains: Mapping[str, Domain], near: Weight = 1.0) -> None:
            super().__init__(domains=domains, near=near)
            self.kept = self.noted = near

        def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
            return {"l1": self.kept * toy.ToyLoss.generator_terms(self, D, batch, images)["l1"]}

    with pytest.raises(AssertionError, match=r"'l1' does not follow the weight 'near' when it changes: read self\.near"):
        check_loss(Deaf)

    class Closed(toy.ToyLoss):
        def __init__(self, *, domains: Mapping[str, Domain], fixed: Weight = 1.0) -> None:
            super().__init__(domains=domains)

    with pytest.raises(AssertionError, match=r"'fixed' cannot change during training: .* type it 'float'"):
        check_loss(Closed)
