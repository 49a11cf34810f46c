"""Schedules and optimizers."""

import pytest
import torch
from torch import nn

from i2i.errors import UserError
from i2i.optim import make_optimizer, make_schedule, rate_factor
from i2i.recipe import Optimizer, Schedule


def factors(steps: int, **settings: object) -> list[float]:
    return [rate_factor(Schedule.model_validate(settings), step, steps) for step in range(steps)]


def test_constant_then_linear_falls_to_zero() -> None:
    values = factors(10, name="constant_then_linear", constant=0.5)
    assert values == pytest.approx([1, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2])


def test_step_multiplies() -> None:
    assert factors(6, name="step", every=2, factor=0.5) == [1, 1, 0.5, 0.5, 0.25, 0.25]


def test_cosine_starts_at_one_and_ends_near_zero() -> None:
    values = factors(100, name="cosine")
    assert values[0] == 1
    assert values[50] == pytest.approx(0.5)
    assert 0 < values[-1] < 0.001


def test_warmup_rises_linearly() -> None:
    assert factors(6, name="constant", warmup=4) == [0.25, 0.5, 0.75, 1, 1, 1]


def test_the_schedule_drives_the_optimizer() -> None:
    optimizer = make_optimizer([nn.Parameter(torch.zeros(2))], Optimizer(lr=0.1))
    schedule = make_schedule(optimizer, Schedule.model_validate({"name": "step", "every": 1, "factor": 0.5}), 4)
    optimizer.step()
    schedule.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.05)


@pytest.mark.parametrize("name", ["adam", "AdamW", "sgd", "rmsprop", "radam"])
def test_torchs_optimizers_by_name(name: str) -> None:
    weight = nn.Parameter(torch.ones(3))
    optimizer = make_optimizer([weight], Optimizer(optimizer=name, lr=0.1))
    weight.sum().backward()
    optimizer.step()
    assert (weight < 1).all()


def test_an_unknown_optimizer_gets_the_nearest_name() -> None:
    with pytest.raises(UserError, match=r"'adamm' is unknown. Did you mean 'adam'"):
        make_optimizer([nn.Parameter(torch.zeros(2))], Optimizer(optimizer="adamm"))
