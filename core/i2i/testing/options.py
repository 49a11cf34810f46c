"""Checks of a component's options: its signature is their schema."""

import json

from i2i.recipe.at_use import usable
from i2i.recipe.options import options_model
from i2i.testing.described import describe
from i2i.testing.subject import Subject, ensure


def typed(subject: Subject) -> None:
    """Options are typed and keyword-only, the given values fit, and editors get a JSON schema."""
    model = options_model(subject.kind, subject.factory)
    odd = sorted(usable(subject.factory) - set(model.model_fields))
    ensure(not odd, f"'at_use' names {odd and odd[0]!r}, which is not one of its options.")
    json.dumps(model.model_json_schema(), default=str)
    describe(subject.kind, subject.factory)
    subject.complete()
