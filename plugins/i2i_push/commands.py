"""``i2i push``: a model with its card to the hub."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from i2i.command_options import MaxParameters, ModelPath
from i2i.errors import UserError
from i2i.translation.limits import MAX_PARAMETERS


def push(
    model: ModelPath,
    name: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The name of the model on the hub.")],
    private: Annotated[bool, typer.Option("--private", help="Let only you, or your organisation, see the model.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Upload nothing; write what would be uploaded to --out.")] = False,
    out: Annotated[Path | None, typer.Option(help="With --dry-run: a new folder.")] = None,
    max_parameters: MaxParameters = MAX_PARAMETERS,
) -> None:
    """Publish a model on the hub, with a model card."""
    if dry_run != (out is not None):
        raise UserError("--dry-run and --out FOLDER go together: --out says where to write what would be uploaded.")
    from i2i.registry import default_registry
    from i2i_push.publishing import check_ready, prepare, publish

    if out is not None:
        for remark in prepare(model, name, out, default_registry(), max_parameters):
            typer.echo(remark)
        typer.echo(f"written to {out}; nothing was uploaded")
        return
    check_ready(name)
    with TemporaryDirectory() as place:
        folder = Path(place) / "model"
        for remark in prepare(model, name, folder, default_registry(), max_parameters):
            typer.echo(remark)
        typer.echo(f"published: {publish(folder, name, private)}")
