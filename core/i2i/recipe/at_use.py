"""Options of a generator that may change after training: those that its factory names in ``at_use``."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from i2i.errors import nearest
from i2i.recipe.components import Component
from i2i.recipe.nodes import Loc, setting
from i2i.recipe.options import Problem, check_options, explain, options_model
from i2i.registry import Registry

Generators = Mapping[str, tuple[Callable[..., Any], Mapping[str, Any]]]
"""A factory with its options: one under "" for all directions, or one for each under "ab" and the like."""


def given_use(arguments: Sequence[str] | None) -> dict[str, Any]:
    """What ``--use steps=50`` was given, as often as it was."""
    found = (setting(argument, "OPTION=VALUE", "steps=50", depth=1, option="--use") for argument in arguments or ())
    return {name: value.plain() for (name,), value in found}


def usable(factory: Callable[..., Any]) -> frozenset[str]:
    """The options that may change after training, as no weight depends on them."""
    return frozenset(getattr(factory, "at_use", ()))


def generators_of(components: Mapping[Loc, Component], registry: Registry) -> Generators:
    """The generators of a recipe by their directions."""
    return {
        "".join(map(str, place)): (registry.get("generator", component.name).factory, component.options)
        for place, component in components.items()
    }


def changed_options(generators: Generators, use: Mapping[str, Any]) -> tuple[dict[str, dict[str, Any]], list[Problem]]:
    """The options with *use* laid over those of every generator that lets them change, and what is wrong with *use*."""
    models = {key: options_model("generator", factory) for key, (factory, _) in generators.items()}
    offered = sorted({name for factory, _ in generators.values() for name in usable(factory)})
    may = f"You can change after training: {', '.join(offered)}." if offered else "No option can change after training."
    problems = []
    for name in sorted(set(use) - set(offered)):
        fixed = any(name in model.model_fields for model in models.values())
        told = "it is fixed by training." if fixed else f"there is no such option.{nearest(name, offered)}"
        problems.append(Problem((name,), True, f"{told} {may}"))
    changed = {}
    for key, (factory, options) in generators.items():
        own = {name: value for name, value in use.items() if name in usable(factory)}
        changed[key] = {**options, **own}
        try:
            changed[key] = check_options(models[key], changed[key])
        except ValidationError as error:
            problems += [problem for problem in explain(error, models[key]) if problem.loc[0] in own]
    return changed, list(dict.fromkeys(problems))


def in_use(generators: Generators) -> dict[str, Any]:
    """Of complete options those that may change after training, as JSON has them: ``steps``, or ``ab.steps`` of several."""
    return {
        f"{key}.{name}".lstrip("."): to_jsonable_python(value)
        for key, (factory, options) in generators.items()
        for name, value in options.items()
        if name in usable(factory)
    }
