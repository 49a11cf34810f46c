"""``i2i inspect``: what pictures say about how they were made."""

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from i2i.command_options import Json
from i2i.errors import UserError


def inspect(
    images: Annotated[list[Path], typer.Argument(help="Pictures (PNG, JPEG, WebP, TIFF) or videos (MP4).")],
    json: Json = False,
) -> None:
    """Show the provenance of pictures. Metadata and watermark say whether a model made them, and which model and recipe."""
    from i2i_provenance.inspection import inspect as look
    from i2i_provenance.inspection import lines, to_json

    found, bad = [], []
    for image in images:
        try:
            found.append((image, look(image)))
        except UserError as error:
            bad.append(str(error))
    if json:
        typer.echo(json_module.dumps([to_json(*each) for each in found], indent=2, ensure_ascii=False))
    else:
        for each in found:
            typer.echo("\n".join(lines(*each)))
    if bad:
        raise UserError("\n".join(bad))
