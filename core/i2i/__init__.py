"""i2i: image-to-image translation, composed from plugins.

>>> import i2i
>>> i2i.run("recipe.yaml")                             # doctest: +SKIP
>>> i2i.load("runs/recipe").translate(image, to="night") # doctest: +SKIP

Names are imported on first use, so ``i2i --help`` need not import torch. ``python -m i2i`` imports this module before it can
remove the current folder from ``sys.path``, so this module imports only what Python has already imported.
"""

from i2i.telemetry import turn_off

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from i2i.adapters import per_direction, per_domain
    from i2i.errors import UserError
    from i2i.experiment import Experiment
    from i2i.recipe import Recipe, load_recipe
    from i2i.registry import hookimpl
    from i2i.training.running import run
    from i2i.translation.loading import load

_HOMES = {
    "Experiment": "i2i.experiment",
    "UserError": "i2i.errors",
    "Recipe": "i2i.recipe",
    "hookimpl": "i2i.registry",
    "load": "i2i.translation.loading",
    "load_recipe": "i2i.recipe",
    "per_direction": "i2i.adapters",
    "per_domain": "i2i.adapters",
    "run": "i2i.training.running",
}

__all__ = ["Experiment", "Recipe", "UserError", "hookimpl", "load", "load_recipe", "per_direction", "per_domain", "run"]

turn_off()


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> "Any":
    if name not in _HOMES:
        raise AttributeError(f"module 'i2i' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
