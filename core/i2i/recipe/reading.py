"""A recipe: YAML to a checked model in which every default is spelled out.

Its sections are the models of ``sections.py``. The options of a component are those of its factory's signature
(``options.py``), so a recipe is checked in two passes: first its structure, which loads no plugin, then its components
against the registry.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePath
from typing import Any, Self

from pydantic import (
    Field,
    PrivateAttr,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    ValidationError,
    create_model,
    model_serializer,
)

from i2i.declared import DISABLE, GROUP, declared, distribution_of
from i2i.errors import UserError, nearest
from i2i.recipe.at_use import changed_options, generators_of
from i2i.recipe.components import Component, OneOrEach, OneOrEachOrJudges, OneOrMany, all_gathered
from i2i.recipe.nodes import Loc, Node, Places, dump, override, read
from i2i.recipe.options import Problem, check_options, explain, in_words, options_model
from i2i.recipe.plugin_sections import checked_section, saved_section
from i2i.recipe.sections import Checkpoint, Log, Samples, Section, Train
from i2i.recipe.suggested import laid_over, suggestion
from i2i.registry import Registry, default_registry

COMPONENTS = ("dataset", "generator", "discriminator", "loss")
"""The recipe's keys that hold components; each is also the kind."""


class Recipe(Section):
    """Everything that a run is made of."""

    dataset: Component
    """What is learned from."""
    generator: OneOrEach
    """What translates: one for all directions, or one for each: {ab: {name: …}, ba: {name: …}}."""
    discriminator: OneOrEachOrJudges | None = None
    """What judges images: one for all judged domains, one for each, or a list whose terms are added up by their weights."""
    loss: OneOrMany
    """What is minimised: one, or a list whose terms are added up."""
    train: Train = Train()
    """How it is trained."""
    samples: Samples = Samples()
    """When held-out pictures are translated, and which."""
    checkpoint: Checkpoint = Checkpoint()
    """When the state is saved, and what is kept."""
    log: Log = Log()
    """When numbers are logged, and where."""
    sections: dict[str, SerializeAsAny[Section]] = Field(default_factory=dict)
    """The sections of plugins, by name; in YAML they are top-level keys like the others."""
    _places: Places = PrivateAttr(default_factory=Places)

    def where(self, *loc: str | int) -> str:
        """The place of a key in the file, for messages, and its dotted path."""
        return self._places.of(*loc)

    def components(self, kind: str) -> dict[Loc, Component]:
        """The components of a kind by their place under its key: () for the only one, (1,) in a list, ("ab",) of each."""
        slot = getattr(self, kind)
        if slot is None or isinstance(slot, Component):
            return {} if slot is None else {(): slot}
        return {(key,): part for key, part in (enumerate(slot) if isinstance(slot, list) else slot.items())}

    def called(self, kind: str) -> str:
        """The names of a kind's components, for messages."""
        return " + ".join(dict.fromkeys(component.name for component in self.components(kind).values()))

    def settled(self, before: Self | None = None) -> Self:
        """The recipe with a value for every ``auto``: that of *before*, the recipe of the resumed run, or the default."""
        return self.model_copy(update={"train": self.train.settled(before.train if before else None)})

    def section(self, name: str) -> Any:
        """The section that a plugin declares, or None where the recipe has none."""
        return self.sections.get(name)

    @model_serializer(mode="wrap")
    def _beside(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found: dict[str, Any] = handler(self)
        sections = found.pop("sections", {})
        return {**found, **sections}

    def to_yaml(self) -> str:
        """The recipe with every default spelled out; it loads again to an equal recipe."""
        return dump(self.model_dump(mode="json"))


KEYS = tuple(name for name in Recipe.model_fields if name != "sections")
"""The core's own keys of a recipe."""
_LENGTHS = {"steps", "epochs"}  # the keys of ``train`` of which a recipe gives one


def load_recipe(
    source: str | Path | Mapping[str, Any] | Recipe, overrides: Sequence[str] = (), registry: Registry | None = None
) -> Recipe:
    """Read a recipe, lay ``key=value`` overrides over it, and check it, its components included.

    *source* is the path of a file, or ``plugin:name`` of a recipe that a plugin brings (a file of that name comes first); or
    it is the recipe itself, as a mapping of what a file would hold, or as it was loaded before.

    Raises:
        UserError: every problem that was found, one a line, each with its place and dotted path.
    """
    source = source.model_dump(mode="json") if isinstance(source, Recipe) else source
    top = _told(source) if isinstance(source, Mapping) else read(*_found(Path(source)))
    for argument in overrides:
        override(top, argument)
    if len(given := {key for key in _LENGTHS for text in overrides if text.startswith(f"train.{key}=")}) == 1:
        top.value["train"].value.pop(*_LENGTHS - given, None)  # the file's, in steps or in epochs
    data = top.plain()
    shape = {key: all_gathered(key, value) if key in COMPONENTS else value for key, value in data.items() if key in KEYS}
    problems: list[Problem] = []
    try:
        recipe = Recipe.model_validate_json(json.dumps(shape), strict=True)
    except ValidationError as error:
        problems += explain(error, Recipe)
    sections = {key: checked_section(key, value, KEYS, problems) for key, value in data.items() if key not in KEYS}
    if problems:
        raise _refusal(top, problems)
    found = {key: section for key, section in sections.items() if section is not None}
    return _resolved(recipe.model_copy(update={"sections": found}), top, registry or default_registry())


def _told(data: Any, source: str = "the recipe") -> Node:
    """The tree of a mapping that was given in Python: plain data, and paths, which become text.

    Raises:
        UserError: something else is in it.
    """
    if isinstance(data, Mapping):
        return Node(source, {str(key): _told(value, source) for key, value in data.items()}, {})
    if isinstance(data, list | tuple):
        return Node(source, [_told(value, source) for value in data], {})
    if not isinstance(data, str | bool | int | float | PurePath | None):
        raise UserError(f"{source}: it holds an object of type {type(data).__name__}. A recipe is plain data.")
    return Node(source, str(data) if isinstance(data, PurePath) else data, {})


def _found(path: Path) -> tuple[Path, str]:
    """The file of a recipe, and what messages call it: a plugin's by its distribution."""
    name = str(path)
    if ":" not in name or path.suffix in (".yaml", ".yml") or path.exists():
        return path, name
    brought = {known: (claim, file) for claim in declared(GROUP) for known, file in claim.recipes().items()}
    if name not in brought:
        known = f"{nearest(name, list(brought))} Plugins have {', '.join(brought)}." if brought else " No plugin has recipes."
        raise UserError(f"'{name}' is neither a file nor a plugin's recipe.{known}")
    claim, file = brought[name]
    if claim.disabled:
        raise UserError(f"the recipe '{name}' belongs to {claim.owner}, which {DISABLE} turns off.")
    return file, f"{distribution_of(claim.point)}, recipes/{file.name}"


def recipe_of(saved: Mapping[str, Any]) -> Recipe:
    """The recipe that a model was saved with. Sections of plugins that are not here stay what they are.

    Raises:
        pydantic.ValidationError: it is not a recipe of this version.
    """
    core = {key: value for key, value in saved.items() if key in KEYS}
    own = {key: value for key, value in saved.items() if key not in KEYS and value is not None}
    return Recipe.model_validate({**core, "sections": {key: saved_section(key, value) for key, value in own.items()}})


def _resolved(recipe: Recipe, top: Node, registry: Registry) -> Recipe:
    """The recipe with its components' options checked and complete."""
    problems: list[Problem] = []
    update: dict[str, Any] = {}
    complete = partial(_complete, registry, problems)
    for kind in COMPONENTS:
        components = {place: complete(kind, kind, found, *place) for place, found in recipe.components(kind).items()}
        update[kind] = _in_the_form_of(getattr(recipe, kind), components)
    over = recipe.samples.dataset
    if over and not any(problem.loc[0] == "dataset" for problem in problems):
        merged = Component(name=recipe.dataset.name, options={**recipe.dataset.options, **over})
        options = complete("samples", "dataset", merged, "dataset").options
        update["samples"] = recipe.samples.model_copy(update={"dataset": {key: options.get(key) for key in over}})
    if recipe.samples.use and not any(problem.loc[0] == "generator" for problem in problems):
        _, wrong = changed_options(generators_of(recipe.components("generator"), registry), recipe.samples.use)
        problems += [p._replace(loc=("samples", "use", *p.loc)) for p in wrong]
    update["sections"] = {name: section.resolved(partial(complete, name)) for name, section in recipe.sections.items()}
    if problems:
        raise _refusal(top, problems)
    recipe = recipe.model_copy(update={**update, "train": _train(recipe, top, registry)})
    recipe._places = Places(top)
    return recipe


def _train(recipe: Recipe, top: Node, registry: Registry) -> Train:
    """The recipe's ``train`` over what its losses suggest, the first one above the others.

    Raises:
        UserError: what a loss suggests is not such a section, or does not go with what the recipe says.
    """
    node = top.child("train")
    said = node.plain() if node else {}
    for component in recipe.components("loss").values():
        below = suggestion(registry.get("loss", component.name))
        unused = {*(() if recipe.discriminator else ("discriminator",)), *(_LENGTHS if _LENGTHS & set(said) else ())}
        said = laid_over(said, {key: below[key] for key in below if key not in unused})
    try:
        return Train.model_validate_json(json.dumps(said), strict=True)
    except ValidationError as error:
        raise UserError(f"train, with what loss '{recipe.called('loss')}' suggests: {in_words(error, Train)}") from error


def _complete(
    registry: Registry, problems: list[Problem], key: str, kind: str, component: Component, *place: str | int
) -> Component:
    """A component under *key*, at a *place* in it, with its options checked and complete; problems are added to *problems*."""
    try:
        model = options_model(kind, registry.get(kind, component.name).factory)
        options = check_options(model, component.options)
    except ValidationError as error:
        own: Any = dict.fromkeys(component.own[1:], (Any, None))
        known = create_model("Known", __base__=model, **own)
        problems += [p._replace(loc=(key, *place, *p.loc)) for p in explain(error, known)]
    except UserError as error:
        problems.append(Problem((key, *place, "name"), False, str(error)))
    else:
        from i2i.objectives import Chosen  # here, as it imports torch: the factory has done so by now

        for name, chosen in options.items():
            if isinstance(chosen, Chosen):
                inner = Component(name=chosen.name, options=chosen.options)
                inner = _complete(registry, problems, key, "objective", inner, *place, name)
                options[name] = Chosen(name=inner.name, **inner.options)
        return component.model_copy(update={"options": options})
    return component


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
        if loc in (("discriminator", "weight"), ("discriminator", "from")) and text.startswith("unknown key"):
            text = f"it belongs to a discriminator in a list. Write discriminator: [{{name: …, {loc[1]}: …}}, …]."
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
