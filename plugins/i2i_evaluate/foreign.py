"""The recipe that comes with a model: who wrote it, and what is used from it.

A stranger's model has a stranger's recipe, which could name files, functions, addresses or folders to write to. From it come
names of components, numbers, and words from closed lists; any other text is taken from a recipe or a command line of the
caller's own. The data of a recipe that this account has trained on this machine are its own (``i2i.recipe.own``); metrics never
are, as a path such as ``seg.pt2`` means another file in a stranger's folder.
"""

import json
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel

from i2i.errors import UserError
from i2i.objectives import Chosen
from i2i.recipe import COMPONENTS, Recipe
from i2i.recipe.components import Component
from i2i.recipe.options import options_model
from i2i.recipe.own import is_own
from i2i.registry import Registry


def may_be_read(recipe: Recipe, registry: Registry) -> bool:
    """Whether the data of the recipe that comes with a model may be read without the user asking for it."""
    return is_own(recipe) or not texts("dataset", recipe.dataset, registry, "dataset")


def check_data(
    recipe: Recipe, registry: Registry, path: Path, said: Sequence[str] = (), over: Mapping[str, Any] | None = None
) -> None:
    """The data of the recipe that comes with the model at *path* may be read, with its options *over* laid over them.

    Raises:
        UserError: the recipe is a stranger's and names places of its own choice. *said* are dotted keys from the caller.
    """
    if is_own(recipe):
        return
    merged = recipe.dataset.model_copy(update={"options": {**recipe.dataset.options, **(over or {})}})
    if named := texts("dataset", merged, registry, "dataset", said):
        file = path / "recipe.yaml"
        raise UserError(
            f"{path}: you have not trained this model on this machine, so the data that its recipe names are not read: "
            f"{', '.join(named)}. To read them: --data {file if file.is_file() else 'RECIPE'}, or a recipe of your own with "
            "other data."
        )


def check_components(recipe: Recipe, registry: Registry, path: Path) -> None:
    """Everything in the recipe that comes with the run in *path* may be built.

    Raises:
        UserError: the recipe is a stranger's and holds text other than names from closed lists.
    """
    if is_own(recipe):
        return
    named = []
    for kind in COMPONENTS:
        for place, component in recipe.components(kind).items():
            named += texts(kind, component, registry, ".".join(map(str, (kind, *place))))
    if named:
        raise UserError(
            f"{path}: you have not trained this run on this machine, and its recipe names {', '.join(named)}. "
            f"If you trust it, train it yourself: i2i run {path / 'recipe.yaml'} --out FOLDER."
        )


def texts(kind: str, component: Component, registry: Registry, place: str, said: Sequence[str] = ()) -> list[str]:
    """The options of a component that hold text which is neither a default nor from a closed list, as ``KEY: VALUE``."""
    fields = options_model(kind, registry.get(kind, component.name).factory).model_fields
    found = []
    for name, value in component.options.items():
        key = f"{place}.{name}"
        if isinstance(value, Chosen):  # an objective, whose name is one of a registered component
            found += texts("objective", Component(name=value.name, options=value.options), registry, key, said)
            continue
        if any(f"{key}.".startswith(f"{own}.") for own in said) or not _holds_text(value):
            continue
        field = fields.get(name)
        if field is None or not (_closed(field.annotation) or value == field.get_default(call_default_factory=True)):
            found.append(f"{key}: {json.dumps(value, ensure_ascii=False)[:100]}")
    return found


def _holds_text(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_holds_text, (*value.keys(), *value.values())))
    if isinstance(value, BaseModel):
        return _holds_text(value.model_dump(mode="json", exclude_defaults=True).values())
    if isinstance(value, str):
        return True
    return any(map(_holds_text, value)) if not isinstance(value, int | float | None) else False


def _closed(annotation: Any) -> bool:
    """Whether a value of this type is a number or a word from a list that its plugin has written down."""
    origin, inner = get_origin(annotation), [part for part in get_args(annotation) if part is not ...]
    if origin is Annotated:
        return _closed(inner[0])
    if origin is Literal or annotation in (int, float, bool, NoneType):
        return True
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return True
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return all(_closed(field.annotation) for field in annotation.model_fields.values())
    return bool(inner) and all(map(_closed, inner))
