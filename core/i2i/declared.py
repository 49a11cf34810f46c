"""What plugins bring that is known before anything is imported: commands and recipe sections, as entry points, and recipes. ::

[project.entry-points."i2i.commands"]
serve = "my_package.commands:serve"          # a function with typer's annotations, or a typer.Typer
"data check" = "my_package.commands:check"   # a command of the group `i2i data`

[project.entry-points."i2i.sections"]
evaluate = "my_package.section:Evaluate"     # a Section of i2i.recipe: a top-level key of recipes

The files my_package/recipes/*.yaml of the plugin "mine" are recipes, called ``mine:NAME``.
"""

import ast
import os
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from i2i.errors import UserError

GROUP, COMMANDS, SECTIONS = "i2i", "i2i.commands", "i2i.sections"
"""The entry-point groups; the plugins' is the name of the pluggy project too."""

DISABLE = "I2I_DISABLE_PLUGINS"
"""Environment variable: names of plugins that are not loaded, separated by commas, or ``all``."""


@dataclass(frozen=True)
class Declared:
    """A command, a section or a plugin, as its distribution declares it.

    *plugin* is what ``I2I_DISABLE_PLUGINS`` calls its owner; *hooked* says whether the package that holds it
    is a plugin with hooks too.
    """

    name: str
    plugin: str
    hooked: bool
    point: EntryPoint

    @property
    def target(self) -> str:
        """``module:object``."""
        return str(self.point.value)

    @property
    def disabled(self) -> bool:
        return self.plugin != "i2i" and is_disabled(self.plugin)

    @property
    def owner(self) -> str:
        """For messages only, as it reads the distribution's metadata."""
        return f"the plugin '{self.plugin}' ({distribution_of(self.point)})"

    def load(self, what: str) -> Any:
        """The object itself, imported; *what* says "command" or "section".

        Raises:
            UserError: it cannot be imported.
        """
        label = f"the {what} '{self.name}' of {self.owner}"
        return imported(self.target, label, ". Install another release of it, or uninstall it.")

    def recipes(self) -> dict[str, Path]:
        """The recipes of a plugin by ``plugin:name``: the YAML files in its package's folder ``recipes``."""
        file = _source(self.target.partition(":")[0])
        folder = file.parent / "recipes" if file and (file.parent / "__init__.py").is_file() else None
        return {f"{self.name}:{path.stem}": path for path in sorted(folder.glob("*.yaml"))} if folder else {}


def imported(target: str, label: str, advice: str = "") -> Any:
    """The object that ``module:object`` names; *label* is what it is called in a message, *advice* how that ends.

    Raises:
        UserError: it cannot be imported.
    """
    try:
        return resolve_name(target)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{label} cannot be imported from '{target}': {reason}{advice}") from error


def distribution_of(point: EntryPoint) -> str:
    """The name of the distribution that declares an entry point; reading its metadata takes half a millisecond."""
    return point.dist.name if point.dist else "?"


def is_disabled(plugin: str) -> bool:
    """Whether the environment turns a plugin off."""
    return not {plugin, "all"}.isdisjoint(name.strip() for name in os.environ.get(DISABLE, "").split(","))


def declared(group: str) -> list[Declared]:
    """What the installed distributions declare in a group, sorted by name and plugin."""
    points = all_points()
    plugins = {_top(point): point.name for point in points.select(group=GROUP)}
    found = []
    for point in points.select(group=group):
        top = _top(point)
        plugin = point.name if group == GROUP else plugins.get(top, top.removeprefix("i2i_"))
        found.append(Declared(" ".join(point.name.split()), plugin, top in plugins, point))
    return sorted(found, key=lambda one: (one.name, one.plugin))


def declared_by_two(what: str, claims: list[Declared]) -> UserError:
    """The error for a name that two plugins declare."""
    owners = " and ".join(claim.owner for claim in claims)
    return UserError(
        f"the {what} '{claims[0].name}' is declared by {owners}. Uninstall one, or set {DISABLE}={claims[0].plugin} or "
        f"{DISABLE}={claims[-1].plugin}."
    )


def first_line(target: str) -> str:
    """The first line of the docstring of ``module:function``, or a typer.Typer's help, read as text: nothing is imported."""
    module, _, name = target.partition(":")
    path = _source(module)
    try:
        tree = ast.parse(path.read_bytes()) if path else ast.Module([], [])
    except (OSError, SyntaxError, ValueError):
        return ""
    found = next((text for text in (_told(node, name) for node in tree.body) if text), "")
    return found.strip().partition("\n")[0]


def _told(node: ast.stmt, name: str) -> str:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
        return ast.get_docstring(node) or ""
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and name in map(ast.unparse, node.targets):
        words = {word.arg: word.value for word in node.value.keywords}
        return str(words["help"].value) if isinstance(words.get("help"), ast.Constant) else ""  # type: ignore[attr-defined]
    return ""


def _source(module: str) -> Path | None:
    """The file of a module; its package is found, not imported."""
    top, *inner = module.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not inner:
        return Path(spec.origin) if spec.origin else None
    places = (Path(place, *inner) for place in spec.submodule_search_locations or ())
    files = (path for place in places for path in (place.with_suffix(".py"), place / "__init__.py"))
    return next(filter(Path.is_file, files), None)


@cache
def all_points() -> Any:
    """All entry points; reading them takes some 40 ms, so it is done once."""
    return entry_points()


def _top(point: EntryPoint) -> str:
    return point.value.partition(":")[0].partition(".")[0].strip()
