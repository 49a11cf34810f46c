"""The pictures that a model is evaluated on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_jsonable_python

from i2i.building.held_out import check_held_out, complete, split_of
from i2i.building.parts import build_dataset
from i2i.data import spread
from i2i.protocols import Dataset
from i2i.recipe.components import Component
from i2i.recipe.options import options_model
from i2i.registry import Registry


@dataclass(frozen=True)
class Held:
    """At most ``images`` pictures, evenly spread over the data set."""

    dataset: Dataset
    name: str
    options: Mapping[str, Any]
    split: str
    images: int | None = None

    @property
    def indices(self) -> list[int]:
        """The numbers of the samples."""
        return spread(len(self.dataset), self.images or len(self.dataset))


def held_out(
    component: Component,
    registry: Registry,
    split: str,
    over: Mapping[str, Any] | None = None,
    images: int | None = None,
    trained: Component | None = None,
) -> Held:
    """A recipe's data set in a *split* (if it has such an option), with further options laid *over* its own.

    Raises:
        UserError: an option does not fit, the split holds no picture, or one of those that a model was *trained* on.
    """
    model = options_model("dataset", registry.get("dataset", component.name).factory)
    over = {**({"split": split} if "split" in model.model_fields else {}), **(over or {})}
    merged = component.model_copy(update={"options": {**component.options, **over}})
    merged = merged.model_copy(update={"options": complete("dataset", merged, registry)})
    dataset, where = build_dataset(merged, registry), split_of(merged)
    if trained is not None and not check_held_out(dataset, merged, trained, registry):
        where += " (the pictures trained on)"
    plain = {key: value for key, value in to_jsonable_python(merged.options).items() if key != "split"}
    return Held(dataset, component.name, plain, where, images)
