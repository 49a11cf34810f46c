"""How a run is put together: its parts built under the seed, rehearsed, and handed to Accelerate."""

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn

from i2i.building.epochs import with_data
from i2i.building.judges import Judges
from i2i.building.parts import Parts, build, built_for_use, lent
from i2i.building.rehearsal import naming, rehearse, untouched
from i2i.data import first_batch, to_device
from i2i.errors import UserError
from i2i.layers import InstanceNorm, let_call_together, set_fast
from i2i.protocols import Dataset
from i2i.recipe import Recipe
from i2i.recipe.at_use import generators_of, usable
from i2i.recipe.sections import Train
from i2i.registry import Registry
from i2i.training.augment import augmented, begin_anew, listening
from i2i.training.ema import Ema
from i2i.training.optim import make_optimizer, make_schedule
from i2i.training.players import Frozen, Player, check_groups, joining, reach
from i2i.training.processes import make_accelerator, part_random_numbers
from i2i.training.resuming import at_start
from i2i.training.state import Run

TRIES, TIMES = 8, (0, 0.5, 1)
"""How often a step is rehearsed at most until all that learns is reached, and after what shares of the run."""


def assemble(
    recipe: Recipe,
    registry: Registry,
    out: Path | None = None,
    accelerator: Accelerator | None = None,
    *,
    dataset: Dataset | None = None,  # which is built already; the recipe is in steps
    rehearsed: bool = False,
) -> Run:
    """Build the parts under the recipe's seed, rehearse a step unless that was done, and hand them to Accelerate.

    Raises:
        UserError: the recipe's parts do not fit, or the launch asks for what is not supported.
    """
    recipe = recipe.settled()
    accelerator = accelerator or make_accelerator(recipe.train)
    if dataset is None:
        recipe, dataset = with_data(recipe, registry, accelerator.num_processes)
    settings = recipe.train
    set_seed(settings.seed)
    parts = build(recipe, registry, dataset)
    set_fast(parts.networks.values(), settings.fast)
    for network in parts.networks.values():
        network.to(accelerator.device)
    let_call_together(parts.loss, (parts.generator, parts.discriminator), settings.fast)
    loss: Any = parts.loss
    loss.networks = tuple(_called(loss))
    own = {name: loss.get_submodule(name) for name in loss.networks}
    players = {"generator": Player(parts.generator, own)}
    if parts.discriminator is not None and _trainable(parts.discriminator):
        players["discriminator"] = Player(parts.discriminator, {})
    check_groups(recipe, players)
    optimizing = {player: getattr(settings, player) for player in players}
    frozen = joining(recipe, players, (group for player, how in optimizing.items() for group in players[player].frozen(how)))
    _freeze(group for group in frozen if group.until == math.inf)  # the others are rehearsed as they will be
    beginnings = methods_called("begin", loss)
    adaptive = listening(settings, loss, accelerator.device, accelerator.num_processes)
    shown = partial(augmented, settings, adaptive, parts.domains)
    if not rehearsed:
        _rehearse(recipe, parts, accelerator, registry, players, beginnings, shown)
        if adaptive is not None:
            begin_anew(adaptive, recipe.called("loss"))
        check_groups(recipe, players)  # again, as parts may have been left out
    optimizers = {
        player: make_optimizer(players[player].groups(how), how, fast=settings.fast) for player, how in optimizing.items()
    }
    schedules = [
        make_schedule(optimizers[player], how.schedule or settings.schedule, settings.steps)
        for player, how in optimizing.items()
    ]
    for network in filter(None, (parts.generator, parts.discriminator, *own.values())):
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
        constraints={name: [*_constraints(*player.networks.values())] for name, player in players.items()},
        beginnings=[*beginnings, *([parts.discriminator.begin] if isinstance(parts.discriminator, Judges) else [])],
        rests=methods_called("resting", loss),
        frozen=frozen,
        adaptive=adaptive,
        augmented=shown,
    )
    run.share()
    part_random_numbers(accelerator, settings.seed)
    return run


def _rehearse(
    recipe: Recipe,
    parts: Parts,
    accelerator: Accelerator,
    registry: Registry,
    players: dict[str, Player],
    beginnings: list[Any],
    shown: Callable[[Any], Any],
) -> None:
    """The first step's computations on the first batch, where and as precisely as the run computes them.

    Optional parts that no gradient comes to are left out. If it does not come to others, the step is tried again, with other
    numbers drawn and at other times of the run. So it is for several processes, and for a loss that is told the time.
    """
    settings, device = recipe.train, accelerator.device
    names = (recipe.called("generator"), recipe.called("discriminator"), recipe.called("loss"))
    batch = to_device(first_batch(parts.dataset, settings.batch_size, settings.seed, parts.needs.wants), parts.domains, device)
    networks = (parts.loss, parts.generator, parts.discriminator)
    quick = partial(_quick, recipe, parts, registry, device)
    tries: list[tuple[int, set[nn.Parameter]]] = []
    wrong, several = "", accelerator.num_processes > 1
    while not tries or (wrong and len(tries) < TRIES) or ((several or beginnings) and len(tries) < len(TIMES)):
        step, seed = int(TIMES[len(tries) % len(TIMES)] * (settings.steps - 1)), len(tries)
        with untouched([parts.loss]), accelerator.autocast():
            with naming(names[2], "begin"):
                for begin in beginnings:
                    begin(step, settings.steps)
            try:
                found, _ = rehearse(batch, parts.domains, *networks, names, shown, None if tries else quick, seed)
            except UserError as error:
                if step == 0:
                    raise
                raise UserError(f"in step {step + 1} of {settings.steps}: {error}") from error
        tries.append((step, found))
        left, wrong = reach(recipe, players, found.union(*(found for _, found in tries)), parts.needs)
    if wrong and all(one == other for (then, one), (now, other) in combinations(tries, 2) if then == now):
        raise UserError(wrong)
    if several and (wrong := reach(recipe, players, found.intersection(*(found for _, found in tries)), parts.needs)[1]):
        raise UserError(f"with several processes every part needs a gradient in every step, and in some steps {wrong}")
    for own in players.values():
        own.leave_out(left)


def _quick(recipe: Recipe, parts: Parts, registry: Registry, device: torch.device, generator: nn.Module) -> nn.Module:
    """The generator as grids use it, or as the kit would, where that may change: a sampler takes few steps then."""
    factories = [factory for factory, _ in generators_of(recipe.components("generator"), registry).values()]
    small = {
        name: value for factory in factories for name, value in getattr(factory, "small", {}).items() if name in usable(factory)
    }
    if not (use := {**recipe.samples.use, **small}):
        return generator
    return lent(built_for_use(recipe, registry, parts, use).to(device), generator)


def _prepare(accelerator: Accelerator, network: nn.Module, settings: Train) -> None:
    """Give a network its layout and precision."""
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


def _constraints(*networks: nn.Module) -> Iterator[Callable[[], None]]:
    """The methods ``constrain`` of the networks; those of judges do nothing before they join."""
    for network in networks:
        judges = network if isinstance(network, Judges) else None
        for i, part in enumerate([network] if judges is None else judges.networks):
            for method in methods_called("constrain", part):
                yield method if judges is None else partial(judges.let, i, method)


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
