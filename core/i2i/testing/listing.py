"""What ``i2i plugins`` lists: everything that is installed."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from i2i.declared import GROUP, Declared, declared, distribution_of
from i2i.errors import UserError
from i2i.registry import KINDS, Entry, Registry, default_registry

if TYPE_CHECKING:
    from rich.console import Console


def plugins(json: bool = False, registry: Registry | None = None) -> None:
    """Print every component with its options, plugin and version, then the plugins that failed to load and why."""
    registry = registry or default_registry()
    found = overview(registry)
    if json:
        print(json_module.dumps(found, indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    _print(Console(highlight=False, soft_wrap=True), found)


def overview(registry: Registry) -> dict[str, Any]:
    """Everything that ``plugins`` shows, as plain data."""
    return {
        "components": [_component(entry) for entry in registry.entries()],
        "recipes": [recipe for claim in declared(GROUP) if not claim.disabled for recipe in _recipes(claim)],
        "broken": [{"plugin": b.plugin, "version": b.version, "reason": b.reason} for b in registry.broken],
        "disabled": list(registry.disabled),
    }


def _recipes(claim: Declared) -> list[dict[str, str]]:
    """The recipes in a plugin's package, each with the first comment in its file."""
    home = distribution_of(claim.point)
    return [{"name": name, "distribution": home, "help": _comment(path)} for name, path in claim.recipes().items()]


def _comment(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):  # whoever runs it is told
        return ""
    told = (line.lstrip("# ") for line in lines if line.startswith("#") and "$schema=" not in line)
    return next(told, "")


def _component(entry: Entry) -> dict[str, Any]:
    """One component; a factory that cannot be imported or described is reported with the reason, not raised."""
    from i2i.recipe.suggested import suggestion
    from i2i.testing.described import describe

    found: dict[str, Any] = {
        "kind": entry.kind,
        "name": entry.name,
        "plugin": entry.plugin,
        "version": entry.version,
        "options": [],
    }
    try:
        found["options"] = [option._asdict() for option in describe(entry.kind, entry.factory)]
        if entry.kind == "loss" and (suggested := suggestion(entry)):
            found["train_defaults"] = suggested
    except UserError as error:
        found["error"] = str(error)
    return found


def _print(console: Console, found: dict[str, Any]) -> None:
    """The overview in colour, one block for each kind."""
    from rich.text import Text

    for kind, plural in KINDS.items():
        components = [component for component in found["components"] if component["kind"] == kind]
        if components:
            console.print(Text(plural, style="bold"))
        for component in components:
            version = f" {component['version']}" if component["version"] else ""
            console.print(Text.assemble("  ", (component["name"], "cyan"), (f"  {component['plugin']}{version}", "dim")))
            for line in _option_lines(component["options"]):
                console.print(Text(f"    {line}"))
            if "train_defaults" in component:
                suggested = json_module.dumps(component["train_defaults"], ensure_ascii=False)
                console.print(Text(f"    suggests for train: {suggested}"))
            if "error" in component:
                console.print(Text(f"    broken: {component['error']}", style="red"))
    if not found["components"]:
        console.print(Text("No plugin offers a component."))
    if found["recipes"]:
        console.print(Text("recipes", style="bold"))
    for recipe in found["recipes"]:
        told = Text.assemble("  ", (recipe["name"], "cyan"), (f"  {recipe['distribution']}", "dim"), f"  {recipe['help']}")
        told.rstrip()
        console.print(told)
    for plugin in found["broken"]:
        console.print(Text(f"broken: {plugin['plugin']} {plugin['version']}: {plugin['reason']}", style="red"))
    if found["disabled"]:
        console.print(Text(f"disabled by I2I_DISABLE_PLUGINS: {', '.join(found['disabled'])}", style="dim"))


def _option_lines(options: list[dict[str, str]]) -> list[str]:
    """Name, type, default and help in columns."""
    wide = [max((len(option[key]) for option in options), default=0) for key in ("name", "type", "default")]
    rows = [(option["name"], option["type"], option["default"], option["help"]) for option in options]
    return [f"{a:<{wide[0]}}  {b:<{wide[1]}}  {c:<{wide[2]}}  {d}".rstrip() for a, b, c, d in rows]
