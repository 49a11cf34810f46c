"""``i2i plugins new``, ``test`` and ``matrix``: write a plugin, check one, see what can be combined; and ``i2i schema``."""

import json as json_module
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from i2i.command_options import Json
from i2i.errors import UserError

if TYPE_CHECKING:
    from i2i.testing.matrix import Cell

FAILED = 1
"""The exit code if a plugin fails a check, or a combination crashes."""

Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KIND.NAME.OPTION=VALUE", help="An option of a component: generator.unet.width=8."),
]


def new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The name of the plugin, and of its component in recipes.")],
    out: Annotated[Path | None, typer.Option(help="The folder for the package. Default: i2i-NAME.")] = None,
    kind: Annotated[
        Literal["generator", "discriminator", "loss", "objective", "dataset", "metric", "command"],
        typer.Option(help="The kind of component in the package."),
    ] = "generator",
    style: Annotated[bool, typer.Option("--style", help="The generator takes a style.")] = False,
    extras: Annotated[bool, typer.Option("--extras", help="The generator has an auxiliary output.")] = False,
) -> None:
    """Write a pip package with one component or command and a test: it installs and passes as it is."""
    from i2i.registry import default_registry
    from i2i.testing.template import new_plugin

    taken = context.find_root().command.list_commands(context)  # type: ignore[attr-defined]
    folder = new_plugin(name, out, default_registry(), kind, style=style, extras=extras, commands=taken)
    typer.echo(f"The package is in {folder}. Install and check it:")
    typer.echo(f"  pip install -e {folder}\n  {f'i2i {name} --help' if kind == 'command' else f'i2i plugins test {name}'}")


def check(
    name: Annotated[str, typer.Argument(help="An installed plugin.")],
    set_: Sets = None,
    slow: Annotated[bool, typer.Option("--slow", help="Try torch.compile and torch.export too.")] = False,
    only: Annotated[str | None, typer.Option(metavar="CHECK", help="Run only this check.")] = None,
    size: Annotated[int | None, typer.Option(min=1, help="The side of the pictures. Default: a small one that fits.")] = None,
    json: Json = False,
) -> None:
    """Run the conformance kit on a plugin's components. Exit code 1 if a check fails."""
    from dataclasses import replace

    from i2i.errors import one_of
    from i2i.registry import default_registry
    from i2i.testing import run_checks, subjects_of
    from i2i.testing.kit import checks_of

    subjects = [replace(subject, size=size) for subject in subjects_of(name, default_registry(), given_options(set_ or []))]
    for subject in subjects:
        if subject.options:
            subject.complete()
    if only is not None:
        one_of(only, tuple(dict.fromkeys(check for subject in subjects for check in checks_of(subject.kind, slow))), "--only")
    results = [result for subject in subjects for result in run_checks(subject, slow=slow, only=only)]
    for unfit in (r.error.__cause__ for r in results if r.error and size is not None and r.kind != "dataset"):
        if isinstance(unfit, UserError):  # a network's, on pictures of that size
            raise UserError(f"--size {size}: {unfit}")
    rows = [
        {
            "kind": r.kind,
            "name": r.name,
            "check": r.check,
            "result": "failed" if r.error else "skipped" if r.skipped else "passed",
            "reason": str(r.error).partition(": ")[2] if r.error else r.skipped,
        }
        for r in results
    ]
    _print(rows if json else _once(rows), json)
    if any(result.error for result in results):
        raise typer.Exit(FAILED)


def _once(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Show a reason that several checks of a component share only for the first of them."""
    first: dict[tuple[str, ...], str] = {}
    for row in rows:
        first.setdefault((row["kind"], row["name"], row["reason"]), row["check"])
    said = ((row, first[row["kind"], row["name"], row["reason"]]) for row in rows)
    return [row | {"reason": f"as for {check}"} if row["reason"] and check != row["check"] else row for row, check in said]


def matrix(
    set_: Sets = None,
    device: Annotated[str, typer.Option(help="'meta' computes only shapes; 'cpu' computes values, which is slow.")] = "meta",
    size: Annotated[int, typer.Option(min=8, help="The side of the pictures, rounded up to what a generator takes.")] = 256,
    plugin: Annotated[str | None, typer.Option(help="Only combinations with a component of this plugin.")] = None,
    judges: Annotated[list[str] | None, typer.Option(help="Discriminators to try as one list too: give it for each.")] = None,
    json: Json = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown tables, as in docs/matrix.md.")] = False,
) -> None:
    """Try every generator with every loss and discriminator: which combinations train, and why the others do not."""
    from i2i.errors import one_of
    from i2i.registry import default_registry
    from i2i.testing.kit import missing
    from i2i.testing.matrix import as_markdown, cells_of
    from i2i.testing.subject import Subject
    from i2i.testing.workshop import Choice

    if device not in ("meta", "cpu"):
        raise UserError(f"--device must be 'meta' or 'cpu', not '{device}'.")
    registry = default_registry()
    if plugin is not None and plugin not in {entry.plugin for entry in registry.entries()}:
        raise UserError(missing(plugin, registry))
    options = given_options(set_ or [])
    for given in options:
        kind, name = given.split(" ", 1)
        one_of(kind, ("generator", "discriminator", "loss"), "--set")
        Subject(kind, name, registry.get(kind, name).factory, options[given]).complete()
    made = cells_of(Choice(registry, options, device, size, plugin, tuple(judges or ())))
    cells = list(made) if json or markdown else _shown(made)
    if markdown:
        typer.echo(as_markdown(cells))
    elif json:
        _print([cell._asdict() for cell in cells], json)
    counts = {result: sum(cell.result == result for cell in cells) for result in ("trains", "refused", "crashed")}
    if not json:
        typer.echo("\n" + ", ".join(f"{count} {result}" for result, count in counts.items()))
    if counts["crashed"]:
        raise typer.Exit(FAILED)


def _shown(made: Iterable["Cell"]) -> list["Cell"]:
    """For each generator, loss and data, print one line for all discriminators with the same result, as it becomes known."""
    every: list[Cell] = []
    for (data, generator, loss), group in groupby(made, key=lambda cell: (cell.data, cell.generator, cell.loss)):
        fates: dict[tuple[str, str], list[str]] = {}
        for cell in group:
            every.append(cell)
            fates.setdefault((cell.result, cell.reason), []).append(cell.discriminator)
        for (result, reason), judges in fates.items():
            known = f"{data}: {generator} + {loss}" + (f" + {', '.join(filter(None, judges))}" if any(judges) else "")
            typer.echo(f"{result:<8} {known}" + (f": {reason}" if reason else ""))
    return every


def given_options(sets: list[str]) -> dict[str, dict[str, Any]]:
    """``generator.mine.width=4`` as ``{"generator mine": {"width": 4}}``, with values as in a recipe.

    Raises:
        UserError: a setting does not have that form.
    """
    from i2i.recipe.nodes import setting

    found: dict[str, dict[str, Any]] = {}
    for given in sets:
        (kind, name, option), value = setting(given, "KIND.NAME.OPTION=VALUE", "generator.unet.width=8", depth=3)
        found.setdefault(f"{kind} {name}", {})[option] = value.plain()
    return found


def schema() -> None:
    """Print the JSON schema of recipes. Editors complete and check by it."""
    from i2i.testing.schema import recipe_schema

    typer.echo(json_module.dumps(recipe_schema(), indent=2, ensure_ascii=False, default=str))


def _print(rows: list[dict[str, Any]], json: bool) -> None:
    """Print rows with the same keys, as JSON or as a table that never breaks a name."""
    if json:
        typer.echo(json_module.dumps(rows, indent=2, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*(rows[0] if rows else ("nothing",)), box=None, header_style="bold", padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*(Text(str(value)) for value in row.values()))
    Console(highlight=False).print(table)
