"""``i2i data check`` and ``i2i data pack``: a look at a recipe's data before training, and shards for fast disks or the hub."""

from pathlib import Path
from typing import Annotated

import typer

UNFIT = 2
"""The exit code where the data have errors."""

RecipePath = Annotated[Path, typer.Argument(help="A recipe: a YAML file, or PLUGIN:NAME for the recipe of a plugin.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace a value of the recipe.")]


def check(
    recipe: RecipePath,
    set_: Overrides = None,
    sheet: Annotated[Path | None, typer.Option(help="The contact sheet. Default: NAME-OF-THE-RECIPE-data.png.")] = None,
) -> None:
    """Check a recipe's data: read every picture once. Exit code 2 if training would fail or go wrong."""
    from rich.console import Console

    from i2i.recipe import load_recipe
    from i2i.registry import default_registry
    from i2i_data import check

    path = sheet if sheet is not None else Path(f"{recipe.stem.rpartition(':')[2]}-data.png")
    findings = check.check(load_recipe(recipe, set_ or []), default_registry(), path, Console(stderr=True))
    for fact in findings.facts:
        typer.echo(fact)
    for warning in findings.warnings:
        typer.echo(f"warning: {warning}")
    for error in findings.errors:
        typer.echo(f"error: {error}")
    if findings.errors:
        typer.echo(f"errors: {len(findings.errors)}. Fix the data before training.")
        raise typer.Exit(UNFIT)
    typer.echo("The data can be trained on.")


def pack(
    recipe: RecipePath,
    out: Annotated[Path, typer.Option(help="The folder for the shards.")],
    set_: Overrides = None,
    rows: Annotated[int, typer.Option(min=1, help="Rows in a shard.")] = 1000,
) -> None:
    """Pack a recipe's data set into parquet shards, with the picture files embedded."""
    from rich.console import Console

    from i2i.recipe import load_recipe
    from i2i.registry import default_registry
    from i2i_data import pack

    line = pack.pack(load_recipe(recipe, set_ or []), default_registry(), out, rows, Console(stderr=True))
    typer.echo(f"written to {out}. In a recipe:\n{line}")
