"""Optimizers by name and learning-rate schedules counted in steps."""

import inspect
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from i2i.building.nested import total
from i2i.errors import UserError, nearest
from i2i.protocols import Terms
from i2i.recipe.sections import Optimizer, Schedule

# The base class; needs a closure; needs sparse gradients; refuses convolutions, where timm's does not.
_UNUSABLE = ("optimizer", "lbfgs", "sparseadam", "muon")
_TORCH = {
    name.lower(): made
    for name, made in vars(torch.optim).items()
    if inspect.isclass(made) and issubclass(made, torch.optim.Optimizer) and name.lower() not in _UNUSABLE
}


def make_optimizer(parameters: Iterable[Any], settings: Optimizer, *, fast: bool = True) -> torch.optim.Optimizer:
    """The optimizer that a recipe names, one of torch's, else one of timm's, for parameters or groups of them.

    With *fast*, in one pass over memory where torch has that; without it, parameter by parameter, step by step.

    Raises:
        UserError: neither knows the name, or the optimizer does not take the options.
    """
    parameters = list(parameters)
    name = settings.optimizer.lower()
    if name not in _TORCH:
        return _of_timm(parameters, settings)
    takes = inspect.signature(_TORCH[name]).parameters
    if wrong := [key for key in settings.options if key not in takes]:
        raise UserError(f"optimizer '{settings.optimizer}' has no option '{wrong[0]}'.{nearest(wrong[0], list(takes))}")
    options = _options(settings, betas="betas" in takes, weight_decay="weight_decay" in takes)
    if "fused" in takes and not {"foreach", "fused"} & set(options):
        # torch's fused SGD fails where only some parameters have a momentum yet, as when a frozen group begins to learn.
        options |= {"fused": not options.get("momentum")} if fast else {"foreach": False, "fused": False}
    return _built(settings, _TORCH[name], parameters, options)


def _options(settings: Optimizer, **takes: bool) -> dict[str, Any]:
    """The arguments of the optimizer; ``betas`` and ``weight_decay`` only if it *takes* them."""
    options: dict[str, Any] = {"lr": settings.lr, **settings.options}
    for key, taken in takes.items():
        if taken:
            options.setdefault(key, getattr(settings, key))
        elif getattr(settings, key) != Optimizer.model_fields[key].default:
            raise UserError(f"optimizer '{settings.optimizer}' does not take '{key}' in this form. Leave it out.")
    return options


def _of_timm(parameters: list[Any], settings: Optimizer) -> torch.optim.Optimizer:
    from timm.optim._optim_factory import create_optimizer_v2, get_optimizer_info, list_optimizers  # seconds to import

    first_order = [name for name in map(str, list_optimizers()) if not get_optimizer_info(name).second_order]
    known, name = [*_TORCH, *first_order], settings.optimizer.lower()
    if name not in known:
        raise UserError(f"optimizer '{settings.optimizer}' is unknown.{nearest(settings.optimizer, known)}")
    info = get_optimizer_info(name)
    options = _options(settings, betas=info.has_betas and info.num_betas == 2, weight_decay=True)
    return _built(settings, create_optimizer_v2, parameters, {"opt": name, **options})


def _built(settings: Optimizer, make: Any, parameters: list[Any], options: dict[str, Any]) -> torch.optim.Optimizer:
    try:
        optimizer: torch.optim.Optimizer = make(parameters, **options)
    except (TypeError, ValueError, AssertionError) as error:
        raise UserError(f"optimizer '{settings.optimizer}' does not take these options: {error}") from error
    return optimizer


def parameters_of(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """All parameters that an optimizer trains, in its order."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


class PlateauSchedule:
    """Multiplies the rate by ``factor`` when the generator's loss has stopped falling.

    Every ``every`` steps, the mean loss since the last look is compared with the best so far. An improvement is one by more
    than the share ``threshold``; after ``patience`` looks without one the rate falls (torch's ReduceLROnPlateau).
    """

    seen = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")

    def __init__(self, optimizer: torch.optim.Optimizer, settings: Schedule) -> None:
        self.optimizer, self.rates = optimizer, [group["lr"] for group in optimizer.param_groups]
        self.every, self.count, self.total = settings.every, 0, torch.zeros(())
        self.plateau = ReduceLROnPlateau(
            optimizer, factor=settings.factor, patience=settings.patience, threshold=settings.threshold
        )

    def step(self, terms: Terms) -> None:
        """Count one step with the generator's terms, if it made one."""
        if not terms:
            return
        loss = total(terms)
        self.total, self.count = self.total.to(loss.device) + loss, self.count + 1
        if self.count == self.every:
            self.plateau.step(self.total.item() / self.count)
            self.total, self.count = torch.zeros(()), 0

    def state_dict(self) -> dict[str, Any]:
        """What was seen of the losses; the rate itself is part of the optimizer's state."""
        seen = {name: getattr(self.plateau, name) for name in self.seen}
        return {"count": self.count, "total": self.total, "plateau": seen}

    def restore(self, state: dict[str, Any], step: int) -> None:
        """Continue from the saved state; after a different schedule, begin with the recipe's rate."""
        if "plateau" not in state:
            _set_rates(self.optimizer, self.rates)
            return
        self.count, self.total = state["count"], state["total"]
        for name in self.seen:
            setattr(self.plateau, name, state["plateau"][name])


class CountedSchedule:
    """Multiplies the rate by ``rate_factor`` of the step; the terms are not looked at."""

    def __init__(self, optimizer: torch.optim.Optimizer, settings: Schedule, steps: int) -> None:
        self.optimizer, self.rates = optimizer, [group["lr"] for group in optimizer.param_groups]
        self.settings, self.steps, self.count = settings, steps, 0
        self._set()

    def step(self, terms: Terms | None = None) -> None:
        """Count one step."""
        self.count += 1
        self._set()

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the step decides."""
        return {}

    def restore(self, state: dict[str, Any], step: int) -> None:
        """Continue from a step, with any schedule before it."""
        self.count = step
        self._set()

    def _set(self) -> None:
        factor = rate_factor(self.settings, self.count, self.steps)
        _set_rates(self.optimizer, [rate * factor for rate in self.rates])


def _set_rates(optimizer: torch.optim.Optimizer, rates: list[float]) -> None:
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


def make_schedule(optimizer: torch.optim.Optimizer, settings: Schedule, steps: int) -> CountedSchedule | PlateauSchedule:
    """The schedule of one optimizer over a run of *steps* steps."""
    if settings.name == "plateau":
        return PlateauSchedule(optimizer, settings)
    return CountedSchedule(optimizer, settings, steps)


def rate_factor(settings: Schedule, step: int, steps: int) -> float:
    """The learning rate of a step (counted from 0) as a share of the recipe's ``lr``, in [0, 1].

    With t the step, rounded down to a multiple of ``hold`` after ``ahead`` times ``hold`` was added:

    - ``constant_then_linear``: 1 until ``start`` (default: the share ``constant`` of the steps), then linearly to 0 at
      ``end`` (default: the last step's). Zhu et al. 2017, section 7.1: half the epochs, then linear to zero.
    - ``step``: factor^floor(t / every).
    - ``cosine``: (1 + cos(pi t / end)) / 2, ``end`` the number of steps by default (Loshchilov and Hutter 2017, eq. 5). An
      ``end`` before the run's is a half period: the rate then rises again.

    ``warmup`` steps rise linearly to it.
    """
    warm = min(1.0, (step + 1) / settings.warmup) if settings.warmup else 1.0
    t = (step // settings.hold + settings.ahead) * settings.hold
    match settings.name:
        case "constant_then_linear":
            start = settings.start if settings.start is not None else settings.constant * steps
            end = settings.end if settings.end is not None else max(steps, start + 1)
            factor = 1.0 if t < start else max(0.0, 1.0 - (t - start) / max(1, end - start))
        case "step":
            factor = settings.factor ** (t // settings.every)
        case "cosine":
            factor = 0.5 * (1.0 + math.cos(math.pi * t / (settings.end or max(steps, t, 1))))
        case _:
            factor = 1.0
    return warm * factor
