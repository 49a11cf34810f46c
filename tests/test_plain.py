"""The plain formulation of each training step, against which speed is measured, is equal to ours in mathematics."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from i2i.protocols import Batch, Terms
from i2i.training.loop import train_step

# A judge that has several scales needs a larger picture; all are narrow and shallow, so that this takes seconds.
TINY = {
    "pix2pix": {"size": 32, "depth": 5},
    "cyclegan": {"size": 32, "depth": 2},
    "unit": {"size": 64, "depth": 1},
    "spade": {"size": 64},
}
SEED = 5
"""With some others an activation or a difference in UNIT's first step is so near to zero that rounding turns its sign."""
OURS, THEIRS = (0, 1, 2, 3, 4, 5), (4, 5, 0, 1, 2, 3)
"""In which order a step of UNIT draws noise: the published program's discriminators do so first."""


@pytest.fixture
def pairs(root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    import pairs

    return pairs


def both(
    pairs: Any, model: str, dtype: torch.dtype, steps: int, fast: bool, **over: int
) -> tuple[Any, Any, list[tuple[Terms, Terms]]]:
    """A run and its plain counterpart after so many steps, and the terms of each."""
    case = pairs.Case(model, **({"width": 4, "batch": 2} | TINY[model] | over))
    run = case.run(seed=SEED, fast=fast)
    run.generator.to(dtype), run.discriminator.to(dtype)
    plain, terms = case.plain(run), []
    for number, batch in enumerate(case.batches(run, steps)):
        ours = stepped(lambda given: train_step(run, given), batch, number, OURS)
        theirs = stepped(plain, batch, number, THEIRS)
        terms.append((ours, theirs))
    return run, plain, terms


def stepped(step: Any, batch: Batch, number: int, order: tuple[int, ...]) -> Terms:
    """One step, whose draws are the same for both whatever their order."""
    torch.manual_seed(number)
    random.seed(number)
    seeds = iter(order)

    def draw(like: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(100 * number + next(seeds))
        return torch.randn(like.shape, generator=generator, dtype=like.dtype)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "randn_like", draw)
        terms: Terms = step(batch)
    return {name: term.detach() for name, term in sorted(terms.items())}


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("model", TINY)
def test_three_steps_agree_in_double_precision(model: str, fast: bool, pairs: Any) -> None:
    run, plain, terms = both(pairs, model, torch.double, 3, fast)
    for ours, theirs in terms:
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)
    torch.testing.assert_close(run.generator.state_dict(), dict(plain.G.state_dict()), rtol=0, atol=1e-9)
    torch.testing.assert_close(run.discriminator.state_dict(), dict(plain.D.state_dict()), rtol=0, atol=1e-9)


@pytest.mark.parametrize("model", ["cyclegan", "unit"])
def test_a_step_agrees_where_channels_are_many(model: str, pairs: Any) -> None:
    """Wide and large enough for ``i2i.convolutions.winograd``."""
    run, plain, ((ours, theirs),) = both(pairs, model, torch.double, 1, fast=True, width=16, size=128, batch=1, depth=1)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)
    torch.testing.assert_close(run.generator.state_dict(), dict(plain.G.state_dict()), rtol=0, atol=1e-9)


@pytest.mark.parametrize("model", TINY)
def test_the_first_step_agrees_in_single_precision(model: str, pairs: Any) -> None:
    """The terms, and the gradients beside the largest of their network: Adam turns rounding in tiny ones into whole steps."""
    run, plain, ((ours, theirs),) = both(pairs, model, torch.float, 1, fast=True)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    players = ((run.generator, "generator", plain.G, plain.g_adam), (run.discriminator, "discriminator", plain.D, plain.d_adam))
    for network, player, other, adam in players:
        first, second = moments(network, run.optimizers[player]), moments(other, adam)
        largest = max(float(moment.abs().max()) for moment in second.values())
        torch.testing.assert_close(first, second, rtol=0, atol=1e-5 * largest)


def moments(network: Any, optimizer: Any) -> dict[str, Tensor]:
    """After one step of Adam: the gradients, all times 1 - beta1."""
    return {name: optimizer.state[parameter]["exp_avg"] for name, parameter in network.named_parameters()}


@pytest.mark.parametrize("model", TINY)
def test_one_switch_turns_the_faster_ways_off(model: str, pairs: Any) -> None:
    for fast in (True, False):
        run = pairs.Case(model, width=4, **TINY[model]).run(fast=fast)
        modules = [m for network in (run.generator, run.discriminator, run.loss) for m in network.modules()]
        assert {m.fast for m in modules if hasattr(m, "fast")} == {fast}
        assert {group["fused"] for optimizer in run.optimizers.values() for group in optimizer.param_groups} == {fast}
