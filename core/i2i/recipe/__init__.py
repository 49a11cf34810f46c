"""Recipes: from YAML to checked models in which every default is spelled out."""

from i2i.recipe.components import Component
from i2i.recipe.reading import COMPONENTS, KEYS, Recipe, load_recipe, recipe_of
from i2i.recipe.sections import Check, Section

__all__ = ["COMPONENTS", "KEYS", "Check", "Component", "Recipe", "Section", "load_recipe", "recipe_of"]
