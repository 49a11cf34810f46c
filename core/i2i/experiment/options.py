"""Where an option goes that was given without saying of what: ``width=8``, ``crop=64``, ``batch_size=4``."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from pydantic import BaseModel

from i2i.errors import UserError, nearest
from i2i.recipe import COMPONENTS, KEYS
from i2i.recipe.components import form
from i2i.recipe.options import options_model
from i2i.recipe.plugin_sections import section_names
from i2i.recipe.sections import Optimizer, Train
from i2i.registry import Registry

PLAYERS = ("generator", "discriminator")


def placed(recipe: Mapping[str, Any], options: Mapping[str, Any], registry: Registry) -> dict[str, Any]:
    """The recipe with each option in every part that has one of that name and does not say it itself.

    The parts are the components, their options that are sections (``transform``), ``train``, and in it what both players have.

    Raises:
        UserError: no part has such an option.
    """
    made: dict[str, Any] = deepcopy(dict(recipe))
    homes = _homes(made, registry, options)
    for name, value in options.items():
        own = [home for home, fields in homes if name in fields]
        if not own:
            known = sorted({field for _, fields in homes for field in fields})
            sections = [*KEYS, *section_names()]
            raise UserError(f"there is no option '{name}'.{nearest(name, [*known, *sections])} {_told(homes)}")
        for home in own:
            home.setdefault(name, value)
    kept: dict[str, Any] = _without_empty(made)
    return kept


def _homes(recipe: dict[str, Any], registry: Registry, options: Mapping[str, Any]) -> list[tuple[dict[str, Any], list[str]]]:
    """Every mapping of the recipe that takes options, with their names; those of *options* that are mappings are in place."""
    homes = []
    for kind in COMPONENTS:
        for component in components(recipe.get(kind)).values():
            if not isinstance(component.get("name"), str):
                continue  # the recipe's own check says what is wrong
            model = options_model(kind, registry.get(kind, component["name"]).factory)
            homes.append((component, list(model.model_fields)))
            for name, field in model.model_fields.items():
                inner = field.annotation
                if name in options:
                    component.setdefault(name, deepcopy(options[name]))
                if not (isinstance(inner, type) and issubclass(inner, BaseModel)) or inner.model_config.get("extra") == "allow":
                    continue  # it has no options, or is a component itself, such as an objective
                if isinstance(component.get(name, {}), dict):
                    homes.append((component.setdefault(name, {}), list(inner.model_fields)))
    train = recipe.setdefault("train", {})
    homes.append((train, [name for name in Train.model_fields if name not in PLAYERS]))
    for player in PLAYERS:
        if player == "generator" or recipe.get("discriminator") is not None:
            homes.append((train.setdefault(player, {}), [name for name in Optimizer.model_fields if name != "schedule"]))
    return homes


def components(slot: Any) -> dict[Any, dict[str, Any]]:
    """The components of a slot, each a mapping with its name, by their place: None for the only one."""
    if slot is None:
        return {}
    match form(slot):
        case "many":
            return dict(enumerate(slot))
        case "each":
            return {key: part for key, part in slot.items() if isinstance(part, dict)}
    return {None: slot}


def _told(homes: list[tuple[dict[str, Any], list[str]]]) -> str:
    lists = [f"{home['name']}: {', '.join(fields)}" for home, fields in homes if "name" in home and fields]
    return f"Options: {'; '.join(lists)}; and those of train."


def _without_empty(value: Any) -> Any:
    """Without the mappings that were made for options and got none."""
    if not isinstance(value, dict):
        return value
    return {key: one for key, inner in value.items() if (one := _without_empty(inner)) != {} or inner == {}}
