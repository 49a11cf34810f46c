"""Optimizers by name and learning-rate schedules counted in steps."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from i2i.errors import UserError, nearest
from i2i.recipe import Optimizer, Schedule

_TORCH = {name.lower(): getattr(torch.optim, name) for name in ("Adam", "AdamW", "NAdam", "RAdam", "SGD", "RMSprop")}
_FUSED = ("adam", "adamw", "sgd")


def make_optimizer(parameters: Iterable[nn.Parameter], settings: Optimizer) -> torch.optim.Optimizer:
    """The optimizer that a recipe names: one of torch's, else one of timm's.

    Raises:
        UserError: neither knows the name.
    """
    parameters = list(parameters)
    name = settings.optimizer.lower()
    options: dict[str, Any] = {"lr": settings.lr, "weight_decay": settings.weight_decay}
    if name not in ("sgd", "rmsprop"):
        options["betas"] = settings.betas
    if name in _TORCH:
        # The fused kernels do the same arithmetic in one pass over memory.
        return _TORCH[name](parameters, **options, **({"fused": True} if name in _FUSED else {}))  # type: ignore[no-any-return]
    from timm.optim._optim_factory import create_optimizer_v2, list_optimizers  # seconds to import

    known = [*_TORCH, *map(str, list_optimizers())]
    if name not in known:
        raise UserError(f"optimizer '{settings.optimizer}' is unknown.{nearest(name, known)}")
    return create_optimizer_v2(parameters, opt=name, **options)


def make_schedule(optimizer: torch.optim.Optimizer, settings: Schedule, steps: int) -> LambdaLR:
    """A schedule that multiplies the learning rate by ``rate_factor`` at every step."""
    return LambdaLR(optimizer, lambda step: rate_factor(settings, step, steps))


def rate_factor(settings: Schedule, step: int, steps: int) -> float:
    """The learning rate of a step (counted from 0) as a share of the recipe's ``lr``, in [0, 1].

    ``constant_then_linear`` is constant for the share ``constant`` of the steps, then falls linearly to zero at the end
    (Zhu et al. 2017, section 7.1: half the epochs, then linear to zero); ``step`` multiplies by ``factor`` after every
    ``every`` steps; ``cosine`` is half a cosine (Loshchilov and Hutter 2017, equation 5). ``warmup`` steps rise linearly.
    """
    warm = min(1.0, (step + 1) / settings.warmup) if settings.warmup else 1.0
    match settings.name:
        case "constant":
            factor = 1.0
        case "constant_then_linear":
            flat = settings.constant * steps
            factor = 1.0 if step < flat else max(0.0, 1.0 - (step - flat) / max(1.0, steps - flat))
        case "step":
            factor = settings.factor ** (step // settings.every)
        case "cosine":
            factor = 0.5 * (1.0 + math.cos(math.pi * min(step, steps) / steps))
    return warm * factor
