"""``i2i export``: a trained model as one file that runs without i2i."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from i2i.command_options import Changed, MaxParameters, ModelPath, Use
from i2i.translation.limits import MAX_PARAMETERS


def export(
    model: ModelPath,
    format: Annotated[Literal["onnx", "torch-export"], typer.Option(help="The format of the file.")],
    out: Annotated[Path, typer.Option(help="The file: NAME.onnx or NAME.pt2.")],
    to: Annotated[str | None, typer.Option(help="The domain to translate to, if there are several.")] = None,
    source: Annotated[str | None, typer.Option(help="The domain to translate from, if there are several.")] = None,
    style: Annotated[
        Path | None, typer.Option(help="A picture whose style to fix in the file, if the model takes one.")
    ] = None,
    style_seed: Annotated[int | None, typer.Option(min=0, help="Fix the style that the model draws from this seed.")] = None,
    use: Use = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    changed: Changed = False,
    max_parameters: MaxParameters = MAX_PARAMETERS,
) -> None:
    """Export a trained model to ONNX or PyTorch's own format. The file is checked against the model first."""
    from i2i.recipe.at_use import given_use
    from i2i.translation.loading import load
    from i2i_export.export import export as make

    loaded = load(model, "cpu", changed=changed, max_parameters=max_parameters, use=given_use(use))
    made = make(loaded, format, out, to, source, style=style, style_seed=style_seed, overwrite=overwrite)
    sizes = ", ".join(f"{b} x {h} x {w}" for b, h, w in made.sizes)
    typer.echo(f"checked at {sizes}: the largest difference from the model is {made.difference:.1e}")
    typer.echo(f"written to {made.path} ({made.path.stat().st_size / 1e6:.1f} MB)")
