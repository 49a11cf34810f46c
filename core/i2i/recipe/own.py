"""Which recipes this account has trained on this machine: what comes with a model of another is a stranger's."""

import json
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from platformdirs import user_state_path

from i2i.recipe.reading import COMPONENTS, Recipe


def remember(recipe: Recipe) -> None:
    """Note that this account trains this recipe; where its state folder cannot be written, nothing is noted."""
    with suppress(OSError):
        path = _note(recipe)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def is_own(recipe: Recipe) -> bool:
    """Whether this account has trained this recipe on this machine, with any training settings."""
    return _note(recipe).is_file()


def _note(recipe: Recipe) -> Path:
    told = recipe.model_dump(mode="json", include={**dict.fromkeys(COMPONENTS, True), "samples": {"dataset"}})
    digest = sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    return user_state_path("i2i") / "recipes" / digest
