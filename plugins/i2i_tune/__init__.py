"""Settings that a recipe leaves to ``auto`` are measured on this machine before the first step."""

from typing import TYPE_CHECKING

from i2i.hooks import hookimpl

if TYPE_CHECKING:
    from rich.console import Console

    from i2i.recipe import Recipe
    from i2i.registry import Registry


@hookimpl(trylast=True)  # who chooses something else comes first
def choose_settings(recipe: "Recipe", registry: "Registry", before: "Recipe | None", console: "Console") -> "Recipe":
    from i2i_tune.probing import probed

    return probed(recipe, registry, before, console)
