"""What the matrix is made of: its choice, its data, and the components, each built once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from i2i.building.combined import Losses
from i2i.building.parts import build_discriminator, build_generator, construct
from i2i.errors import UserError
from i2i.objectives import Chosen
from i2i.protocols import Direction, Domain, Needs
from i2i.recipe import Recipe
from i2i.recipe.components import Component
from i2i.recipe.options import options_model
from i2i.registry import Entry, Registry
from i2i.testing.leading import standing
from i2i.testing.options import objective_option
from i2i.testing.subject import Subject

AND, WITH = " + ", " with "
"""Between the names of several discriminators, and of a loss and its objective."""

_CLASSES = ("water", "land", "town", "sky")
_PHOTO = Domain("photo", "image", 3)
_LABELS = Domain("labels", "labels", 4, _CLASSES, ((20, 40, 160), (90, 140, 40), (200, 60, 60), (120, 180, 250)))
DATA: dict[str, Mapping[str, Domain]] = {
    "images": {"a": Domain("drawing", "image", 3), "b": _PHOTO},
    "labels": {"a": _LABELS, "b": _PHOTO},
}
"""Data sets without files: their images are random. All count as paired."""


@dataclass(frozen=True)
class Choice:
    """What the matrix tries, with options by kind and name (``{"generator mine": {"width": 4}}``), and on which device.

    With a *plugin*, only combinations with one of its components. ``judges`` names discriminators that are tried as one list.
    """

    registry: Registry
    options: Mapping[str, Mapping[str, Any]]
    device: str = "meta"
    size: int = 256
    plugin: str | None = None
    judges: tuple[str, ...] = ()

    def wants(self, *entries: Entry) -> bool:
        return self.plugin in (None, *(entry.plugin for entry in entries))


class Workshop:
    """Builds every component once, and raises the same error again if it cannot be built."""

    def __init__(self, choice: Choice) -> None:
        self.choice = choice
        self.with_values: Workshop = self if choice.device == "cpu" else Workshop(replace(choice, device="cpu"))
        self.sizes = dict.fromkeys("ab", (choice.size, choice.size))
        self._built: dict[tuple[Any, ...], Any] = {}

    def called(self, entry: Entry) -> str:
        """The name in a recipe, with the plugin's if two plugins offer the same name."""
        same = [other for other in self.choice.registry.entries(entry.kind) if other.name == entry.name]
        return entry.name if len(same) == 1 else f"{entry.plugin}:{entry.name}"

    def recipe(self, generator: str = "-", loss: str = "-", judge: str = "") -> Recipe:
        """A recipe of these components with all their options; "-" is a placeholder."""
        parts: dict[str, Any] = {kind: self._component(kind, name) for kind, name in (("generator", generator), ("loss", loss))}
        if judges := [self._component("discriminator", name) for name in judge.split(AND) if name]:
            parts["discriminator"] = [dict(one) for one in judges] if len(judges) > 1 else judges[0]
        return Recipe.model_validate({"dataset": {"name": "-"}, **parts})

    def objective_option(self, loss: str) -> str:
        """The option of a loss that chooses its objective; empty if it has none, or cannot be described."""
        try:
            return objective_option(options_model("loss", self.choice.registry.get("loss", loss).factory))
        except UserError:
            return ""

    def loss(self, data: str, name: str) -> Any:
        """The loss alone, or behind another in a list if it stands beside others only."""
        ((_, component),) = self.recipe(loss=name).components("loss").items()

        def build(beside: Needs | None) -> Any:
            return construct(self.choice.registry, "loss", component, domains=DATA[data], beside=beside)

        factory = self.choice.registry.get("loss", component.name).factory
        return self._once(lambda: standing(factory, name, DATA[data], build), data, name)

    def stands_beside(self, data: str, name: str) -> bool:
        """Whether the loss can be built, and not alone."""
        try:
            return isinstance(self.loss(data, name), Losses)
        except Exception:
            return False

    def adversarial(self, data: str, name: str) -> bool:
        """Whether the loss needs a discriminator; true if the loss cannot be built."""
        try:
            return bool(self.loss(data, name).needs.adversarial)
        except Exception:
            return True

    def generator(self, data: str, name: str, directions: tuple[Direction, ...]) -> Any:
        registry = self.choice.registry
        return self._once(
            lambda: build_generator(self.recipe(name), registry, DATA[data], directions, self.sizes), data, name, directions
        )

    def judge(self, data: str, name: str, needs: Needs) -> Any:
        def build() -> Any:
            return build_discriminator(self.recipe(judge=name), self.choice.registry, needs, DATA[data], self.sizes)

        return self._once(build, data, name, needs.directions, needs.conditional, needs.adversarial)

    def _once(self, build: Callable[[], Any], *key: Any) -> Any:
        if key not in self._built:
            try:
                with torch.device(self.choice.device):
                    self._built[key] = build()
            except Exception as error:
                self._built[key] = error
        if isinstance(self._built[key], Exception):
            raise self._built[key]
        return self._built[key]

    def _component(self, kind: str, name: str) -> Component:
        if name == "-":
            return Component(name=name)
        if kind == "loss" and WITH in name:
            loss, objective = name.split(WITH)
            found, chosen = self._component(kind, loss), self._component("objective", objective)
            options = {**found.options, self.objective_option(loss): Chosen(name=objective, **chosen.options)}
            return found.model_copy(update={"options": options})
        entry = self.choice.registry.get(kind, name)
        subject = Subject(kind, entry.name, entry.factory, self.choice.options.get(f"{kind} {entry.name}", {}))
        try:
            return Component(name=name, options=subject.complete())
        except UserError as error:
            raise UserError(f"{kind} '{name}': {error}") from error
