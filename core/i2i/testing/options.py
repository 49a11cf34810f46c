"""Checks of a component's options: its signature is their schema."""

import json

from pydantic import BaseModel

from i2i.objectives import Chosen
from i2i.recipe.at_use import usable
from i2i.recipe.options import options_model
from i2i.registry import default_registry
from i2i.testing.described import describe
from i2i.testing.subject import Subject, ensure


def objective_option(model: type[BaseModel]) -> str:
    """The option that chooses an objective, in the model of a factory's options; empty if there is none."""
    return next((name for name, field in model.model_fields.items() if field.annotation is Chosen), "")


def paired_objective(subject: Subject) -> dict[str, str]:
    """An objective that compares the pictures of a sample, for a loss that takes one and has another: {option: name}."""
    option = objective_option(options_model(subject.kind, subject.factory))
    paired = [e.name for e in default_registry().entries("objective") if getattr(e.factory, "paired", False) is True]
    return {option: paired[0]} if option and paired and subject.complete()[option].name != paired[0] else {}


def typed(subject: Subject) -> None:
    """Options are typed and keyword-only, the given values fit, and editors get a JSON schema."""
    model = options_model(subject.kind, subject.factory)
    odd = sorted(usable(subject.factory) - set(model.model_fields))
    ensure(not odd, f"'at_use' names {odd and odd[0]!r}, which is not one of its options.")
    json.dumps(model.model_json_schema(), default=str)
    describe(subject.kind, subject.factory)
    subject.complete()
