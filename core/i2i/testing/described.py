"""Describes the options of a component and the keys of a section, for ``i2i plugins`` and the tables in the docs."""

import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel

from i2i.objectives import Chosen
from i2i.recipe.at_use import usable
from i2i.recipe.lengths import InEpochs
from i2i.recipe.options import SUPPLIED, options_model


class Option(NamedTuple):
    """One option of a component, as it is shown to users."""

    name: str
    type: str
    default: str
    help: str


def describe(kind: str, factory: Callable[..., Any]) -> list[Option]:
    """The options of a factory, in its order; a kind that recipes cannot name has none."""
    options, free = listed(options_model(kind, factory)) if kind in SUPPLIED else [], usable(factory)
    return [o._replace(help=f"{o.help} May change after training.".strip()) if o.name in free else o for o in options]


def listed(model: type[BaseModel]) -> list[Option]:
    """The fields of a model, in their order."""
    return [
        Option(
            field.alias or name,
            " ".join([type_text(field.annotation), *_limits(field.metadata)]),
            "required" if field.is_required() else _value_text(field.get_default(call_default_factory=True)),
            field.description or "",
        )
        for name, field in model.model_fields.items()
    ]


def type_text(annotation: Any) -> str:
    """A type in a few characters: ``int``, ``day | night``, ``tuple[float, float]``."""
    origin, args = get_origin(annotation), get_args(annotation)
    if annotation is type(None):
        return "null"
    if annotation is Chosen:
        return "objective"
    if origin is Annotated:
        return " ".join([type_text(args[0]), *_limits(args[1:])])
    if origin is Literal:
        return " | ".join(str(arg) for arg in args)
    if args and isinstance(origin, type) and origin.__module__ != "types":
        return f"{origin.__name__}[{', '.join('…' if arg is ... else type_text(arg) for arg in args)}]"
    if args:
        return " | ".join(type_text(arg) for arg in args)
    return str(getattr(annotation, "__name__", annotation))


def _limits(metadata: Sequence[Any]) -> list[str]:
    """Limits such as ``>= 1``, from the metadata of pydantic and annotated_types."""
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<", "multiple_of": "multiple of"}
    flat = [mark for item in metadata for mark in (item, *getattr(item, "metadata", ()))]
    limits = [f"{signs[key]} {getattr(m, key)}" for m in flat for key in signs if getattr(m, key, None) is not None]
    return [*limits, *("or epochs" for mark in flat if isinstance(mark, InEpochs))]


def _value_text(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=lambda model: model.model_dump(exclude_unset=True))
    except (TypeError, AttributeError):
        return str(value)
