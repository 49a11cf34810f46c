"""How a run is put together: its parts built under the seed, rehearsed, and handed to Accelerate."""

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn

from i2i.building.for_use import built_for_use, lent
from i2i.building.parts import Parts, build
from i2i.building.rehearsal import rehearse
from i2i.data import first_batch, to_device
from i2i.errors import UserError
from i2i.layers import InstanceNorm, let_call_together, set_fast
from i2i.recipe import Recipe
from i2i.recipe.at_use import generators_of, usable
from i2i.recipe.sections import Train
from i2i.registry import Registry
from i2i.training.augment import augmented
from i2i.training.ema import Ema
from i2i.training.optim import make_optimizer, make_schedule
from i2i.training.players import Frozen, Player, check_groups
from i2i.training.processes import make_accelerator, part_random_numbers
from i2i.training.resuming import at_start
from i2i.training.state import Run


def assemble(
    recipe: Recipe,
    registry: Registry,
    out: Path | None = None,
    accelerator: Accelerator | None = None,
    *,
    rehearsed: bool = False,
) -> Run:
    """Build the parts under the recipe's seed, rehearse a step unless that was done, and hand them to Accelerate.

    Raises:
        UserError: the recipe's parts do not fit, or the launch asks for what is not supported.
    """
    recipe = recipe.settled()
    settings = recipe.train
    accelerator = accelerator or make_accelerator(settings)
    set_seed(settings.seed)
    parts = build(recipe, registry)
    set_fast((parts.generator, parts.discriminator, parts.loss), settings.fast)
    let_call_together(parts.loss, (parts.generator, parts.discriminator), settings.fast)
    loss: Any = parts.loss.to(accelerator.device)
    judges = [parts.discriminator] if parts.discriminator is not None else []
    loss.networks = tuple(_called(loss))
    own = {name: loss.get_submodule(name) for name in loss.networks}
    players = {"generator": Player(parts.generator, own)}
    if parts.discriminator is not None and _trainable(parts.discriminator):
        players["discriminator"] = Player(parts.discriminator, {})
    check_groups(recipe, players)
    optimizing = {player: getattr(settings, player) for player in players}
    frozen = [group for player, how in optimizing.items() for group in players[player].frozen(how)]
    _freeze(group for group in frozen if group.until == math.inf)  # the others are rehearsed as they will be
    beginnings = methods_called("begin", loss)
    if not rehearsed:
        for begin in beginnings:
            begin(0, settings.steps)
        _rehearse(recipe, parts, accelerator, registry)
    constraints = {
        "generator": methods_called("constrain", parts.generator, *own.values()),
        "discriminator": methods_called("constrain", *judges),
    }
    optimizers = {
        player: make_optimizer(players[player].groups(how), how, fast=settings.fast) for player, how in optimizing.items()
    }
    schedules = [
        make_schedule(optimizers[player], how.schedule or settings.schedule, settings.steps)
        for player, how in optimizing.items()
    ]
    for network in (parts.generator, *judges, *own.values()):
        _prepare(accelerator, network, settings)
    _freeze(frozen)
    run = Run(
        recipe=recipe,
        registry=registry,
        hook=registry.hook,
        parts=parts,
        accelerator=accelerator,
        generator=parts.generator,
        discriminator=parts.discriminator,
        players=players,
        optimizers={player: accelerator.prepare(optimizer) for player, optimizer in optimizers.items()},
        schedules=schedules,
        ema=Ema(parts.generator, settings.ema) if settings.ema is not None else None,
        settings=at_start(settings),
        out=out,
        constraints=constraints,
        beginnings=beginnings,
        rests=methods_called("resting", loss),
        frozen=frozen,
    )
    run.share()
    part_random_numbers(accelerator, settings.seed)
    return run


def _rehearse(recipe: Recipe, parts: Parts, accelerator: Accelerator, registry: Registry) -> None:
    """The first step's computations on the first batch, where and as precisely as the run computes them."""
    settings, device = recipe.train, accelerator.device
    for network in (parts.generator, parts.discriminator):
        if network is not None:
            network.to(device)
    names = (recipe.called("generator"), recipe.called("discriminator"), recipe.called("loss"))
    batch = to_device(first_batch(parts.dataset, settings.batch_size, settings.seed, parts.needs.wants), parts.domains, device)
    with accelerator.autocast():
        shown = partial(augmented, settings.augment, parts.domains)
        quick = partial(_quick, recipe, parts, registry, device)
        rehearse(batch, parts.domains, parts.loss, parts.generator, parts.discriminator, names, shown, quick)


def _quick(recipe: Recipe, parts: Parts, registry: Registry, device: torch.device, generator: nn.Module) -> nn.Module:
    """The generator as grids use it, or as the kit would, where that may change: a sampler takes few steps then."""
    factories = [factory for factory, _ in generators_of(recipe.components("generator"), registry).values()]
    small = {
        name: value for factory in factories for name, value in getattr(factory, "small", {}).items() if name in usable(factory)
    }
    if not (use := {**recipe.samples.use, **small}):
        return generator
    network = built_for_use(recipe, registry, parts.domains, parts.needs.directions, parts.sizes, use)
    return lent(network.to(device), generator)


def _prepare(accelerator: Accelerator, network: nn.Module, settings: Train) -> None:
    """Put a network on its device, in its layout and precision."""
    if settings.channels_last:
        _check_layout(accelerator, network)
        network = network.to(memory_format=torch.channels_last)
    if settings.compile:
        if odd := [part for part in network.modules() if getattr(part, "compiles", True) is False]:
            raise UserError(f"train.compile: {type(odd[0]).__name__} declares compiles = False. Leave the setting out.")
        # In place: names in the state dict stay, and it works inside DDP.
        network.compile(mode="reduce-overhead" if settings.graphs else None)
    if _trainable(network):
        accelerator.prepare_model(network, evaluation_mode=True)  # which does not wrap it: ``Run.share`` does
    else:
        network.to(accelerator.device)


def _check_layout(accelerator: Accelerator, network: nn.Module) -> None:
    """torch's instance norm gives wrong gradients for one image on a CPU if the incoming gradient is channels_last."""
    torchs = [m for m in network.modules() if isinstance(m, nn.InstanceNorm2d) or (isinstance(m, InstanceNorm) and not m.fast)]
    if accelerator.device.type == "cpu" and torchs:
        raise UserError(
            f"train.channels_last: {type(network).__name__} has torch's InstanceNorm2d, whose gradients are wrong in this "
            "layout on CPUs. Leave the setting out, or build the network with i2i.layers.InstanceNorm and leave train.fast on."
        )


def methods_called(name: str, *networks: nn.Module) -> list[Callable[..., Any]]:
    """The methods of that name of all parts of the networks that have one."""
    found = [getattr(part, name, None) for network in networks for part in network.modules()]
    return [method for method in found if callable(method)]


def _called(loss: Any) -> Iterator[str]:
    """The loss's networks; of a list or mapping of networks each one, as they are called and not their container."""
    for name in loss.networks:
        network = loss.get_submodule(name)
        listed = isinstance(network, nn.ModuleList | nn.ModuleDict)
        yield from (f"{name}.{key}" for key, _ in network.named_children()) if listed else (name,)


def _freeze(groups: Iterable[Frozen]) -> None:
    for parameter in (parameter for group in groups for parameter in group.parameters):
        parameter.requires_grad_(False)


def _trainable(network: nn.Module) -> list[nn.Parameter]:
    return [p for p in network.parameters() if p.requires_grad]
