"""What is NaN or infinite stops a run before it is saved, and nothing waits for the device to find it."""

import multiprocessing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import toy
from i2i.errors import UserError
from i2i.registry import hookimpl
from i2i.training.ema import Ema
from i2i.training.finite import Guard
from i2i.training.state import Run
from test_health import generator, trained


@pytest.mark.parametrize("every", [1, 4])
def test_a_loss_that_is_no_number_stops_at_the_last_good_checkpoint(tmp_path: Path, every: int) -> None:
    """The third step is the bad one, however seldom anybody looks; what follows it is never saved."""
    with pytest.raises(UserError, match=r"step 3: NaN or infinite loss in l1.*samples \d+, \d+.*train.clip: 1"):
        trained(tmp_path, "loss.explode_at=3", f"log.every={every}", "checkpoint={every: 2, keep_last: 9}")
    assert [path.name for path in (tmp_path / "out" / "checkpoints").iterdir()] == ["step-00000002"]
    assert trained(tmp_path, "loss.explode_at=3", "train.steps=2", f"log.every={every}", resume=True).step == 2


def test_what_is_saved_at_a_stop_is_looked_at_too(tmp_path: Path) -> None:
    class Stop:
        @hookimpl(tryfirst=True)
        def step_ended(self, run: Run) -> None:
            run.stop = run.step == 3

    registry = toy.registry()
    with registry.subscribed(Stop()), pytest.raises(UserError, match="step 3: NaN or infinite loss in l1"):
        trained(tmp_path, "loss.explode_at=3", "log.every=100", "checkpoint.every=2", registry=registry)
    assert [path.name for path in (tmp_path / "out" / "checkpoints").iterdir()] == ["step-00000002"]


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    """The terms are finite, their gradients are not: the square root's slope at zero is infinite."""
    with pytest.raises(UserError, match="the generator's weights are NaN or infinite"):
        trained(tmp_path, "generator={name: odd}", "checkpoint.every=1", registry=generator(torch.zeros_like, 0.5))
    assert not (tmp_path / "out" / "model").exists()


def test_a_run_that_ends_by_an_error_ends_its_loaders(tmp_path: Path) -> None:
    """Whoever keeps the error keeps its traceback; loaders that were alive by then held up the end of the command."""
    with pytest.raises(UserError, match="step 3") as kept:
        trained(tmp_path, "loss.explode_at=3", "log.every=1", "train.workers=1")
    assert kept.value.__traceback__ is not None
    assert multiprocessing.active_children() == []


def test_a_step_is_averaged_and_taken_in_without_a_look_at_its_numbers(tmp_path: Path) -> None:
    """On torch's meta device there are none to look at."""
    recipe = toy.recipe(tmp_path, "log.every=3", "checkpoint.every=5")
    network = nn.Linear(2, 2, device="meta")
    average, guard = Ema(network, 0.9), Guard()
    run: Any = SimpleNamespace(recipe=recipe, terms={"l1": torch.zeros((), device="meta")})
    for run.step in (1, 2):
        average.update(network)
        guard.step_ended(run)
    run.step = 3
    with pytest.raises(RuntimeError, match="meta"):
        guard.step_ended(run)
