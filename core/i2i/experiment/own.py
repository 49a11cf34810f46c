"""A user's own objects as components: a plugin, ``own``, that is made for one experiment.

A run trains a copy of a network or loss, and afterwards the user's object has the trained weights. So every run begins with
the object as it was given, however often it is built.
"""

from collections.abc import Callable, Collection
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from i2i.adapters import per_direction, per_domain
from i2i.building.parts import MEMBERS, build_dataset
from i2i.errors import UserError, one_line
from i2i.experiment.items import described
from i2i.experiment.own_data import OwnDataset, check_workers
from i2i.hooks import hookimpl
from i2i.recipe import Recipe
from i2i.registry import Registry
from i2i.stopping import launched_processes
from i2i.training.state import Run
from i2i.translation.precision import this_device

PLUGIN = "own"


@dataclass
class Part:
    """A network or loss of the user's, and the copies of it that were built."""

    kind: str
    name: str
    module: nn.Module
    copies: list[nn.Module] = field(default_factory=list)

    @property
    def who(self) -> str:
        return f"the {self.kind} {type(self.module).__name__}"

    def copy(self) -> nn.Module:
        """A new one in the state of the user's object."""
        try:
            made = deepcopy(self.module)
        except Exception as error:
            raise UserError(
                f"it cannot be copied ({type(error).__name__}: {one_line(error)}), and a run trains a copy. Keep files, "
                "locks and tensors with a graph out of it."
            ) from error
        self.copies.append(made)
        return made

    def factory(self) -> Callable[..., nn.Module]:
        """What the core calls to build it."""
        return {"generator": self._generator, "discriminator": self._discriminator, "loss": self._loss}[self.kind]()

    def trained(self, network: nn.Module) -> nn.Module | None:
        """The part of a run's network that is a copy of this."""
        mine = set(map(id, self.copies))
        return next((part for part in network.modules() if id(part) in mine), None)

    def _generator(self) -> Callable[..., nn.Module]:
        def build(in_channels: int, out_channels: int) -> nn.Module:
            return self.copy()

        plain = per_direction(build, exposes=getattr(self.module, "exposes", ()))

        def factory(*, domains: Any, directions: Any) -> nn.Module:
            if hasattr(self.module, "divisor") and hasattr(self.module, "exposes"):
                return self.copy()
            if len(directions) > 1:
                raise self._too_few("translates in one direction", [source + target for source, target in directions])
            return plain(domains=domains, directions=directions)

        return factory

    def _discriminator(self) -> Callable[..., nn.Module]:
        plain = per_domain(lambda in_channels: self.copy())

        def factory(*, domains: Any, conditions: Any) -> nn.Module:
            if hasattr(self.module, "exposes"):
                return self.copy()
            if len(domains) > 1:
                raise self._too_few("judges one domain", domains)
            return plain(domains=domains, conditions=conditions)

        return factory

    def _too_few(self, does: str, keys: Collection[str]) -> UserError:
        """The refusal of one network where the loss needs one for each of *keys*."""
        each = ", ".join(f"'{key}': …" for key in keys)
        return UserError(
            f"it {does}, and the loss needs {len(keys)}. Give a network for each: {self.kind}={{{each}}}, or one of "
            f"i2i.protocols.{self.kind.capitalize()}."
        )

    def _loss(self) -> Callable[..., nn.Module]:
        def factory(*, domains: Any) -> nn.Module:
            return self.copy()

        return factory


class Own:
    """The plugin. Its objects are registered under the names of their classes; a second one of a name gets a number."""

    __version__ = "(an object given in Python: i2i.Experiment.load)"

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.data: Any = None
        self.runs = 0
        self.factories: dict[str, dict[str, Callable[..., Any]]] = {kind: {} for kind in MEMBERS}

    def add(self, kind: str, thing: Any, name: str | None = None) -> str:
        """Register an object, and what a recipe calls it.

        Raises:
            UserError: it is not of that kind.
        """
        _check(kind, thing)
        name = name or self._free(kind, type(thing).__name__)
        self.parts.append(Part(kind, name, thing))
        self.factories[kind][name] = self.parts[-1].factory()
        return f"{PLUGIN}:{name}"

    def add_data(self, data: Any) -> str:
        """Register a data set of the contract."""
        self.data = OwnDataset(data)
        return self.add_pictures(lambda: self.data, type(data).__name__)

    def add_pictures(self, factory: Callable[..., Any], name: str = "Pictures") -> str:
        """Register the factory of a data set."""
        self.factories["dataset"][name] = factory
        return f"{PLUGIN}:{name}"

    @property
    def given(self) -> bool:
        """Whether there is any object."""
        return any(self.factories.values())

    def joined(self, registry: Registry) -> Registry:
        """The registry with this plugin, if it has anything.

        Raises:
            UserError: it cannot be registered.
        """
        made = registry.extended(PLUGIN, self) if self.given else registry
        if wrong := [broken.reason for broken in made.broken if broken.plugin == PLUGIN and self.given]:
            raise UserError(f"objects given in Python cannot be registered: {wrong[0]}.")
        return made

    def check(self, recipe: Recipe, registry: Registry) -> None:
        """Before a run: the data can reach loader processes, if the recipe asks for some.

        Raises:
            UserError: they cannot; or of several processes this one has trained before, and has left their group.
        """
        self.forget()
        self.runs += 1
        if self.runs > 1 and launched_processes() > 1:
            raise UserError(
                "with several processes a program trains once. Start it again, with i2i.Experiment.load(…).train(…)."
            )
        workers = recipe.train.workers
        asked = this_device().type != "cpu" if workers == "auto" else workers > 0
        if recipe.dataset.name.startswith(f"{PLUGIN}:") and asked:
            check_workers(build_dataset(recipe.dataset, registry), "the data set")

    def forget(self) -> None:
        """Let go of the copies of earlier runs."""
        for part in self.parts:
            part.copies.clear()

    def _free(self, kind: str, name: str) -> str:
        taken, number = self.factories[kind], 2
        made = name
        while made in taken:
            made, number = f"{name}-{number}", number + 1
        return made

    @hookimpl
    def register_datasets(self) -> dict[str, Callable[..., Any]]:
        return self.factories["dataset"]

    @hookimpl
    def register_generators(self) -> dict[str, Callable[..., Any]]:
        return self.factories["generator"]

    @hookimpl
    def register_discriminators(self) -> dict[str, Callable[..., Any]]:
        return self.factories["discriminator"]

    @hookimpl
    def register_losses(self) -> dict[str, Callable[..., Any]]:
        return self.factories["loss"]

    def take_weights(self, run: Run) -> None:
        """Give the user's objects the weights and buffers of the trained copies, averaged ones where the model's are."""
        homes = {"generator": run.bare_generator, "discriminator": run.discriminator, "loss": run.loss}
        for part in self.parts:
            home = homes[part.kind]
            found = None if home is None else part.trained(home)
            if home is None or found is None:
                continue
            if part.kind == "generator" and run.ema is not None:
                path = next(name for name, module in home.named_modules() if module is found)
                found = run.model.get_submodule(path)
            part.module.load_state_dict(found.state_dict(), strict=False)
        self.forget()


def _check(kind: str, thing: Any) -> None:
    """Refuse what cannot be of the kind.

    Raises:
        UserError: saying what it is and what is needed.
    """
    if isinstance(thing, type):
        raise UserError(f"{kind}: {thing.__name__} is a class. Give an object of it: {kind}={thing.__name__}(…).")
    if not isinstance(thing, nn.Module):
        raise UserError(f"{kind}: {described(thing)} is none. Give a name, a mapping {{'name': …}}, or an nn.Module.")
    members = MEMBERS["loss"]
    if kind != "loss" and all(hasattr(thing, name) for name in members):
        raise UserError(f"{kind}: {type(thing).__name__} is a loss. Give it as loss=….")
    if kind == "loss" and (lacking := [name for name in members if not hasattr(thing, name)]):
        raise UserError(
            f"loss: {type(thing).__name__} has no '{lacking[0]}'. A loss of your own has all that i2i.protocols.Loss describes."
        )
