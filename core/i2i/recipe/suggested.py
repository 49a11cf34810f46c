"""What a loss suggests for a recipe's ``train``: its factory's attribute ``train_defaults = {"generator": {"lr": 1e-4}}``."""

import json
from typing import Any

from pydantic import ValidationError

from i2i.errors import UserError
from i2i.recipe.options import in_words
from i2i.recipe.sections import Optimizer, Schedule, Train
from i2i.registry import Entry

_CHOICES = {"optimizer": Optimizer().optimizer, "name": Schedule().name}
"""Keys whose value decides which other keys are allowed, with their defaults."""


def suggestion(entry: Entry) -> dict[str, Any]:
    """What a loss suggests, in the form of a recipe; empty for most losses.

    Raises:
        UserError: it is not a section ``train``.
    """
    found: Any = getattr(entry.factory, "train_defaults", {})
    try:
        Train.model_validate_json(json.dumps(found), strict=True)
    except (ValidationError, TypeError, ValueError) as error:
        wrong = in_words(error, Train) if isinstance(error, ValidationError) else str(error)
        home = f" ({entry.distribution})" if entry.distribution else ""
        raise UserError(f"the loss '{entry.name}' of the plugin '{entry.plugin}'{home}: train_defaults: {wrong}") from error
    return dict(found)


def laid_over(said: Any, below: Any) -> Any:
    """The values *said*, and from *below* what they leave out. Another optimizer or schedule takes nothing from below."""
    if not (isinstance(said, dict) and isinstance(below, dict)):
        return said
    if any(said.get(key, below.get(key, plain)) != below.get(key, plain) for key, plain in _CHOICES.items()):
        return said
    return {**below, **{key: laid_over(value, below.get(key)) for key, value in said.items()}}
