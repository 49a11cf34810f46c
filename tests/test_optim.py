"""Schedules and optimizers."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from i2i.errors import UserError
from i2i.recipe.sections import Optimizer, Schedule
from i2i.training.optim import make_optimizer, make_schedule, rate_factor
from parity_cases import Case, files


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
    schedule.step({})
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.05)


@pytest.mark.parametrize("name", ["adam", "AdamW", "sgd", "rmsprop", "radam"])
def test_torchs_optimizers_by_name(name: str) -> None:
    weight = nn.Parameter(torch.ones(3))
    optimizer = make_optimizer([weight], Optimizer(optimizer=name, lr=0.1))
    assert type(optimizer) in [made for known, made in vars(torch.optim).items() if known.lower() == name.lower()]
    weight.sum().backward()
    optimizer.step()
    assert (weight < 1).all()


@pytest.mark.parametrize("name", ["muon", "rprop", "adan", "lion"])
def test_an_optimizer_takes_the_weights_of_convolutions_and_the_default_settings(name: str) -> None:
    """torch's own Muon refuses convolutions, its Rprop knows no weight decay, and Adan wants three betas."""
    convolution, bias = nn.Parameter(torch.ones(4, 3, 3, 3)), nn.Parameter(torch.ones(4))
    optimizer = make_optimizer([convolution, bias], Optimizer(optimizer=name, lr=0.01))
    (convolution.sum() + bias.sum()).backward()
    optimizer.step()
    assert not torch.equal(convolution, torch.ones_like(convolution))
    assert (bias < 1).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "sgd", "betas": (0.9, 0.99)}, "optimizer 'sgd' does not take 'betas' in this form"),
        ({"optimizer": "adan", "betas": (0.9, 0.99)}, "optimizer 'adan' does not take 'betas' in this form"),
        ({"optimizer": "rprop", "weight_decay": 0.1}, "optimizer 'rprop' does not take 'weight_decay'"),
        ({"optimizer": "adahessian"}, "'adahessian' is unknown"),
    ],
)
def test_what_an_optimizer_cannot_use_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_optimizer([nn.Parameter(torch.ones(2))], Optimizer(**settings))


def test_an_unknown_optimizer_gets_the_nearest_name() -> None:
    with pytest.raises(UserError, match=r"'adamm' is unknown. Did you mean 'adam'"):
        make_optimizer([nn.Parameter(torch.zeros(2))], Optimizer(optimizer="adamm"))


def test_options_of_an_optimizer_are_passed_on_and_checked() -> None:
    weight = nn.Parameter(torch.zeros(2))
    assert make_optimizer([weight], Optimizer(options={"eps": 1e-3})).defaults["eps"] == 1e-3
    with pytest.raises(UserError, match=r"no option 'epss'. Did you mean 'eps'"):
        make_optimizer([weight], Optimizer(options={"epss": 1e-3}))
    with pytest.raises(UserError, match="does not take these options"):
        make_optimizer([weight], Optimizer(options={"eps": -1.0}))


def test_a_plateau_lowers_the_rate_and_its_state_is_restored() -> None:
    settings = Schedule.model_validate({"name": "plateau", "every": 2, "patience": 1, "factor": 0.5})

    def started() -> tuple[torch.optim.Optimizer, Any]:
        optimizer = make_optimizer([nn.Parameter(torch.zeros(2))], Optimizer(lr=0.1))
        return optimizer, make_schedule(optimizer, settings, 100)

    optimizer, schedule = started()
    rates = []
    for loss in (4.0, 2.0, 3.0, 3.0, 3.0, 3.0, 3.0):
        schedule.step({"gan": torch.tensor(loss - 1), "l1": torch.tensor(1.0)})
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.1] * 5 + [0.05] * 2)
    _, again = started()
    again.restore(schedule.state_dict(), 7)
    assert again.count == 1
    assert again.total == 3.0
    assert again.plateau.best == schedule.plateau.best


def test_a_schedule_refuses_options_of_others_and_an_end_before_its_start() -> None:
    with pytest.raises(ValidationError, match="has no option 'end'"):
        Schedule.model_validate({"name": "step", "end": 3})
    with pytest.raises(ValidationError, match="must come after its start"):
        Schedule.model_validate({"name": "constant_then_linear", "start": 3, "end": 3})


EPOCH = 3  # steps that an epoch of the recordings is played with


@pytest.mark.parametrize("file", files("lr_schedule"))
def test_parity_of_the_schedules_of_pix2pix_and_cyclegan(file: str) -> None:
    """Epoch k of the published program: e = k, or k - 1 if it updates at the end of an epoch."""
    case = Case(file)
    for o in case.options["schedules"]:
        for tag, ahead in (("lr_of_epoch", 1), ("lr_of_epoch_if_updated_at_end", 0)):
            recorded = case[f"out.{o['id']}.{tag}"].tolist()
            check(junyanz(o), o["lr"], recorded, ahead)


def junyanz(o: dict[str, Any]) -> dict[str, Any]:
    start = o["n_epochs"] - o["epoch_count"]
    return {
        "linear": {"name": "constant_then_linear", "start": start * EPOCH, "end": (start + o["n_epochs_decay"] + 1) * EPOCH},
        "step": {"name": "step", "every": o["lr_decay_iters"] * EPOCH},
        "cosine": {"name": "cosine", "end": o["n_epochs"] * EPOCH},
    }[o["lr_policy"]]


def check(settings: dict[str, Any], lr: float, recorded: list[float], ahead: int) -> None:
    schedule = Schedule.model_validate({**settings, "hold": EPOCH, "ahead": ahead})
    ours = [lr * rate_factor(schedule, step, len(recorded) * EPOCH) for step in range(len(recorded) * EPOCH)]
    assert ours == pytest.approx([rate for rate in recorded for _ in range(EPOCH)], rel=1e-9, abs=1e-18)


@pytest.mark.parametrize("file", files("unit_lr_schedule"))
def test_parity_of_unit_s_schedule(file: str) -> None:
    case = Case(file)
    for o in case.options["schedules"]:
        settings: dict[str, Any] = {"name": "constant"}
        if o["lr_policy"] == "step":
            settings = {"name": "step", "every": o["step_size"], "factor": o["gamma"], "ahead": 1}
        schedule = Schedule.model_validate(settings)
        ours = [o["lr"] * rate_factor(schedule, step, o["iterations"]) for step in range(o["iterations"])]
        assert ours == pytest.approx(case[f"out.{o['id']}.lr_of_iteration"].tolist())


@pytest.mark.parametrize("file", files("spade_lr_schedule"))
def test_parity_of_spade_s_schedule(file: str) -> None:
    case = Case(file)
    for o in case.options["schedules"]:
        niter, decay = o["niter"], o["niter_decay"]
        settings = {"name": "constant_then_linear", "start": niter * EPOCH, "end": (niter + decay) * EPOCH}
        shares = (1.0, 1.0) if o["no_TTUR"] else (0.5, 2.0)
        for share, recorded in zip(shares, case[f"out.{o['id']}.lr_G_D_of_epoch"].T.tolist(), strict=True):
            check(settings if decay else {"name": "constant_then_linear", "start": 10**9}, share * o["lr"], recorded, 0)
