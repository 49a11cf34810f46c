"""A run: everything that training changes, and how it is saved and restored."""

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from i2i.building.nested import changes
from i2i.data import BatchOrder, SeededDataset, batches, loader_processes
from i2i.protocols import Batch, Stream, Terms
from i2i.randomness import mix, random_state, restore_random_state
from i2i.recipe.sections import Train
from i2i.training.ema import Ema
from i2i.training.optim import parameters_of
from i2i.training.penalties import WithoutCompiler
from i2i.training.players import Frozen, Player
from i2i.training.processes import shared
from i2i.training.resuming import Settings, carried_over, check_changes, going_on, lay_out

if TYPE_CHECKING:
    from i2i.augmentation import Adaptive
    from i2i.building.parts import Parts
    from i2i.recipe import Recipe
    from i2i.registry import Registry


def _nowhere(*_: Any) -> None:
    """Where lines and numbers go in a run that is not written."""


@dataclass
class Run:
    """The state of a training run. Observers of its events read it, and may end it by ``ask_to_stop()``.

    They write by ``note(text)``, a line for log.txt and the screen, and ``record({name: number})``, numbers of the step for
    metrics.jsonl and the trackers; both do nothing in any process but the first. ``hook`` calls events in every plugin and in
    the run's observers. ``trackers`` are those that were started and have not failed, by name.

    ``norms`` holds each player's norm of the gradients, at steps that are logged or where the run is ``watched``; ``waited``
    the seconds spent on waiting for data; ``skipped`` the updates that ``train.non_finite: skip`` left out since the run was
    started or resumed. ``settings`` is what ``train`` has been in the course of the run, and ``changed`` what the last resume
    changed of it; ``began`` tells what was taken of ``train.start``. ``constraints`` has each player's methods ``constrain``,
    ``beginnings`` each ``begin``, of the loss and of a list of judges, ``rests`` the loss's ``resting``. ``players`` are those
    that train, ``frozen`` their groups and judges that do not yet; ``resting`` are the parameters that rest in the step in
    progress, and ``idle`` the players that have no others. ``augmented`` gives what the loss
    sees of a discriminator, ``adaptive`` the probability of that where ``train.augment`` is adaptive.
    """

    recipe: "Recipe"
    registry: "Registry"
    hook: Any
    parts: "Parts"
    accelerator: Accelerator
    generator: nn.Module
    discriminator: nn.Module | None
    players: dict[str, Player]
    optimizers: dict[str, Any]
    schedules: list[Any]
    ema: Ema | None
    settings: Settings
    out: Path | None = None
    step: int = 0
    terms: Terms = field(default_factory=dict)
    generator_terms: Terms = field(default_factory=dict)
    norms: dict[str, torch.Tensor] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    began: list[str] = field(default_factory=list)
    waited: float = 0.0
    skipped: int = 0
    watched: bool = False
    stop: bool = False
    stop_wanted: bool = False
    note: Callable[[str], None] = _nowhere
    record: Callable[[Mapping[str, float]], None] = _nowhere
    trackers: dict[str, Any] = field(default_factory=dict)
    constraints: dict[str, list[Callable[[], None]]] = field(default_factory=dict)
    beginnings: list[Callable[[int, int], None]] = field(default_factory=list)
    rests: list[Callable[[int], Iterable[str]]] = field(default_factory=list)
    frozen: list[Frozen] = field(default_factory=list)
    resting: list[nn.Parameter] = field(default_factory=list)
    idle: set[str] = field(default_factory=set)
    adaptive: "Adaptive | None" = None
    augmented: Callable[[Any], Any] = lambda judge: judge

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

    def drawn_at(self, step: int) -> str:
        """The samples of this process's batches at a step, by the data set's names for them if it has any."""
        settings = self.recipe.train
        seeded = SeededDataset(self.parts.dataset, settings.seed)
        drawn = islice(self.order(step - 1), settings.accumulate)
        return "samples " + ", ".join(seeded.name(draw) for batch in drawn for draw in batch)

    def ask_to_stop(self) -> None:
        """End after this step. With several processes one may ask: all end when they next exchange their losses."""
        self.stop_wanted, self.stop = True, self.accelerator.num_processes == 1

    def batches(self) -> Generator[Batch]:
        """Endless batches, from the run's current position."""
        settings, device, data = self.recipe.train, self.accelerator.device, self.parts.dataset
        chosen = loader_processes(data, device, self.accelerator.num_processes)
        workers = chosen if settings.workers == "auto" else settings.workers
        made = batches(data, self.order(self.step), device=device, workers=workers, wants=self.parts.needs.wants)
        form = torch.channels_last if settings.channels_last else torch.contiguous_format
        return ({key: x.contiguous(memory_format=form) if x.ndim == 4 else x for key, x in batch.items()} for batch in made)

    @property
    def loss(self) -> Any:
        return self.parts.loss

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

    def share(self) -> None:
        """Let the processes average the gradients of what trains now."""
        self.generator = shared(self.accelerator, self.generator)
        if self.discriminator is not None:
            self.discriminator = shared(self.accelerator, self.discriminator)
        for name in self.loss.networks:
            self.loss.set_submodule(name, shared(self.accelerator, self.loss.get_submodule(name)))

    def shown_to(self, judge: nn.Module | None, *, learns: bool) -> Any:
        """The discriminator as the loss calls it, in its own step (*learns*) or the generator's.

        It is not compiled where a penalty needs its gradients' gradients.
        """
        shown = None if judge is None else self.augmented(judge)
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
            "ema": self.ema.state_dict() if self.ema is not None else {},
        }

    def own_state(self) -> dict[str, Any]:
        """What each process has for itself: the loss's memory (an image pool), what it heard of real images, random numbers."""
        heard = {} if self.adaptive is None else {"adaptive": self.adaptive.state}
        return {"loss": renamed(self.loss, self.loss.state_dict()), "random": random_state(), **heard}

    def load_state_dict(self, state: dict[str, Any], fresh_randomness: bool = False) -> None:
        """Restore what ``state_dict`` gave; the next step is the one that the saved run would have made.

        Where the recipe has other settings than that run had, they hold from here on (``resuming``). With *fresh_randomness*
        the random numbers are not restored: the saved run had no process of this number.

        Raises:
            UserError: the state cannot be used with the recipe's settings.
        """
        now, before = self.recipe.train, Train.model_validate(state["settings"][-1][1])
        check_changes(before, now, state["step"], {player: parameters_of(own) for player, own in self.optimizers.items()})
        self.changed = changes(before, now, "train")
        self.step, self.settings = state["step"], going_on(state["settings"], now, state["step"])
        self.bare_generator.load_state_dict(state["generator"])
        if self.discriminator is not None:
            self.accelerator.unwrap_model(self.discriminator).load_state_dict(state["discriminator"])
        self.loss.load_state_dict(renamed(self.loss, state["loss"], wrap=True))
        for (player, optimizer), saved in zip(self.optimizers.items(), state["optimizers"], strict=True):
            old, new = ((getattr(settings, player), settings.fast) for settings in (before, now))
            optimizer.load_state_dict(carried_over(saved, self.players[player], old, new))
            lay_out(optimizer)
        for schedule, saved in zip(self.schedules, state["schedules"], strict=True):
            schedule.restore(saved, self.step)
        if self.accelerator.scaler is not None and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        if self.ema is not None:
            self.ema.restore(state["ema"], self.bare_generator)
        if self.adaptive is not None and "adaptive" in state:
            self.adaptive.state.copy_(state["adaptive"])
        if fresh_randomness or now.seed != before.seed:
            set_seed(mix(self.recipe.train.seed, self.step, self.accelerator.process_index) % 2**32)
        else:
            restore_random_state(state["random"])

    @property
    def logs_next(self) -> bool:
        """Whether the norms of the step in progress are wanted: it will be logged, or the run is ``watched``."""
        return self.watched or (self.step + 1) % self.recipe.log.every == 0 or self.step + 1 == self.recipe.train.steps


def renamed(loss: Any, state: dict[str, torch.Tensor], *, wrap: bool = False) -> dict[str, torch.Tensor]:
    """A loss's state under the names that it has without the wrappers of several processes; with *wrap* the other way."""
    wrapped = [name for name in loss.networks if isinstance(loss.get_submodule(name), DistributedDataParallel)]
    for name in wrapped:
        before, after = (f"{name}.", f"{name}.module.") if wrap else (f"{name}.module.", f"{name}.")
        state = {after + key.removeprefix(before) if key.startswith(before) else key: t for key, t in state.items()}
    return state
