"""A run: everything that training changes, and how it is put together, saved and restored."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from i2i.augment import Augmented
from i2i.build import Parts, build
from i2i.data import BatchOrder, batches, first_batch, loader_processes, to_device
from i2i.ema import Ema
from i2i.errors import UserError
from i2i.layers import InstanceNorm, let_call_together, set_fast
from i2i.optim import make_optimizer, make_schedule
from i2i.penalties import WithoutCompiler
from i2i.processes import make_accelerator, part_random_numbers
from i2i.protocols import Batch, Domain, Stream, Terms
from i2i.randomness import mix, random_state, restore_random_state
from i2i.recipe import Recipe, changes
from i2i.registry import Registry
from i2i.rehearsal import rehearse
from i2i.resuming import Settings, at_start, carried_over, check_changes, going_on, lay_out, settings_of
from i2i.sections import Train


@dataclass
class Run:
    """The state of a training run. Subscribers of the events read it; ``stop = True`` ends it after the current step.

    ``norms`` holds each player's norm of the gradients, at steps that are logged or where the run is ``watched``; ``waited``
    the seconds spent on waiting for data; ``skipped`` the updates that ``train.non_finite: skip`` left out since the run was
    started or resumed. ``settings`` is what ``train`` has been in the course of the run, and ``changed`` what the last resume
    changed of it. One of several processes sets ``stop_wanted``: all stop together when they next exchange their losses.
    """

    recipe: Recipe
    registry: Registry
    parts: Parts
    accelerator: Accelerator
    generator: nn.Module
    discriminator: nn.Module | None
    generator_optimizer: Any
    discriminator_optimizer: Any | None
    schedules: list[Any]
    ema: Ema | None
    settings: Settings
    out: Path | None = None
    step: int = 0
    terms: Terms = field(default_factory=dict)
    generator_terms: Terms = field(default_factory=dict)
    norms: dict[str, torch.Tensor] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    waited: float = 0.0
    skipped: int = 0
    watched: bool = False
    stop: bool = False
    stop_wanted: bool = False

    def order(self, step: int) -> BatchOrder:
        """The batches that this process draws after *step* steps."""
        settings = self.recipe.train
        return BatchOrder(
            len(self.parts.dataset),
            settings.batch_size,
            settings.seed,
            start=step * settings.accumulate,
            process=self.accelerator.process_index,
            processes=self.accelerator.num_processes,
            shuffled=not isinstance(self.parts.dataset, Stream),
        )

    def batches(self) -> Generator[Batch]:
        """The run's batches without end, from where it stands."""
        settings, device, data = self.recipe.train, self.accelerator.device, self.parts.dataset
        chosen = loader_processes(data, device, self.accelerator.num_processes)
        workers = chosen if settings.workers == "auto" else settings.workers
        made = batches(data, self.order(self.step), device=device, workers=workers)
        form = torch.channels_last if settings.channels_last else torch.contiguous_format
        return ({key: images.contiguous(memory_format=form) for key, images in batch.items()} for batch in made)

    @property
    def loss(self) -> Any:
        return self.parts.loss

    @property
    def hook(self) -> Any:
        return self.registry.hook

    @property
    def trained(self) -> list[nn.Module]:
        """The prepared networks, for gradient accumulation."""
        own = [self.loss.get_submodule(name) for name in self.loss.networks]
        return [net for net in (self.generator, self.discriminator, *own) if net is not None]

    @property
    def bare_generator(self) -> nn.Module:
        """The generator without the wrappers of distributed or mixed-precision training."""
        module: nn.Module = self.accelerator.unwrap_model(self.generator)
        return module

    @property
    def model(self) -> nn.Module:
        """The generator that samples and the saved model use: the averaged one where EMA is on."""
        return self.ema.network if self.ema is not None else self.bare_generator

    def shown_to(self, judge: nn.Module | None, *, learns: bool) -> Any:
        """The discriminator as the loss calls it, in its own step (*learns*) or the generator's.

        It is not compiled where a penalty needs its gradients' gradients.
        """
        shown = _shown(self.recipe.train.augment, self.parts.domains, judge)
        return WithoutCompiler(shown, learns=learns) if shown is not None and self.recipe.train.compile else shown

    def training_mode(self) -> None:
        """Networks and loss in training mode."""
        for network in (*self.trained, self.loss):
            network.train()

    def state_dict(self) -> dict[str, Any]:
        """All that a resume needs, as tensors, numbers, strings, lists and dicts only."""
        return {**self.shared_state(), **self.own_state()}

    def shared_state(self) -> dict[str, Any]:
        """What is the same in every process."""
        judge, scaler = self.discriminator, self.accelerator.scaler
        return {
            "step": self.step,
            "settings": self.settings,
            "generator": self.bare_generator.state_dict(),
            "discriminator": self.accelerator.unwrap_model(judge).state_dict() if judge is not None else {},
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers.values()],
            "schedules": [schedule.state_dict() for schedule in self.schedules],
            "scaler": scaler.state_dict() if scaler is not None else {},
            "ema": self.ema.averaged.state_dict() if self.ema is not None else {},
        }

    def own_state(self) -> dict[str, Any]:
        """What each process has for itself: the loss's memory (an image pool) and the random numbers."""
        return {"loss": renamed(self.loss, self.loss.state_dict()), "random": random_state()}

    def load_state_dict(self, state: dict[str, Any], fresh_randomness: bool = False) -> None:
        """Restore what ``state_dict`` gave; the next step is the one that the saved run would have made.

        Where the recipe has other settings than that run had, they hold from here on (``resuming``). With *fresh_randomness*
        the random numbers are not restored: the saved run had no process of this number.

        Raises:
            UserError: the state cannot be used with the recipe's settings.
        """
        now, before = self.recipe.train, settings_of(state["settings"][-1][1])
        check_changes(before, now, state["step"], {player: _parameters(own) for player, own in self.optimizers.items()})
        self.changed = changes(before, now, "train")
        self.step, self.settings = state["step"], going_on(state["settings"], now, state["step"])
        self.bare_generator.load_state_dict(state["generator"])
        if self.discriminator is not None:
            self.accelerator.unwrap_model(self.discriminator).load_state_dict(state["discriminator"])
        self.loss.load_state_dict(renamed(self.loss, state["loss"], wrap=True))
        for (player, optimizer), saved in zip(self.optimizers.items(), state["optimizers"], strict=True):
            old, new = ((getattr(settings, player), settings.fast) for settings in (before, now))
            optimizer.load_state_dict(carried_over(saved, optimizer, old, new))
            lay_out(optimizer)
        for schedule, saved in zip(self.schedules, state["schedules"], strict=True):
            schedule.restore(saved, self.step)
        if self.accelerator.scaler is not None and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        if self.ema is not None:
            self.ema.restore(state["ema"], self.bare_generator)
        if fresh_randomness or now.seed != before.seed:
            set_seed(mix(self.recipe.train.seed, self.step, self.accelerator.process_index) % 2**32)
        else:
            restore_random_state(state["random"])

    @property
    def optimizers(self) -> dict[str, Any]:
        """The optimizers of the players that train."""
        both = {"generator": self.generator_optimizer, "discriminator": self.discriminator_optimizer}
        return {player: optimizer for player, optimizer in both.items() if optimizer is not None}

    @property
    def logs_next(self) -> bool:
        """Whether the norms of the step in progress are wanted: it will be logged, or the run is ``watched``."""
        return self.watched or (self.step + 1) % self.recipe.log.every == 0 or self.step + 1 == self.recipe.train.steps


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
    settings = recipe.train.settled()
    recipe = recipe.model_copy(update={"train": settings})
    accelerator = accelerator or make_accelerator(settings)
    set_seed(settings.seed)
    parts = build(recipe, registry)
    set_fast((parts.generator, parts.discriminator, parts.loss), settings.fast)
    let_call_together(parts.loss, (parts.generator, parts.discriminator), settings.fast)
    loss: Any = parts.loss.to(accelerator.device)
    if not rehearsed:
        _rehearse(recipe, parts, accelerator)
    own = [p for name in loss.networks for p in loss.get_submodule(name).parameters()]
    generator_optimizer = make_optimizer([*_trainable(parts.generator), *own], settings.generator, fast=settings.fast)
    discriminator_optimizer = None
    if parts.discriminator is not None and (trainable := _trainable(parts.discriminator)):
        discriminator_optimizer = make_optimizer(trainable, settings.discriminator, fast=settings.fast)
    optimizers = [o for o in (generator_optimizer, discriminator_optimizer) if o is not None]
    schedules = [make_schedule(o, settings.schedule, settings.steps) for o in optimizers]
    for name in loss.networks:
        loss.set_submodule(name, _prepared(accelerator, loss.get_submodule(name), settings))
    generator = _prepared(accelerator, parts.generator, settings)
    ema = Ema(accelerator.unwrap_model(generator), settings.ema) if settings.ema is not None else None
    run = Run(
        recipe=recipe,
        registry=registry,
        parts=parts,
        accelerator=accelerator,
        generator=generator,
        discriminator=_prepared(accelerator, parts.discriminator, settings) if parts.discriminator is not None else None,
        generator_optimizer=accelerator.prepare(generator_optimizer),
        discriminator_optimizer=accelerator.prepare(discriminator_optimizer) if discriminator_optimizer else None,
        schedules=schedules,
        ema=ema,
        settings=at_start(settings),
        out=out,
    )
    part_random_numbers(accelerator, settings.seed)
    return run


def _rehearse(recipe: Recipe, parts: Parts, accelerator: Accelerator) -> None:
    """The first step's computations on the first batch, where and as precisely as the run computes them."""
    settings, device = recipe.train, accelerator.device
    for network in (parts.generator, parts.discriminator):
        if network is not None:
            network.to(device)
    names = (recipe.called("generator"), recipe.called("discriminator"), recipe.called("loss"))
    batch = to_device(first_batch(parts.dataset, settings.batch_size, settings.seed), parts.domains, device)
    with accelerator.autocast():
        shown = partial(_shown, settings.augment, parts.domains)
        rehearse(batch, parts.domains, parts.loss, parts.generator, parts.discriminator, names, shown)


def _shown(kinds: Sequence[str], domains: Mapping[str, Domain], judge: Any) -> Any:
    """A discriminator as the loss calls it: augmenting what it sees, if the recipe says so."""
    return Augmented(judge, kinds, domains) if judge is not None and kinds else judge


def _prepared(accelerator: Accelerator, network: nn.Module, settings: Train) -> nn.Module:
    """A network on its device; shared by the processes if there is anything to train in it."""
    if settings.channels_last:
        _check_layout(accelerator, network)
        network = network.to(memory_format=torch.channels_last)
    if settings.compile:
        # In place: names in the state dict stay, and it works inside DDP.
        network.compile(mode="reduce-overhead" if settings.graphs else None)
    if not _trainable(network):
        return network.to(accelerator.device)
    prepared: nn.Module = accelerator.prepare(network)
    return prepared


def _check_layout(accelerator: Accelerator, network: nn.Module) -> None:
    """torch's instance norm gives wrong gradients for one image on a CPU if the incoming gradient is channels_last."""
    torchs = [m for m in network.modules() if isinstance(m, nn.InstanceNorm2d) or (isinstance(m, InstanceNorm) and not m.fast)]
    if accelerator.device.type == "cpu" and torchs:
        raise UserError(
            f"train.channels_last: {type(network).__name__} has torch's InstanceNorm2d, whose gradients are wrong in this "
            "layout on CPUs. Leave the setting out, or build the network with i2i.layers.InstanceNorm and leave train.fast on."
        )


def _parameters(optimizer: Any) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _trainable(network: nn.Module) -> list[nn.Parameter]:
    return [p for p in network.parameters() if p.requires_grad]


def renamed(loss: Any, state: dict[str, torch.Tensor], *, wrap: bool = False) -> dict[str, torch.Tensor]:
    """A loss's state under the names that it has without the wrappers of several processes; with *wrap* the other way."""
    wrapped = [name for name in loss.networks if isinstance(loss.get_submodule(name), DistributedDataParallel)]
    for name in wrapped:
        before, after = (f"{name}.", f"{name}.module.") if wrap else (f"{name}.module.", f"{name}.")
        state = {after + key.removeprefix(before) if key.startswith(before) else key: t for key, t in state.items()}
    return state
