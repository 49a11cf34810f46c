"""Settings that a resume changes take effect at the resumed step, or are refused before anything is written.

Every checkpoint names the settings (``train`` of the recipe) under which its steps were made: a list of pairs, after how many
steps they began to hold, and the settings.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from i2i.building.nested import changes
from i2i.errors import UserError
from i2i.recipe.sections import Optimizer, Train
from i2i.training.optim import make_optimizer, parameters_of
from i2i.training.players import Player

Settings = list[tuple[int, dict[str, Any]]]
"""The step after which these settings took effect."""

_START_AGAIN = "Resume without that change, or start again in another folder with --out."


def at_start(train: Train) -> Settings:
    """The settings of a run that begins."""
    return [(0, train.model_dump(mode="json"))]


def going_on(before: Settings, train: Train, step: int) -> Settings:
    """The settings of a run that is resumed after *step* steps under *train*."""
    now = train.model_dump(mode="json")
    if now == before[-1][1]:
        return before
    return [*((since, settings) for since, settings in before if since < step), (step, now)]


def check_changes(before: Train, now: Train, step: int, networks: Mapping[str, Iterable[nn.Parameter]]) -> None:
    """Refuse changes that a resume cannot make; *networks* are the parameters of each player that trains.

    Raises:
        UserError: the run has made more steps than it now should, or an optimizer could not use its saved state.
    """
    if now.steps < step:
        raise UserError(
            f"train.steps: {now.steps}: the run has made {step} steps already. Give at least that many; it was started with "
            f"{before.steps}."
        )
    for player, parameters in networks.items():
        old, new = (getattr(settings, player) for settings in (before, now))
        if old.optimizer.lower() != new.optimizer.lower():
            reason = "the state that was saved is of another kind"
            raise UserError(f"train.{player}.optimizer: {old.optimizer} → {new.optimizer}: {reason}. {_START_AGAIN}")
        if old.options != new.options:
            shapes = {p.ndim: p.shape for p in parameters}.values()
            if _kept(old, shapes) != _kept(new, shapes):
                said = "; ".join(changes(old.options, new.options, f"train.{player}.options"))
                raise UserError(f"{said}: the optimizer would need state that was not saved. {_START_AGAIN}")


def _kept(settings: Optimizer, shapes: Iterable[torch.Size]) -> list[set[str]]:
    """The names of what an optimizer keeps for parameters of these shapes."""
    parameters = [nn.Parameter(torch.zeros(shape)) for shape in shapes]
    optimizer = make_optimizer(parameters, settings)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return [set(optimizer.state[parameter]) for parameter in parameters]


def carried_over(saved: dict[str, Any], player: Player, before: tuple[Optimizer, bool], now: tuple[Optimizer, bool]) -> Any:
    """A saved state of a player's optimizer for the settings of *now*, each with ``train.fast``; what is as *before* stays as
    saved, though it may be in another group.

    The rate stays the same share of the recipe's: a plateau may have lowered it.
    """
    if before == now:
        return saved
    old, new = (make_optimizer(player.groups(settings), settings, fast=fast) for settings, fast in (before, now))
    index = {id(parameter): i for i, parameter in enumerate(parameters_of(old))}
    home = {id(parameter): i for i, group in enumerate(old.param_groups) for parameter in group["params"]}
    groups = []
    for group, numbered in zip(new.param_groups, new.state_dict()["param_groups"], strict=True):
        i = home[id(group["params"][0])]
        kept, one = saved["param_groups"][i], old.param_groups[i]
        changed = {key: value for key, value in group.items() if key != "params" and value != one.get(key)}
        if "lr" in changed:
            changed["lr"] = kept["lr"] * (group["lr"] / one["lr"])
        groups.append({**kept, **changed, "params": numbered["params"]})
    moved = {i: index[id(parameter)] for i, parameter in enumerate(parameters_of(new))}
    return {**saved, "state": {i: saved["state"][j] for i, j in moved.items() if j in saved["state"]}, "param_groups": groups}


def lay_out(optimizer: Any) -> None:
    """Give restored state the memory layout of its parameters (``train.channels_last``), which fused optimizers rely on."""
    for parameter, kept in optimizer.state.items():
        for name, value in kept.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                kept[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
