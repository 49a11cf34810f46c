"""A component as a recipe writes it: one, a list of several, or one for each direction or domain."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_serializer, model_validator


class Component(BaseModel):
    """A component by ``name`` (``plugin:name`` if two plugins have that name), with its ``options``."""

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


def form(slot: Any) -> str:
    """Which of its forms a component is written in: one, a list of several, or one for each direction or domain."""
    if isinstance(slot, list):
        return "many"
    if isinstance(slot, dict) and slot and not {"name", "options"} & set(slot):
        return "each" if all(isinstance(part, dict | Component) for part in slot.values()) else "one"
    return "one"


# The tags have parentheses like pydantic's own, which messages leave out (``options.explain``).
_One = Annotated[Component, Tag("(one)")]
_Many = Annotated[list[Component], Tag("(many)"), Field(min_length=1)]
_Each = Annotated[dict[str, Component], Tag("(each)")]
OneOrMany = Annotated[_One | _Many, Discriminator(lambda slot: "(many)" if form(slot) == "many" else "(one)")]
OneOrEach = Annotated[_One | _Each, Discriminator(lambda slot: "(each)" if form(slot) == "each" else "(one)")]


def all_gathered(slot: Any) -> Any:
    """``_gathered`` for each component of a slot."""
    match form(slot):
        case "many":
            return [_gathered(part) for part in slot]
        case "each":
            return {key: _gathered(part) for key, part in slot.items()}
    return _gathered(slot)


def _is_gathered(data: Any) -> bool:
    """Whether a component's options already are a mapping of their own."""
    return isinstance(data, dict) and set(data) <= {"name", "options"} and isinstance(data.get("options"), dict)


def _gathered(data: Any) -> Any:
    """``{name, **options}`` as ``{name, options}``."""
    if not isinstance(data, dict):
        return data
    name = {"name": data["name"]} if "name" in data else {}
    return {**name, "options": {key: value for key, value in data.items() if key != "name"}}
