"""The loop on toys: order, reuse, freezing, accumulation, determinism, resume."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

import toy
from i2i.errors import UserError
from i2i.protocols import Translation
from i2i.recipe import load_recipe
from i2i.registry import Registry, hookimpl
from i2i.training.assembly import assemble
from i2i.training.loop import accumulated_step, detach, train_step
from i2i.training.running import run_recipe
from i2i.training.state import Run
from i2i.translation.checkpoints import checkpoints
from toy import recipe

QUIET = Console(quiet=True)


def trained(folder: Path, name: str, *overrides: str, resume: bool = False) -> Run:
    return toy.trained(folder, *overrides, out=name, resume=resume)


def equal(a: Any, b: Any) -> bool:
    """Nested states, bit by bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return bool(a == b)


class Calls:
    """Counts the forward passes of a network, and how many of them had gradients on."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.total = self.with_graph = 0
        network.register_forward_pre_hook(self._count)

    def _count(self, *_: object) -> None:
        self.total += 1
        self.with_graph += torch.is_grad_enabled()


@pytest.mark.parametrize("order", ["generator_first", "discriminator_first"])
@pytest.mark.parametrize("fresh", [False, True])
def test_no_forward_pass_is_done_twice(tmp_path: Path, order: str, fresh: bool) -> None:
    run = assemble(recipe(tmp_path, f"loss.order={order}", f"loss.fresh_fakes={str(fresh).lower()}"), toy.registry())
    G, D = Calls(run.generator), Calls(run.parts.discriminator)
    terms = train_step(run, next(run.batches()))
    assert (G.total, G.with_graph) == (1 + fresh, 1)
    assert D.total == 3  # fake for the generator, real and fake for the discriminator
    assert set(terms) == {"l1", "gan", "real", "fake"}
    assert not any(term.requires_grad for term in terms.values())


def test_the_discriminator_keeps_no_gradient_of_the_generators_step(tmp_path: Path) -> None:
    run = assemble(recipe(tmp_path, "train.accumulate=2"), toy.registry())
    before = [p.clone() for p in run.parts.discriminator.parameters()]
    batches = run.batches()
    grads: list[torch.Tensor] = []
    step = run.optimizers["discriminator"].optimizer.step
    run.optimizers["discriminator"].optimizer.step = lambda *a, **k: (
        grads.extend(p.grad.clone() for p in run.parts.discriminator.parameters()),
        step(*a, **k),
    )
    seen = [next(batches) for _ in range(2)]
    accumulated_step(run, iter(seen))
    assert any(not torch.equal(a, b) for a, b in zip(before, run.parts.discriminator.parameters(), strict=True))
    again = assemble(recipe(tmp_path, "train.accumulate=2"), toy.registry())
    again.training_mode()
    expected = _discriminator_gradients(again, seen)
    for got, want in zip(grads, expected, strict=True):
        assert torch.allclose(got, want, atol=1e-6)


def _discriminator_gradients(run: Run, seen: list[Any]) -> list[torch.Tensor]:
    """The mean over the batches of the discriminator's own gradients, by hand."""
    for batch in seen:
        images = detach(run.loss.translate(run.generator, batch))
        terms = run.loss.discriminator_terms(run.parts.discriminator, batch, images)
        (sum(terms.values()) / len(seen)).backward()
    return [p.grad.clone() for p in run.parts.discriminator.parameters()]


def test_a_loss_without_adversary_needs_no_discriminator(tmp_path: Path) -> None:
    text = toy.RECIPE.replace("discriminator: {name: judge}\n", "")
    run = toy.trained(tmp_path, text=text.replace("loss: {name: toy}", "loss: {name: toy, adversarial: false}"))
    assert run.discriminator is None
    assert set(run.terms) == {"l1"}


def test_a_discriminator_that_no_loss_uses_is_refused(tmp_path: Path) -> None:
    alone = ("loss.adversarial=false", "train.discriminator={lr: 0.001}")
    with pytest.raises(
        UserError, match=r"^discriminator and train\.discriminator: loss 'toy' is not adversarial with these options"
    ) as said:
        trained(tmp_path, "out", *alone)
    mended = ("discriminator=null", "train.discriminator={}")
    assert "--set discriminator=null --set train.discriminator='{}'" in str(said.value)
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match=r"^train\.discriminator: loss 'toy'"):
        trained(tmp_path, "out", *alone, mended[0])
    assert trained(tmp_path, "out", *alone, *mended).step == 6
    assert trained(tmp_path, "out", *alone, *mended, "train.steps=7", resume=True).step == 7


def test_the_losss_own_network_is_trained(tmp_path: Path) -> None:
    run = assemble(recipe(tmp_path), toy.registry())
    before = run.loss.head.weight.clone()
    train_step(run, next(run.batches()))
    assert not torch.equal(run.loss.head.weight, before)


def test_two_runs_with_one_seed_are_bit_identical(tmp_path: Path) -> None:
    first, second = (trained(tmp_path, name).state_dict() for name in ("one", "two"))
    assert equal(first, second)
    other = trained(tmp_path, "three", "train.seed=2").state_dict()
    assert not equal(first["generator"], other["generator"])


@pytest.mark.parametrize("setting", ["train.accumulate=1", "train.accumulate=2", "train.channels_last=true"])
def test_a_resumed_run_ends_bit_identical(tmp_path: Path, setting: str) -> None:
    whole = trained(tmp_path, "whole", setting)

    class Interrupt:
        @hookimpl
        def step_ended(self, run: Run) -> None:
            run.stop = run.step == 3

    registry = toy.registry()
    with registry.subscribed(Interrupt()):
        part = run_recipe(recipe(tmp_path, setting), tmp_path / "part", registry, resume=False, console=QUIET)
    assert part.step == 3
    resumed = trained(tmp_path, "part", setting, resume=True)
    assert resumed.step == 6
    assert equal(whole.state_dict(), resumed.state_dict())
    for name in ("samples/step-00000006.png", "model/model.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "part" / name).read_bytes()
    losses = [_losses(tmp_path / name) for name in ("whole", "part")]
    assert losses[0] == losses[1]
    assert [line["step"] for line in losses[0]] == [1, 2, 3, 4, 5, 6]


def _losses(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("images_per_second", "waiting")} for line in lines]


def test_the_run_folder_holds_what_is_promised(tmp_path: Path) -> None:
    run = trained(tmp_path, "out")
    out = tmp_path / "out"
    assert [p.name for p in checkpoints(out)] == ["step-00000004", "step-00000006"]
    assert {p.name for p in (out / "samples").iterdir()} == {f"step-{s:08d}.png" for s in (0, 3, 6)}
    assert {p.name for p in out.iterdir()} == {
        "recipe.yaml",
        "model",
        "checkpoints",
        "samples",
        "metrics.jsonl",
        "log.txt",
        ".lock",
    }
    assert load_recipe(out / "recipe.yaml", [], toy.registry()) == run.recipe
    assert "plugin toys" in (out / "recipe.yaml").read_text()


def test_the_average_follows_the_weights(tmp_path: Path) -> None:
    run = assemble(recipe(tmp_path), toy.registry())
    assert run.ema is not None
    history = []
    batches = run.batches()
    for _ in range(3):
        train_step(run, next(batches))
        run.ema.update(run.bare_generator)
        history.append(run.bare_generator.state_dict()["networks.a_b.layers.0.weight"].clone())
    # a plain mean for the first 1 / (1 - decay) steps
    averaged = run.ema.network.state_dict()["networks.a_b.layers.0.weight"]
    assert torch.allclose(averaged, torch.stack(history).mean(0), atol=1e-7)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"step 5: NaN or infinite loss in l1"):
        trained(tmp_path, "out", "loss.explode_at=5")
    assert checkpoints(tmp_path / "out")[-1].name == "step-00000004"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["dataset.paired=false"], "needs paired data.*paired: true"),
        (["dataset.size=18"], "18 x 18.*multiples of 4.*16"),
        (["loss.extra=mean"], "needs 'mean' of the generator, and 'toy' does not expose it"),
        (["generator.name=fails"], "'fails' of the plugin 'toys' could not be built: RuntimeError: the constructor broke"),
        (["dataset.length=0"], "has no samples"),
        (["samples.dataset={size: 18}"], "18 x 18"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(tmp_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=f"(?s){message}"):
        trained(tmp_path, "out", *overrides)
    assert not (tmp_path / "out").exists()


def test_an_adversarial_loss_asks_for_a_discriminator(tmp_path: Path) -> None:
    text = toy.RECIPE.replace("discriminator: {name: judge}\n", "")
    with pytest.raises(UserError, match=r"no discriminator.*judge"):
        assemble(recipe(tmp_path, text=text), toy.registry())


def test_folders_that_cannot_take_a_run(tmp_path: Path) -> None:
    trained(tmp_path, "out")
    with pytest.raises(UserError, match=r"already holds a run.*--resume.*--out"):
        trained(tmp_path, "out")
    with pytest.raises(UserError, match="holds no run to resume"):
        trained(tmp_path, "new", resume=True)
    with pytest.raises(UserError, match=r"trained with another 'generator' \(generator.width: 4 → 8\)"):
        trained(tmp_path, "out", "generator.width=8", resume=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="holds other files"):
        trained(tmp_path, "full")
    with pytest.raises(UserError, match="is a file"):
        trained(tmp_path, "full/thesis.txt")


def test_more_steps_can_be_added_by_resuming(tmp_path: Path) -> None:
    trained(tmp_path, "out")
    assert trained(tmp_path, "out", "train.steps=8", resume=True).step == 8


class _Misshapen(torch.nn.Module):
    exposes: frozenset[str] = frozenset()
    divisor = 1

    def __init__(self, *, domains: Any, directions: Any, flaw: str) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.flaw = flaw

    def forward(self, x: torch.Tensor, source: str, *targets: str) -> Any:
        if self.flaw == "raises":
            raise RuntimeError("kernel size")
        return x if self.flaw == "type" else Translation(dict.fromkeys(targets, x[:, :, 1:]))


@pytest.mark.parametrize(
    ("flaw", "message"),
    [
        ("type", "returned a Tensor, not a Translation"),
        ("shape", r"returned the shape \(2, 3, 15, 16\); expected \(2, 3, 16, 16\)"),
        ("raises", "fails on an image of 16 x 16 with 3 channels: RuntimeError: kernel size"),
    ],
)
def test_a_network_that_breaks_the_contract_is_found_before_training(tmp_path: Path, flaw: str, message: str) -> None:
    class Plugin:
        @hookimpl
        def register_generators(self) -> dict[str, Any]:
            return {"misshapen": _Misshapen}

    registry = Registry(plugins={"toys": toy, "other": Plugin()})
    text = toy.RECIPE.replace("generator: {name: toy}", f"generator: {{name: misshapen, flaw: {flaw}}}")
    with pytest.raises(UserError, match=f"'misshapen' {message}"):
        assemble(recipe(tmp_path, text=text, plugins=registry), registry)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (None, "generator 'mine' of the plugin 'other': its factory must return an nn.Module, not a NoneType"),
        (torch.nn.Identity(), "generator 'mine' of the plugin 'other' has no 'exposes', which 'i2i.protocols' describes"),
    ],
)
def test_a_factory_that_gives_something_else_is_named(tmp_path: Path, made: Any, message: str) -> None:
    class Plugin:
        @hookimpl
        def register_generators(self) -> dict[str, Any]:
            def mine(*, domains: Any, directions: Any) -> Any:
                return made

            return {"mine": mine}

    registry = Registry(plugins={"toys": toy, "other": Plugin()})
    path = tmp_path / "toy.yaml"
    path.write_text(toy.RECIPE.replace("generator: {name: toy}", "generator: {name: mine}"))
    with pytest.raises(UserError, match=message):
        assemble(load_recipe(path, [], registry), registry)
