"""The JSON schema of recipes, for editors."""

from collections.abc import Callable
from typing import Any

from i2i.errors import UserError
from i2i.objectives import Chosen
from i2i.recipe.components import Judge
from i2i.recipe.options import options_model
from i2i.recipe.plugin_sections import section_model, section_names
from i2i.recipe.reading import COMPONENTS, Recipe
from i2i.recipe.sections import Section
from i2i.registry import Registry, default_registry


def recipe_schema(registry: Registry | None = None) -> dict[str, Any]:
    """The JSON schema of a recipe: each component must be one of those registered, distinguished by its name."""
    registry = registry or default_registry()
    schema = Recipe.model_json_schema()
    definitions: dict[str, Any] = schema["$defs"]
    del definitions["Component"]
    judge = definitions.pop("Judge")["properties"]
    definitions["Train"]["not"] = {"required": ["steps", "epochs"]}
    for kind in COMPONENTS:
        one = _one(registry, kind, definitions)
        written = {"anyOf": [one, *_FORMS[kind](one)]} if kind in _FORMS else one
        schema["properties"][kind] = {"description": schema["properties"][kind]["description"], **written}
    _add_judges(definitions, schema["properties"]["discriminator"], {key: judge[key] for key in Judge.own if key != "name"})
    del schema["properties"]["sections"]
    definitions.pop("Section", None)
    for name, model in section_models().items():
        found = model.model_json_schema(ref_template=f"#/$defs/{name}.{{model}}")
        definitions |= {f"{name}.{key}": inner for key, inner in found.pop("$defs", {}).items() if key != "Component"}
        _fill(found, registry, definitions)
        schema["properties"][name] = {"anyOf": [found, {"type": "null"}], "description": found.get("description", "")}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def section_models() -> dict[str, type[Section]]:
    """The sections of plugins that can be used, by name."""
    found = {}
    for name in section_names():
        try:
            found[name] = section_model(name)
        except UserError:  # users of the section are told
            continue
    return found


def _fill(found: Any, registry: Registry, definitions: dict[str, Any]) -> None:
    """Replace each component of a section by the choices for its kind, which the key ``component`` names."""
    for inner in found.values() if isinstance(found, dict) else found if isinstance(found, list) else ():
        _fill(inner, registry, definitions)
    if isinstance(found, dict) and isinstance(kind := found.get("component"), str) and "$ref" in found:
        kept = {key: found[key] for key in ("default", "description") if key in found}
        found.clear()
        found |= {"anyOf": [{"enum": registry.names(kind)}, _one(registry, kind, definitions)], **kept}


def _one(registry: Registry, kind: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """A reference to the choices of a kind in *definitions*."""
    if kind not in definitions:
        definitions[kind] = {}  # a choice may refer to the kind
        choices = _choices(registry, kind, definitions)
        definitions[kind] = {"oneOf": choices} if choices else {"not": {}}
    return {"$ref": f"#/$defs/{kind}"}


def _add_judges(definitions: dict[str, Any], slot: dict[str, Any], own: dict[str, Any]) -> None:
    """The list of discriminators, each with its *own* keys beside its options."""
    choices = [{**one, "properties": {**one["properties"], **own}} for one in definitions["discriminator"]["oneOf"]]
    definitions["judge"] = {"oneOf": choices}
    slot["anyOf"].append({"type": "array", "items": {"$ref": "#/$defs/judge"}, "minItems": 1})


def _each_schema(one: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": one, "not": {"required": ["name"]}}


_FORMS: dict[str, Callable[[dict[str, Any]], list[dict[str, Any]]]] = {
    "generator": lambda one: [_each_schema(one)],
    "discriminator": lambda one: [_each_schema(one), {"type": "null"}],
    "loss": lambda one: [{"type": "array", "items": one, "minItems": 1}],
}
"""The other forms in which a recipe can give a component of a kind."""


def _choices(registry: Registry, kind: str, definitions: dict[str, Any]) -> list[dict[str, Any]]:
    """The schemas of a kind's components; schemas that their options refer to are added to *definitions*."""
    entries = registry.entries(kind)
    names = [entry.name for entry in entries]
    choices = []
    for entry in entries:
        name = entry.name if names.count(entry.name) == 1 else f"{entry.plugin}:{entry.name}"
        try:
            template = f"#/$defs/{kind}.{name}.{{model}}"
            options = options_model(kind, entry.factory).model_json_schema(ref_template=template)
        except UserError:
            continue  # `i2i plugins` shows the reason
        for key, inner in options.pop("$defs", {}).items():
            if key != Chosen.__name__:
                definitions[f"{kind}.{name}.{key}"] = inner
        _fill(options, registry, definitions)
        named = {"const": name, "description": f"{'An' if kind[0] in 'aeiou' else 'A'} {kind} of the plugin '{entry.plugin}'."}
        properties = {"name": named, **options.get("properties", {})}
        required = ["name", *options.get("required", [])]
        choices.append({**options, "title": name, "properties": properties, "required": required})
    return choices
