"""A factory's signature as the schema of its options, and what pydantic found wrong in plain words."""

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, cast, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic.errors import PydanticUserError
from pydantic_core import to_jsonable_python

from i2i.errors import UserError, first_line, nearest
from i2i.recipe.components import Component, Judge
from i2i.recipe.nodes import Loc, kind_of

# What the core passes to a factory; everything else in its signature is an option of the recipe.
SUPPLIED: dict[str, tuple[str, ...]] = {
    "generator": ("domains", "directions"),
    "discriminator": ("domains", "conditions"),
    "loss": ("domains",),
    "objective": (),
    "dataset": (),
    "metric": (),
}
# What a factory is given too, if its signature asks for it: a network (height, width) of the training pictures, a generator
# whether a trained one's weights are loaded into it next, a loss the needs of those before it in the list, a metric what it
# measures.
OFFERED: dict[str, tuple[str, ...]] = {
    "generator": ("rebuilt", "size"),
    "discriminator": ("size",),
    "loss": ("beside",),
    "metric": ("domains", "direction", "directions", "seed", "plugins"),
}


def taken(kind: str, factory: Callable[..., Any], supplied: Mapping[str, Any]) -> dict[str, Any]:
    """Of what is *supplied* to a factory: what the core always supplies, and what else its signature asks for."""
    asked = inspect.signature(factory).parameters
    return {name: value for name, value in supplied.items() if name in SUPPLIED[kind] or name in asked}


_CONFIG = ConfigDict(extra="forbid", ser_json_inf_nan="constants", protected_namespaces=())
_KEYWORD, _MANY = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD


def options_model(kind: str, factory: Callable[..., Any]) -> type[BaseModel]:
    """A model of the factory's options: its typed keyword-only parameters without those that the core supplies.

    Raises:
        UserError: the signature is not a schema: an untyped or positional parameter, ``**kwargs``, an unusable type.
    """
    label = f"{kind} '{getattr(factory, '__name__', type(factory).__name__)}'"
    try:
        parameters = inspect.signature(factory, eval_str=True).parameters.values()
    except (ValueError, TypeError, NameError, AttributeError, SyntaxError) as error:
        raise UserError(f"{label}: its signature cannot be read: {error}") from error
    fields = [p for p in parameters if p.name not in (*SUPPLIED[kind], *OFFERED.get(kind, ()))]
    for parameter in fields:
        _check_parameter(parameter, kind, label)
    given = {p.name: (p.annotation, ... if p.default is p.empty else p.default) for p in fields}
    try:
        return cast(type[BaseModel], create_model(f"{kind}_options", __config__=_CONFIG, **cast(Any, given)))
    except (PydanticUserError, TypeError) as error:
        raise UserError(f"{label}: its options cannot be checked: {first_line(error)}") from error


def _check_parameter(parameter: inspect.Parameter, kind: str, label: str) -> None:
    """Refuse a parameter that cannot be an option."""
    name = parameter.name
    if parameter.kind is _MANY:
        raise UserError(f"{label} takes **{name}: spell its options out as typed keyword-only parameters.")
    if parameter.kind is not _KEYWORD:
        raise UserError(f"{label}: the parameter '{name}' must be keyword-only (put it behind a *).")
    if parameter.annotation is parameter.empty:
        raise UserError(f"{label}: the option '{name}' has no type. Annotate it.")
    taken = Judge.own if kind == "discriminator" else Component.own
    if name in (*taken, "options") or name.startswith("_") or hasattr(BaseModel, name):
        raise UserError(f"{label}: an option cannot be called '{name}'. Rename the parameter.")


def check_options(model: type[BaseModel], given: dict[str, Any]) -> dict[str, Any]:
    """The options as the factory wants them, every default spelled out.

    Values keep their YAML types, without conversion: text is not a number, and true is not 1. Those that were checked
    before may come again. The second pass turns defaults into what the same values in a recipe would be.

    Raises:
        pydantic.ValidationError: see ``explain``.
    """
    checked = model.model_validate_json(json.dumps(given, default=to_jsonable_python), strict=True)
    checked = model.model_validate_json(checked.model_dump_json(warnings="none"), strict=True)
    return {name: getattr(checked, name) for name in model.model_fields}


def complete_options(kind: str, name: str, factory: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a component, checked, with every default.

    Raises:
        UserError: one does not fit.
    """
    model = options_model(kind, factory)
    try:
        return check_options(model, dict(given))
    except ValidationError as error:
        raise UserError(f"{kind} '{name}': {in_words(error, model)}") from error


_TAG = re.compile(r"\(|constrained-|\w+\[")  # of a union's alternatives: "(one)", "constrained-int", "tuple[int, int]"


class Problem(NamedTuple):
    """One thing that is wrong, at the *loc* of a value or, with ``at_key``, of its key."""

    loc: Loc
    at_key: bool
    text: str


def explain(error: ValidationError, model: type[BaseModel]) -> Iterator[Problem]:
    """Every problem of a failed validation, in words for the author of the recipe."""
    for item in error.errors(include_url=False):
        kind, loc = item["type"], tuple(key for key in item["loc"] if not _TAG.match(str(key)))
        if kind == "extra_forbidden":
            known = fields_at(model, loc[:-1])
            there = f" The keys are: {', '.join(known)}." if known else " It takes no keys."
            yield Problem(loc, True, "unknown key." + (nearest(str(loc[-1]), known) or there))
        elif kind == "missing":
            yield Problem(loc, True, f"this {'key' if isinstance(loc[-1], str) else 'item'} is missing.")
        else:
            yield Problem(loc, False, _sentence(kind, item.get("ctx", {}), item["input"], item["msg"]))


def in_words(error: ValidationError, model: type[BaseModel]) -> str:
    """Every problem of a failed validation on one line; a union's alternatives stand together."""
    found: dict[str, list[str]] = {}
    for problem in explain(error, model):
        found.setdefault(".".join(map(str, problem.loc)), []).append(problem.text)
    return " ".join(": ".join(filter(None, (loc, " Or: ".join(texts)))) for loc, texts in found.items())


_NOUNS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "string_too_short": "text that is not empty",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "none_required": "null",
    "path_type": "a path (text)",
    "finite_number": "a finite number",
}
_BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
    "multiple_of": ("multiple_of", "a multiple of"),
}


def _sentence(kind: str, context: dict[str, Any], value: Any, message: str) -> str:
    """What a value should be, and what it is."""
    if kind in _NOUNS:
        return f"must be {_NOUNS[kind]}, not {kind_of(value)}."
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return f"must be {words} {context[key]}, not {kind_of(value)}."
    if kind in ("literal_error", "enum"):
        choices = re.findall(r"'([^']*)'", str(context["expected"]))
        hint = nearest(value, choices) if isinstance(value, str) else ""
        one = "one of " if len(choices) > 1 else ""
        return f"must be {one}{context['expected']}, not {kind_of(value)}.{hint}"
    if kind in ("too_short", "too_long"):
        least, length = context.get("min_length", context.get("max_length")), context["actual_length"]
        words = "at least" if kind == "too_short" else "at most"
        return f"must hold {words} {least} items, not {length}."
    if kind == "value_error":
        return f"{str(context['error']).rstrip('.')}."
    return f"{message[:1].lower()}{message[1:]}, not {kind_of(value)}."


def fields_at(model: Any, loc: Loc) -> list[str]:
    """The keys that may stand under *loc* of a model."""
    found: Any = model
    for key in loc:
        fields = getattr(found, "model_fields", {})
        if key not in fields:
            return []
        found = next(_models(fields[key].annotation), None)
    return list(getattr(found, "model_fields", {}))


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models within a type such as ``Model | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
