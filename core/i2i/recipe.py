"""A recipe: YAML to a checked model in which every default is spelled out.

Its sections are the models of ``sections.py``. The options of a component are those of its factory's signature
(``options.py``), so a recipe is checked in two passes: first its structure, which loads no plugin, then its components
against the registry.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from i2i.components import Component, OneOrEach, OneOrMany, all_gathered
from i2i.errors import UserError
from i2i.options import Problem, check_options, explain, options_model
from i2i.registry import Registry, default_registry
from i2i.sections import Checkpoint, Evaluate, Log, Samples, Section, Train
from i2i.yaml_nodes import Loc, Node, dump, override, read

COMPONENTS = ("dataset", "generator", "discriminator", "loss")
"""The recipe's keys that hold components; each is also the kind."""


class Recipe(Section):
    """Everything that a run is made of."""

    dataset: Component
    """What is learned from."""
    generator: OneOrEach
    """What translates: one for all directions, or one for each: {ab: {name: …}, ba: {name: …}}."""
    discriminator: OneOrEach | None = None
    """What judges images: one for all judged domains, or one for each."""
    loss: OneOrMany
    """What is minimised: one, or a list whose terms are added up."""
    train: Train = Train()
    samples: Samples = Samples()
    checkpoint: Checkpoint = Checkpoint()
    log: Log = Log()
    evaluate: Evaluate | None = None

    def components(self, kind: str) -> dict[Loc, Component]:
        """The components of a kind by their place under its key: () for the only one, (1,) in a list, ("ab",) of each."""
        slot = getattr(self, kind)
        if slot is None or isinstance(slot, Component):
            return {} if slot is None else {(): slot}
        return {(key,): part for key, part in (enumerate(slot) if isinstance(slot, list) else slot.items())}

    def called(self, kind: str) -> str:
        """The names of a kind's components, for messages."""
        return " + ".join(dict.fromkeys(component.name for component in self.components(kind).values()))

    def to_yaml(self) -> str:
        """The recipe with every default spelled out; it loads again to an equal recipe."""
        return dump(self.model_dump(mode="json"))


def changes(before: Any, after: Any, path: str = "") -> list[str]:
    """Where two recipes, or two values at the same *path* of them, differ: ``train.steps: 100 → 200``."""
    before, after = to_jsonable_python(before), to_jsonable_python(after)
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        before, after = dict(enumerate(before)), dict(enumerate(after))
    if isinstance(before, dict) and isinstance(after, dict):
        keys = {**before, **after}
        return [line for key in keys for line in changes(before.get(key), after.get(key), f"{path}.{key}".lstrip("."))]
    old, new = (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in (before, after))
    return [f"{path}: {old} → {new}"] if before != after else []


def load_recipe(path: str | Path, overrides: Sequence[str] = (), registry: Registry | None = None) -> Recipe:
    """Read a recipe, lay ``key=value`` overrides over it, and check it, its components included.

    Raises:
        UserError: every problem that was found, one a line, each with its place and dotted path.
    """
    top = read(Path(path))
    for argument in overrides:
        override(top, argument)
    data = top.plain()
    shape = {key: all_gathered(value) if key in COMPONENTS else value for key, value in data.items()}
    try:
        recipe = Recipe.model_validate_json(json.dumps(shape), strict=True)
    except ValidationError as error:
        raise _refusal(top, map(_untagged, explain(error, Recipe))) from error
    return _resolved(recipe, top, registry or default_registry())


def _resolved(recipe: Recipe, top: Node, registry: Registry) -> Recipe:
    """The recipe with its components' options checked and complete."""
    problems: list[Problem] = []
    update: dict[str, Any] = {}
    for kind in COMPONENTS:
        complete: dict[Loc, Component] = {}
        for place, component in recipe.components(kind).items():
            options, wrong = _checked(registry, kind, component)
            problems += [Problem((kind, *place, *p.loc), p.at_key, p.text) for p in wrong]
            complete[place] = component.model_copy(update={"options": options})
        update[kind] = _in_the_form_of(getattr(recipe, kind), complete)
    over = recipe.samples.dataset
    if over and not any(problem.loc[0] == "dataset" for problem in problems):
        merged = Component(name=recipe.dataset.name, options={**recipe.dataset.options, **over})
        options, wrong = _checked(registry, "dataset", merged)
        problems += [Problem(("samples", "dataset", *p.loc), p.at_key, p.text) for p in wrong]
        checked = {key: options.get(key) for key in over}
        update["samples"] = recipe.samples.model_copy(update={"dataset": checked})
    if recipe.evaluate is not None:
        update["evaluate"], wrong = _resolved_metrics(recipe.evaluate, registry)
        problems += wrong
    if problems:
        raise _refusal(top, problems)
    return recipe.model_copy(update=update)


def _resolved_metrics(section: Evaluate, registry: Registry) -> tuple[Evaluate, list[Problem]]:
    """The section with its metrics' options checked and complete, and what is wrong with them."""
    complete, problems = [], []
    for place, metric in enumerate(section.metrics):
        options, wrong = _checked(registry, "metric", metric)
        complete.append(metric.model_copy(update={"options": options}))
        problems += [Problem(("evaluate", "metrics", place, *p.loc), p.at_key, p.text) for p in wrong]
    return section.model_copy(update={"metrics": complete}), problems


def _checked(registry: Registry, kind: str, component: Component) -> tuple[dict[str, Any], list[Problem]]:
    """A component's complete options, or what is wrong with them."""
    try:
        model = options_model(kind, registry.get(kind, component.name).factory)
    except UserError as error:
        return {}, [Problem(("name",), False, str(error))]
    try:
        return check_options(model, component.options), []
    except ValidationError as error:
        return {}, list(explain(error, model))


def _refusal(top: Node, problems: Iterable[Problem]) -> UserError:
    """One error for all problems, in the order in which they were found; a union's alternatives share a line."""
    lines: dict[str, list[str]] = {}
    for loc, at_key, text in problems:
        found, place = top.find(loc)
        shown = loc if at_key else found
        if found == loc or not at_key:
            place = top.key_place(loc) if at_key else top.find(found)[1]
        if len(found) == 1 and found[0] in COMPONENTS and text.startswith("must be a mapping"):
            text += " Write {name: …}."
        dotted = ".".join(map(str, shown))
        texts = lines.setdefault(f"{place}: {dotted}: " if dotted else f"{place}: ", [])
        if text not in texts:
            texts.append(text)
    return UserError("\n".join(head + " Or: ".join(texts) for head, texts in lines.items()))


def _in_the_form_of(slot: Any, components: dict[Loc, Component]) -> Any:
    """The components as one, as a list, or by direction, as the recipe has them."""
    if isinstance(slot, list):
        return list(components.values())
    return {place[0]: part for place, part in components.items()} if isinstance(slot, dict) else components.get(())


def _untagged(problem: Problem) -> Problem:
    """The place of a problem in the YAML, which knows nothing of the forms' tags."""
    kind, *rest = problem.loc
    tagged = kind in COMPONENTS and rest and rest[0] in ("one", "many", "each")
    return problem._replace(loc=(kind, *rest[1:])) if tagged else problem


def recipe_schema(registry: Registry | None = None) -> dict[str, Any]:
    """JSON schema of a recipe for editors: each component is one of those registered, told apart by its name."""
    registry = registry or default_registry()
    schema = Recipe.model_json_schema()
    definitions: dict[str, Any] = schema["$defs"]
    del definitions["Component"]
    for kind in COMPONENTS:
        one = {"oneOf": _choices(registry, kind, definitions)}
        written = {"anyOf": [one, *_FORMS[kind](one)]} if kind in _FORMS else one
        schema["properties"][kind] = {"description": schema["properties"][kind]["description"], **written}
    named = {"enum": registry.names("metric")}
    items = {"anyOf": [named, {"oneOf": _choices(registry, "metric", definitions)}]}
    definitions["Evaluate"]["properties"]["metrics"]["items"] = items
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _each_schema(one: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": one, "not": {"required": ["name"]}}


_FORMS: dict[str, Callable[[dict[str, Any]], list[dict[str, Any]]]] = {
    "generator": lambda one: [_each_schema(one)],
    "discriminator": lambda one: [_each_schema(one), {"type": "null"}],
    "loss": lambda one: [{"type": "array", "items": one, "minItems": 1}],
}
"""The other forms in which a kind can be written."""


def _choices(registry: Registry, kind: str, definitions: dict[str, Any]) -> list[dict[str, Any]]:
    """The schemas of a kind's components; what their options refer to goes into *definitions*."""
    entries = registry.entries(kind)
    names = [entry.name for entry in entries]
    choices = []
    for entry in entries:
        name = entry.name if names.count(entry.name) == 1 else f"{entry.plugin}:{entry.name}"
        try:
            template = f"#/$defs/{kind}.{name}.{{model}}"
            options = options_model(kind, entry.factory).model_json_schema(ref_template=template)
        except UserError:
            continue  # `i2i plugins` names it with the reason
        for key, inner in options.pop("$defs", {}).items():
            definitions[f"{kind}.{name}.{key}"] = inner
        named = {"const": name, "description": f"A {kind} of the plugin '{entry.plugin}'."}
        properties = {"name": named, **options.get("properties", {})}
        required = ["name", *options.get("required", [])]
        choices.append({**options, "title": name, "properties": properties, "required": required})
    return choices
