"""What is set for a resume holds from the next step on, or is refused; a replay knows what held when."""

import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

import i2i_evaluate
import i2i_metrics
import toy
from i2i.building.epochs import in_steps
from i2i.errors import UserError
from i2i.recipe import KEYS, Recipe, load_recipe
from i2i.registry import Registry, hookimpl
from i2i.training.dry_run import dry_run
from i2i.training.running import run_recipe
from i2i.training.state import Run
from i2i.translation.state_files import load_state
from i2i_evaluate.section import Evaluate

ADAM = ("train.generator.weight_decay=0.02", "train.generator.options={eps: 1e-4}", "train.ema=null")
SGD = (
    "train={steps: 6, batch_size: 2, seed: 1, generator: {optimizer: sgd, lr: 0.01}, discriminator: {optimizer: sgd, lr: 0.01}}"
)


TEXT = toy.RECIPE.replace("checkpoint: {every: 2}", "checkpoint: {every: 1, keep_last: 99}")


def resolved(folder: Path, *overrides: str, registry: Registry | None = None) -> Recipe:
    """The recipe as a run has it: of ten samples in batches of two, an epoch is five steps."""
    recipe = toy.recipe(folder, *overrides, text=TEXT, plugins=registry)
    return in_steps(recipe, recipe.train.epoch or 5)


def trained(folder: Path, *overrides: str, out: str = "out", resume: bool = False, registry: Registry | None = None) -> Run:
    return toy.trained(folder, *overrides, out=out, text=TEXT, plugins=registry, resume=resume)


def resumed(folder: Path, name: str, *overrides: str) -> Run:
    """One step more of a copy of the run in ``out``."""
    shutil.copytree(folder / "out", folder / name)
    return trained(folder, *overrides, out=name, resume=True)


def state(folder: Path, name: str, step: int) -> dict[str, Any]:
    return load_state(folder / name / "checkpoints" / f"step-{step:08d}")


def moved(folder: Path, name: str, step: int, role: str = "generator") -> list[Tensor]:
    """By how much a step changed each weight."""
    before, after = (state(folder, name, at)[role] for at in (step - 1, step))
    return [after[key] - before[key] for key in before]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of Adam after three steps, and the same one step further."""
    folder = tmp_path_factory.mktemp("adam")
    trained(folder, *ADAM, "train.steps=3")
    resumed(folder, "same", *ADAM, "train.steps=4")
    return folder


@pytest.mark.parametrize(
    ("key", "value", "options"),
    [
        ("lr", "0.01", {"lr": 0.01}),
        ("betas", "[0.9, 0.99]", {"betas": (0.9, 0.99)}),
        ("weight_decay", "0.5", {"weight_decay": 0.5}),
        ("options", "{eps: 0.1}", {"eps": 0.1}),
    ],
)
def test_the_next_step_is_that_of_what_was_set(stopped: Path, key: str, value: str, options: Mapping[str, Any]) -> None:
    """torch's Adam, given the saved moments and the gradient of the step, moves the weights as the resumed run does."""
    resumed(stopped, key, *ADAM, "train.steps=4", f"train.generator.{key}={value}")
    usual = {"lr": 2e-4, "betas": (0.5, 0.999), "weight_decay": 0.02, "eps": 1e-4}
    for name, settings in (("same", usual), (key, {**usual, **options})):
        for now, expected in zip(moved(stopped, name, 4), by_hand(stopped, settings, usual), strict=True):
            torch.testing.assert_close(now, expected, rtol=1e-3, atol=1e-8)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(moved(stopped, key, 4), moved(stopped, "same", 4), rtol=1e-2, atol=1e-8)
    said = (stopped / key / "log.txt").read_text()
    assert f"changed after step 3: train.generator.{key}" in said
    assert " → " in said
    assert "train.generator" not in (stopped / "same" / "log.txt").read_text()
    recorded = load_recipe(stopped / key / "recipe.yaml", [], toy.registry())
    config = json.loads((stopped / key / "model" / "config.json").read_text())
    for train in (recorded.model_dump(mode="json")["train"], config["extra"]["recipe"]["train"]):
        assert train == resolved(stopped, *ADAM, "train.steps=4", f"train.generator.{key}={value}").train.settled().model_dump(
            mode="json"
        )


def by_hand(folder: Path, settings: Mapping[str, Any], usual: Mapping[str, Any]) -> list[Tensor]:
    """By how much torch's Adam moves the weights after step 3 with the gradient that they had in step 4."""
    before, after = state(folder, "same", 3), state(folder, "same", 4)
    (weights, saved), (_, later) = ((s["generator"], s["optimizers"][0]["state"]) for s in (before, after))
    b, moves = usual["betas"][0], []
    for i, weight in enumerate(weights.values()):
        decayed = (later[i]["exp_avg"] - b * saved[i]["exp_avg"]) / (1 - b)  # Adam adds the decay to the gradient
        parameter = nn.Parameter(weight.clone())
        parameter.grad = decayed - usual["weight_decay"] * weight
        optimizer = torch.optim.Adam([parameter], **settings)
        optimizer.state[parameter] = {key: value.clone() for key, value in saved[i].items()}
        optimizer.step()
        moves.append(parameter.detach() - weight)
    return moves


@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_both_players_rates_double(tmp_path: Path, player: str) -> None:
    trained(tmp_path, SGD, "train.steps=2", "loss.adversarial=true")
    resumed(tmp_path, "same", SGD, "train.steps=3")
    resumed(tmp_path, "double", SGD, "train.steps=3", f"train.{player}.lr=0.02")
    for one, two in zip(moved(tmp_path, "same", 3, player), moved(tmp_path, "double", 3, player), strict=True):
        torch.testing.assert_close(2 * one, two, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize(
    ("before", "after", "share"),
    [
        ("{name: constant}", "{name: step, every: 1, factor: 0.5}", 0.25),
        ("{name: constant, warmup: 4}", "{name: constant}", 1.0),
        ("{name: step, every: 1, factor: 0.5}", "{name: plateau, every: 9}", 1.0),
        ("{name: plateau, every: 1, patience: 1, factor: 0.5, threshold: 0.9}", "{name: constant}", 1.0),
        ("{name: constant_then_linear, constant: 0}", "{name: constant_then_linear, constant: 0.5}", 2 / 3),
    ],
)
def test_a_schedule_begins_with_the_next_step(tmp_path: Path, before: str, after: str, share: float) -> None:
    trained(tmp_path, SGD, "train.steps=2", f"train.schedule={before}")
    run = resumed(tmp_path, "other", SGD, "train.steps=3", "train.schedule={name: constant}")
    changed = resumed(tmp_path, "changed", SGD, "train.steps=3", f"train.schedule={after}")
    for one, other in zip(moved(tmp_path, "other", 3), moved(tmp_path, "changed", 3), strict=True):
        torch.testing.assert_close(share * one, other, rtol=1e-3, atol=1e-7)
    assert run.step == changed.step == 3


PLATEAU = "train.schedule={name: plateau, every: 1, patience: 1, factor: 0.5, threshold: 0.9}"


def test_a_plateau_keeps_what_it_has_taken_of_the_rate(tmp_path: Path) -> None:
    """With an improvement by nine tenths asked for, the rate falls after every second step but the first: 1, 1, 1, 0.5 …"""
    first = trained(tmp_path, SGD, "train.steps=3", PLATEAU)
    assert [group["lr"] for group in first.optimizers["generator"].param_groups] == [0.005]
    run = resumed(tmp_path, "double", SGD, "train.steps=4", PLATEAU, "train.generator.lr=0.02")
    resumed(tmp_path, "same", SGD, "train.steps=4", PLATEAU)
    for one, two in zip(moved(tmp_path, "same", 4), moved(tmp_path, "double", 4), strict=True):
        torch.testing.assert_close(2 * one, two, rtol=1e-3, atol=1e-7)
    assert run.schedules[0].plateau.num_bad_epochs == 1
    other = resumed(tmp_path, "patient", SGD, "train.steps=4", PLATEAU.replace("patience: 1", "patience: 7"))
    assert other.schedules[0].plateau.patience == 7


def test_what_was_set_holds_although_the_run_is_killed_before_it_saves(tmp_path: Path) -> None:
    trained(tmp_path, SGD, "train.steps=2")

    class Dies:
        @hookimpl
        def run_started(self, run: Run) -> None:
            raise KeyboardInterrupt

    registry = toy.registry()
    with pytest.raises(KeyboardInterrupt), registry.subscribed(Dies()):
        trained(tmp_path, SGD, "train.steps=3", "train.generator.lr=0.02", resume=True, registry=registry)
    own = load_recipe(tmp_path / "out" / "recipe.yaml", [], toy.registry())
    assert own.train.generator.lr == 0.02
    run = run_recipe(own, tmp_path / "out", toy.registry(), resume=True, console=Console(quiet=True))
    assert run.optimizers["generator"].param_groups[0]["lr"] == 0.02


def test_an_average_may_begin_and_end(tmp_path: Path) -> None:
    trained(tmp_path, "train.steps=2", "train.ema=null")
    begun = resumed(tmp_path, "begun", "train.steps=4", "train.ema=0.9")
    assert begun.ema is not None
    after = [state(tmp_path, "begun", step)["generator"] for step in (3, 4)]
    for key, value in begun.ema.network.state_dict().items():
        torch.testing.assert_close(value, (after[0][key] + after[1][key]) / 2)
    at_once = resumed(tmp_path, "at once", "train.steps=2", "train.ema=0.9")
    for key, value in at_once.model.state_dict().items():
        assert torch.equal(value, at_once.bare_generator.state_dict()[key])
    shutil.rmtree(tmp_path / "out")
    shutil.copytree(tmp_path / "begun", tmp_path / "out")
    ended = resumed(tmp_path, "ended", "train.steps=5", "train.ema=null")
    assert ended.model is ended.bare_generator


def test_a_seed_gives_other_samples_and_numbers_from_here_on(tmp_path: Path) -> None:
    trained(tmp_path, "train.steps=2")
    same, again, other = (
        resumed(tmp_path, name, "train.steps=3", f"train.seed={seed}") for name, seed in (("1", 1), ("2", 5), ("3", 5))
    )
    assert all(torch.equal(again.terms[name], other.terms[name]) for name in other.terms)
    assert not torch.equal(same.terms["l1"], other.terms["l1"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "train.generator.optimizer=sgd",
            r"train.generator.optimizer: adam → sgd: the state that was saved is of another kind",
        ),
        ("train.discriminator.options={amsgrad: true}", r"train.discriminator.options.amsgrad: null → true: .* not saved"),
        ("train.steps=2", r"train.steps: 2: the run has made 3 steps already"),
        ("generator.width=5", r"trained with another 'generator' \(generator.width: 4 → 5\)"),
    ],
)
def test_what_cannot_change_is_refused_before_anything_is_written(tmp_path: Path, override: str, message: str) -> None:
    trained(tmp_path, "train.steps=3")
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=message) as refused:
        trained(tmp_path, *([] if "steps" in override else ["train.steps=4"]), override, resume=True)
    assert "Delete it" not in str(refused.value)
    after = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert after == before


CHANGED = {
    "train.batch_size": "3",
    "train.epoch": "7",
    "train.accumulate": "2",
    "train.generator.lr": "0.01",
    "train.generator.betas": "[0.8, 0.9]",
    "train.generator.weight_decay": "0.1",
    "train.generator.options": "{eps: 1e-3}",
    "train.generator.groups": "{layers.3: {lr: 0.01}}",
    "train.generator.schedule": "{name: cosine}",
    "train.discriminator.lr": "0.01",
    "train.discriminator.betas": "[0.8, 0.9]",
    "train.discriminator.weight_decay": "0.1",
    "train.discriminator.options": "{eps: 1e-3}",
    "train.discriminator.groups": "{features: {frozen_until: end}}",
    "train.discriminator.schedule": "{name: step, every: 1}",
    "train.schedule": "{name: cosine, warmup: 9}",
    "train.ema": "null",
    "train.seed": "7",
    "train.precision": "bf16",
    "train.emulate": "true",
    "train.clip": "0.001",
    "train.augment": "[cutout]",
    "train.channels_last": "true",
    "train.non_finite": "skip",
    "train.fast": "false",
    "train.workers": "1",
    "train.threads": "2",
    "samples.every": "1",
    "samples.count": "1",
    "samples.dataset": "{length: 3}",
    "checkpoint.every": "2",
    "checkpoint.keep_last": "1",
    "checkpoint.keep_every": "2",
    "log.every": "5",
    "log.trackers": "[tensorboard]",
    "evaluate": "{every: 1, metrics: [psnr], dataset: {split: val}}",
}
SPEED_ONLY = {"train.epoch", "train.emulate", "train.non_finite", "train.fast", "train.workers", "train.threads", "train.ema"}
"""They change the speed, what is saved or how it is counted, and the weights of a step at most in their last bits.

``channels_last`` is none of them, as dropout draws in the order of the memory.
"""
REFUSED = {
    "train.steps",
    "train.epochs",
    "train.start",
    "train.generator.optimizer",
    "train.discriminator.optimizer",
    "train.compile",
    "samples.use",
}
"""Tested above, epochs in test_epochs.py, starts in test_warm_start.py; compiling takes seconds, and has tests in
test_precision.py; options at use have theirs in test_at_use.py."""


def keys_of(section: Any, path: str) -> list[str]:
    parts = {name: getattr(section, name) for name in type(section).model_fields}
    deeper = ("generator", "discriminator") if path == "train" else ()
    return [
        key
        for name, part in parts.items()
        for key in (keys_of(part, f"{path}.{name}") if name in deeper else [f"{path}.{name}"])
    ]


def test_every_key_of_a_recipe_has_been_gone_through(root: Path, tmp_path: Path) -> None:
    recipe = resolved(tmp_path)
    sections = [key for name in ("train", "samples", "checkpoint", "log") for key in keys_of(getattr(recipe, name), name)]
    components = {"dataset", "generator", "discriminator", "loss"}
    assert {*sections, "evaluate"} == {*CHANGED, *REFUSED}
    assert set(KEYS) == {*(key.split(".")[0] for key in sections), *components}
    table = (root / "docs" / "training.md").read_text().split("### What a resume may change")[1].split("\n\nA checkpoint")[0]
    said = {
        word for row in table.splitlines() if row.startswith("|") for word in row.replace("`", " ").replace(",", " ").split()
    }
    for key in [*sections, *components, *(f"evaluate.{name}" for name in Evaluate.model_fields)]:
        assert key in said or key.split(".")[-1] in said, key


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toys")
    trained(folder, "train.steps=2")
    resumed(folder, "same", "train.steps=3")
    return folder


@pytest.mark.parametrize("key", CHANGED)
def test_every_key_that_acts_is_recorded_and_acts(toys: Path, key: str) -> None:
    registry = toy.registry(evaluate=i2i_evaluate, metrics=i2i_metrics)
    shutil.copytree(toys / "out", toys / key)
    setting = f"{key}={CHANGED[key]}"
    run = trained(toys, "train.steps=3", setting, out=key, resume=True, registry=registry)
    wanted = resolved(toys, "train.steps=3", setting, registry=registry)
    recorded = load_recipe(toys / key / "recipe.yaml", [], registry)
    assert run.recipe.train == recorded.train == wanted.train.settled()
    assert recorded == wanted.model_copy(update={"train": recorded.train})
    assert f"changed after step 2: {key}" in (toys / key / "log.txt").read_text()
    same = all(not move.any() for move in differences(toys, key))
    assert same == (not key.startswith("train.") or key in SPEED_ONLY), "the step"


def differences(folder: Path, name: str) -> list[Tensor]:
    """Between the weights of two runs after step 3, of both players, beyond the last bits of the step."""
    ended = [state(folder, run, 3) for run in ("same", name)]
    pairs = [(a, ended[1][role][key]) for role in ("generator", "discriminator") for key, a in ended[0][role].items()]
    return [torch.where((a - b).abs() <= 1e-7 + 1e-6 * a.abs(), 0.0, a - b) for a, b in pairs]


@pytest.mark.parametrize(("pictures", "counts"), [(3, True), (4, False)])
def test_the_best_so_far_counts_only_as_long_as_it_is_measured_alike(tmp_path: Path, pictures: int, counts: bool) -> None:
    registry = toy.registry(evaluate=i2i_evaluate, metrics=i2i_metrics)
    evaluate = "evaluate={{every: 1, metrics: [psnr], keep_best: psnr, dataset: {{split: val, length: {}}}}}"
    trained(tmp_path, "train.steps=1", evaluate.format(3), registry=registry)
    kept = tmp_path / "out" / "best" / "best.json"
    kept.write_text(json.dumps({**json.loads(kept.read_text()), "value": 1e9}))  # which nothing can surpass
    trained(tmp_path, "train.steps=3", evaluate.format(pictures), resume=True, registry=registry)
    assert (json.loads(kept.read_text())["step"] == 1) == counts


def test_a_dry_run_of_a_resume_says_what_changes_and_keeps_what_auto_was(stopped: Path) -> None:
    said = io.StringIO()
    folder = stopped / "same"
    recipe = resolved(stopped, *ADAM, "train.steps=9", "train.precision=auto", "train.generator.lr=0.01")
    dry_run(recipe, folder, toy.registry(), True, Console(file=said, width=200))
    lines = [line for line in said.getvalue().splitlines() if line.startswith("changed")]
    assert lines == ["changed after step 4: train.steps: 4 → 9", "changed after step 4: train.generator.lr: 0.0002 → 0.01"]
