"""The pictures that a model is evaluated on, and which of their domains are the model's."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from i2i.build import build_dataset
from i2i.components import Component
from i2i.errors import UserError
from i2i.options import check_options, explain, options_model
from i2i.protocols import Dataset, Domain
from i2i.registry import Registry


@dataclass(frozen=True)
class Held:
    """The pictures that a model is evaluated on: at most ``images`` of them, evenly spread over the data set."""

    dataset: Dataset
    name: str
    options: Mapping[str, Any]
    split: str
    images: int | None = None

    @property
    def indices(self) -> list[int]:
        """The numbers of the samples."""
        length = len(self.dataset)
        count = min(self.images or length, length)
        return [(2 * i + 1) * length // (2 * count) for i in range(count)]


def held_out(
    component: Component, registry: Registry, split: str, over: Mapping[str, Any] | None = None, images: int | None = None
) -> Held:
    """A recipe's data set in a *split* (if it has such an option), with further options laid *over* its own.

    Raises:
        UserError: an option does not fit, or the split holds no picture.
    """
    model = options_model("dataset", registry.get("dataset", component.name).factory)
    over = dict(over or {})
    if "split" in model.model_fields:
        over.setdefault("split", split)
    options = complete("dataset", component.model_copy(update={"options": {**component.options, **over}}), registry)
    merged = component.model_copy(update={"options": options})
    where = str(options.get("split", "all (the data set has no splits)"))
    plain = in_json(options)
    plain.pop("split", None)
    return Held(build_dataset(merged, registry), component.name, plain, where, images)


def complete(kind: str, component: Component, registry: Registry) -> dict[str, Any]:
    """A component's options, checked, with every default.

    Raises:
        UserError: one does not fit.
    """
    model = options_model(kind, registry.get(kind, component.name).factory)
    try:
        return check_options(model, component.options)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, p.loc))}: {p.text}" for p in explain(error, model))
        raise UserError(f"{kind} '{component.name}': {wrong}") from error


def in_json(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as JSON has them."""
    return {
        key: value for key, value in Component(name="", options=dict(options)).model_dump(mode="json").items() if key != "name"
    }


def matched(wanted: Mapping[str, Domain], there: Mapping[str, Domain], name: str) -> dict[str, str]:
    """For each of the model's keys the data's key of the same domain: by name, else by the same key.

    Raises:
        UserError: the data lack a domain.
    """
    keys = {}
    for key, domain in wanted.items():
        shape = (domain.kind, domain.channels)
        same = [k for k, d in there.items() if (d.kind, d.channels) == shape and (d.name == domain.name or k == key)]
        same.sort(key=lambda k: (there[k].name != domain.name, k != key))
        if not same:
            raise UserError(
                f"the model has the domain {_described(domain)}, and the data '{name}' have only "
                f"{' and '.join(_described(d) for d in there.values())}. Give data of the model's domains."
            )
        keys[key] = same[0]
    if len(set(keys.values())) < len(keys):
        raise UserError(f"two of the model's domains find the same pictures in the data '{name}'. Give data with both.")
    return keys


def _described(domain: Domain) -> str:
    return f"'{domain.name}' ({domain.kind}, {domain.channels} channels)"
