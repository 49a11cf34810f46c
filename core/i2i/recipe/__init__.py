"""Recipes: from YAML to checked models in which every default is spelled out.

Names are imported when they are first used: the loop needs the sections' models alone.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from i2i.recipe.components import Component
    from i2i.recipe.lengths import Steps
    from i2i.recipe.reading import COMPONENTS, KEYS, Recipe, load_recipe, recipe_of
    from i2i.recipe.sections import Check, Section

_HOMES = {
    **dict.fromkeys(("COMPONENTS", "KEYS", "Recipe", "load_recipe", "recipe_of"), "i2i.recipe.reading"),
    **dict.fromkeys(("Check", "Section"), "i2i.recipe.sections"),
    "Component": "i2i.recipe.components",
    "Steps": "i2i.recipe.lengths",
}

__all__ = ["COMPONENTS", "KEYS", "Check", "Component", "Recipe", "Section", "Steps", "load_recipe", "recipe_of"]


def __getattr__(name: str) -> "Any":
    if name not in _HOMES:
        raise AttributeError(f"module 'i2i.recipe' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
