"""A recipe: YAML to a checked model in which every default is spelled out.

The sections are the models below. The options of a component are those of its factory's signature (``options.py``), so
a recipe is checked in two passes: first its structure, which loads no plugin, then its components against the registry.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_serializer,
    model_validator,
)

from i2i.errors import UserError
from i2i.options import Problem, check_options, explain, options_model
from i2i.registry import Registry, default_registry
from i2i.yaml_nodes import Node, dump, override, read

COMPONENTS = ("dataset", "generator", "discriminator", "loss")
"""The recipe's keys that hold components; each is also the kind."""

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]


class _Section(BaseModel):
    """What all sections share: unknown keys and infinite numbers are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, validate_assignment=True, ser_json_inf_nan="constants")


class Component(BaseModel):
    """A component by name (``plugin:name`` where two plugins have that name), with its options beside the name."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")

    name: str
    options: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, data: Any) -> Any:
        """Take ``{name, **options}`` as well as ``{name, options: {…}}``."""
        return data if _is_gathered(data) else _gathered(data)

    @model_serializer
    def _spread(self) -> dict[str, Any]:
        return {"name": self.name, **self.options}


class Optimizer(_Section):
    """An optimizer: one of torch's or timm's by name, with whatever further ``options`` it takes (``{eps: 1e-6}``)."""

    optimizer: str = "adam"
    lr: Annotated[float, Field(gt=0)] = 2e-4
    betas: tuple[Beta, Beta] = (0.5, 0.999)
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    options: dict[str, Any] = {}


class Schedule(_Section):
    """The learning rate over the steps; ``optim.rate_factor`` has the formulas.

    ``warmup`` steps rise linearly at the start of any of them. ``hold`` keeps the rate for so many steps, an epoch of
    programs that count in epochs, and ``ahead`` counts so many of these ahead, as programs do that update it first.
    """

    name: Literal["constant", "constant_then_linear", "step", "cosine", "plateau"] = "constant"
    constant: Share = 0.5
    start: int | None = None
    end: Count | None = None
    every: Count = 1000
    factor: Annotated[float, Field(gt=0, le=1)] = 0.1
    patience: Count = 5
    threshold: Annotated[float, Field(ge=0, lt=1)] = 0.01
    warmup: Annotated[int, Field(ge=0)] = 0
    hold: Count = 1
    ahead: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _own_options(self) -> Self:
        foreign = sorted(self.model_fields_set & self._foreign())
        if foreign:
            raise ValueError(f"the schedule '{self.name}' has no option {' or '.join(map(repr, foreign))}")
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise ValueError(f"the schedule's end, {self.end}, must come after its start, {self.start}")
        return self

    @model_serializer
    def _own(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in type(self).model_fields if name not in self._foreign()}

    def _foreign(self) -> set[str]:
        """The options that belong to other schedules."""
        counted = {"warmup", "hold", "ahead"}
        own = {
            "constant": {"warmup"},
            "constant_then_linear": {"constant", "start", "end", *counted},
            "step": {"every", "factor", *counted},
            "cosine": {"end", *counted},
            "plateau": {"every", "factor", "patience", "threshold"},
        }
        return set(type(self).model_fields) - own[self.name] - {"name"}


class Train(_Section):
    """The loop. ``ema`` is the decay of the averaged generator, ``clip`` the largest norm of the gradients."""

    steps: Count = 1000
    batch_size: Count = 1
    generator: Optimizer = Optimizer()
    discriminator: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    ema: Beta | None = None
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    accumulate: Count = 1
    clip: Annotated[float, Field(gt=0)] | None = None
    workers: Annotated[int, Field(ge=0)] = 0
    threads: Count | None = None


class Samples(_Section):
    """Grids of ``count`` pictures. ``dataset`` holds options laid over the data set's, to draw held-out pictures."""

    every: Count = 250
    count: Count = 4
    dataset: dict[str, Any] = {}


class Checkpoint(_Section):
    """A complete checkpoint ``every`` so many steps, of which the last ones are kept."""

    every: Count = 500
    keep_last: Count = 2


class Log(_Section):
    """Metrics ``every`` so many steps."""

    every: Count = 10


class Recipe(_Section):
    """Everything that a run is made of."""

    dataset: Component
    generator: Component
    discriminator: Component | None = None
    loss: Component
    train: Train = Train()
    samples: Samples = Samples()
    checkpoint: Checkpoint = Checkpoint()
    log: Log = Log()

    def to_yaml(self) -> str:
        """The recipe with every default spelled out; it loads again to an equal recipe."""
        return dump(self.model_dump(mode="json"))


def load_recipe(path: str | Path, overrides: Sequence[str] = (), registry: Registry | None = None) -> Recipe:
    """Read a recipe, lay ``key=value`` overrides over it, and check it, its components included.

    Raises:
        UserError: every problem that was found, one a line, each with its place and dotted path.
    """
    top = read(Path(path))
    for argument in overrides:
        override(top, argument)
    data = top.plain()
    shape = {key: _gathered(value) if key in COMPONENTS else value for key, value in data.items()}
    try:
        recipe = Recipe.model_validate_json(json.dumps(shape), strict=True)
    except ValidationError as error:
        raise _refusal(top, explain(error, Recipe)) from error
    return _resolved(recipe, top, registry or default_registry())


def _resolved(recipe: Recipe, top: Node, registry: Registry) -> Recipe:
    """The recipe with its components' options checked and complete."""
    problems: list[Problem] = []
    given = {kind: getattr(recipe, kind) for kind in COMPONENTS}
    update: dict[str, Any] = {}
    for kind, component in given.items():
        if component is not None:
            options, wrong = _checked(registry, kind, component)
            problems += [Problem((kind, *p.loc), p.at_key, p.text) for p in wrong]
            update[kind] = component.model_copy(update={"options": options})
    over = recipe.samples.dataset
    if over and not any(problem.loc[0] == "dataset" for problem in problems):
        merged = Component(name=recipe.dataset.name, options={**recipe.dataset.options, **over})
        options, wrong = _checked(registry, "dataset", merged)
        problems += [Problem(("samples", "dataset", *p.loc), p.at_key, p.text) for p in wrong]
        checked = {key: options.get(key) for key in over}
        update["samples"] = recipe.samples.model_copy(update={"dataset": checked})
    if problems:
        raise _refusal(top, problems)
    return recipe.model_copy(update=update)


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


def _is_gathered(data: Any) -> bool:
    """Whether a component's options already are a mapping of their own."""
    return isinstance(data, dict) and set(data) <= {"name", "options"} and isinstance(data.get("options"), dict)


def _gathered(data: Any) -> Any:
    """``{name, **options}`` as ``{name, options}``."""
    if not isinstance(data, dict):
        return data
    name = {"name": data["name"]} if "name" in data else {}
    return {**name, "options": {key: value for key, value in data.items() if key != "name"}}


def recipe_schema(registry: Registry | None = None) -> dict[str, Any]:
    """JSON schema of a recipe for editors: each component is one of those registered, told apart by its name."""
    registry = registry or default_registry()
    schema = Recipe.model_json_schema()
    definitions: dict[str, Any] = schema["$defs"]
    del definitions["Component"]
    for kind in COMPONENTS:
        choices = _choices(registry, kind, definitions)
        schema["properties"][kind] = {"oneOf": choices if kind != "discriminator" else [*choices, {"type": "null"}]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


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
        properties = {"name": {"const": name}, **options.get("properties", {})}
        required = ["name", *options.get("required", [])]
        choices.append({**options, "title": name, "properties": properties, "required": required})
    return choices
