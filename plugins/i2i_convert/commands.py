"""``i2i convert``: convert published checkpoints to a model folder."""

from pathlib import Path
from typing import Annotated

import typer

from i2i.errors import UserError


def convert(
    files: Annotated[list[Path], typer.Argument(help="Published checkpoints: one file, or one for each direction.")],
    form: Annotated[str, typer.Option("--from", metavar="FORM", help="The published format; a wrong name lists all of them.")],
    out: Annotated[Path, typer.Option(help="The model folder to create.")],
    domains: Annotated[str, typer.Option(metavar="A,B", help="The names of the two domains.")] = "a,b",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="OPTION=VALUE", help="An option that the file lacks: dropout=false."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing model folder.")] = False,
) -> None:
    """Convert published checkpoints to a model folder, with the discriminators that lie beside them."""
    names = tuple(name.strip() for name in domains.split(","))
    if len(names) != 2 or not all(names) or names[0] == names[1]:
        raise UserError(f"--domains {domains}: give two different names with a comma between, for instance day,night.")
    from i2i.recipe.nodes import setting

    given = [setting(item, "OPTION=VALUE", "dropout=false", depth=1) for item in set_ or []]
    from i2i.registry import default_registry
    from i2i_convert.convert import convert as make

    settings = {option: value.plain() for (option,), value in given}
    report = make(files, form, out, default_registry(), names=names, settings=settings, overwrite=overwrite)
    for line in report.lines:
        typer.echo(line)
    typer.echo(f"written to {report.folder}")
