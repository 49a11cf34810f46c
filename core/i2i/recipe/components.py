"""A component as a recipe writes it: one, a list of several (losses, judges), or one for each direction or domain."""

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_serializer, model_validator

from i2i.recipe.lengths import InEpochs


class Component(BaseModel):
    """A component by ``name`` (``plugin:name`` if two plugins have that name), with its ``options``."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")

    own: ClassVar[tuple[str, ...]] = ("name",)
    """The keys beside its options."""

    name: str
    options: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, data: Any) -> Any:
        """Take ``{name, **options}`` as well as ``{name, options: {…}}``."""
        return data if _is_gathered(data, cls.own) else _gathered(data, cls.own)

    @model_serializer
    def _spread(self) -> dict[str, Any]:
        return {"name": self.name, **self.options}


class Judge(Component):
    """A discriminator in a list of several. Its options cannot have the names of its own keys."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    own = ("name", "weight", "from")

    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """The weight of its adversarial terms in the sum over the list."""
    since: Annotated[int, Field(ge=0), InEpochs()] = Field(0, alias="from")
    """The number of steps after which it joins; before, it neither judges nor learns."""

    @model_validator(mode="before")
    @classmethod
    def _judge(cls, data: Any) -> Any:
        if form(data) == "each":
            raise ValueError(
                "every discriminator in a list judges all domains: give {name: …}, and no mapping of domains. With one for "
                "each domain there is no list"
            )
        return data

    @model_serializer
    def _spread(self) -> dict[str, Any]:
        since = self.since if isinstance(self.since, int) else str(self.since)
        return {"name": self.name, "weight": self.weight, "from": since, **self.options}


def form(slot: Any) -> str:
    """Which of its forms a component is written in: one, a list of several, or one for each direction or domain."""
    if isinstance(slot, list):
        return "many"
    if isinstance(slot, dict) and slot and not {"name", "options"} & set(slot):
        return "each" if all(isinstance(part, dict | Component) or _listed(part) for part in slot.values()) else "one"
    return "one"


def _listed(part: Any) -> bool:
    """Whether a part is a list of components, which is refused there; an option's list is not."""
    return isinstance(part, list) and bool(part) and all(isinstance(one, dict) and "name" in one for one in part)


# The tags have parentheses like pydantic's own, which messages leave out (``options.explain``).
_One = Annotated[Component, Tag("(one)")]
_Many = Annotated[list[Component], Tag("(many)"), Field(min_length=1)]
_Judges = Annotated[list[Judge], Tag("(many)"), Field(min_length=1)]
_Each = Annotated[dict[str, Component], Tag("(each)")]
OneOrMany = Annotated[_One | _Many, Discriminator(lambda slot: "(many)" if form(slot) == "many" else "(one)")]
OneOrEach = Annotated[_One | _Each, Discriminator(lambda slot: "(each)" if form(slot) == "each" else "(one)")]
OneOrEachOrJudges = Annotated[_One | _Each | _Judges, Discriminator(lambda slot: f"({form(slot)})")]


def all_gathered(kind: str, slot: Any) -> Any:
    """``_gathered`` for each component of a kind's slot."""
    match form(slot):
        case "many":
            own = Judge.own if kind == "discriminator" else Component.own
            return [part if form(part) == "each" else _gathered(part, own) for part in slot]
        case "each":
            return {key: _gathered(part, Component.own) for key, part in slot.items()}
    return _gathered(slot, Component.own)


def _is_gathered(data: Any, own: tuple[str, ...]) -> bool:
    """Whether a component's options already are a mapping of their own."""
    return isinstance(data, dict) and set(data) <= {*own, "options"} and isinstance(data.get("options"), dict)


def _gathered(data: Any, own: tuple[str, ...]) -> Any:
    """``{name, **options}`` as ``{name, options}``, with what else is a component's *own*."""
    if not isinstance(data, dict):
        return data
    kept = {key: data[key] for key in own if key in data}
    return {**kept, "options": {key: value for key, value in data.items() if key not in own}}
