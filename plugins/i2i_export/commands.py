"""``i2i export``: a trained model as one file that runs without i2i, or as a page that computes in the browser."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from i2i.command_options import Changed, MaxParameters, ModelPath, Use
from i2i.errors import UserError
from i2i.translation.limits import MAX_PARAMETERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from i2i.protocols import Direction
    from i2i.translation.translator import Translator
    from i2i_export.export import Exported

WORDS = {"like_pictures": "random inputs that resemble pictures", "held_out": "held-out pictures"}


def export(
    model: ModelPath,
    format: Annotated[
        Literal["onnx", "torch-export", "web"] | None,
        typer.Option(help="A file of one direction, or a page that computes in the browser. Default: say what can be."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The file: NAME.onnx or NAME.pt2; for web a folder.")] = None,
    to: Annotated[str | None, typer.Option(help="The domain to translate to, if there are several.")] = None,
    source: Annotated[str | None, typer.Option(help="The domain to translate from, if there are several.")] = None,
    style: Annotated[
        Path | None, typer.Option(help="A picture whose style to fix in the file, if the model takes one.")
    ] = None,
    style_seed: Annotated[int | None, typer.Option(min=0, help="Fix the style that the model draws from this seed.")] = None,
    runtime: Annotated[
        str | None,
        typer.Option(help="For web, where onnxruntime-web comes from: its folder, npm (fetched now) or cdn (by visitors)."),
    ] = None,
    style_input: Annotated[
        bool, typer.Option("--style-input", help="Make the style picture a second input; for web, let visitors choose one.")
    ] = False,
    weights: Annotated[
        Literal["fp32", "fp16", "int8"] | None,
        typer.Option(help="How an ONNX file stores weights; it computes in fp32. Default: fp32, for web fp16."),
    ] = None,
    use: Use = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file or page.")] = False,
    changed: Changed = False,
    max_parameters: MaxParameters = MAX_PARAMETERS,
) -> None:
    """Export a trained model to ONNX, PyTorch's own format, or a web page. It is checked against the model first."""
    from i2i.recipe.at_use import given_use
    from i2i.translation.loading import load
    from i2i_export.export import export as make

    if format is None or out is None:
        if format is not None or out is not None:
            raise UserError(
                f"export: give --format and --out, or neither. Missing: {'--format' if format is None else '--out'}."
            )
        _say(load(model, "cpu", changed=changed, max_parameters=max_parameters, use=given_use(use)))
        return
    if (format == "web") != (runtime is not None):
        told = "give --runtime: the folder of the npm package onnxruntime-web, npm or cdn." if format == "web" else _ONLY_WEB
        raise UserError(f"--format {format}: {told}")
    loaded = load(model, "cpu", changed=changed, max_parameters=max_parameters, use=given_use(use))
    held_out = _held_out(loaded, model)
    how: dict[str, Any] = {
        "style": style,
        "style_seed": style_seed,
        "style_input": style_input,
        "weights": weights or ("fp16" if format == "web" else "fp32"),
        "pictures": held_out,
        "overwrite": overwrite,
    }
    if format == "web":
        _web(loaded, model, out, str(runtime), to, source, how)
        return
    made = make(loaded, format, out, to, source, **how)
    _told(made)
    typer.echo(f"report: {made.report}")
    typer.echo(f"written to {made.path} ({made.path.stat().st_size / 1e6:.1f} MB)")


_ONLY_WEB = "--runtime is for --format web. Leave it out."


def _say(loaded: "Translator") -> None:
    from i2i_export.survey import survey

    for line in survey(loaded):
        typer.echo(line)


def _told(made: "Exported", label: str = "") -> None:
    sizes = ", ".join(f"{b} x {h} x {w}" for b, h, w in made.sizes)
    typer.echo(f"{label}checked at {sizes}: the largest difference from the model is {made.difference:.1e}")
    for what, loss in made.loss.items():
        typer.echo(f"{label}lost by {made.weights}, on {loss.pictures} {WORDS[what]}: {loss}")


def _held_out(loaded: "Translator", model: Path) -> "Callable[[Direction], list[Tensor]]":
    def samples(way: "Direction") -> "list[Tensor]":
        from i2i_export.held_out import held_out_samples

        found, why = held_out_samples(loaded, model, way)
        if why:
            typer.echo(f"held-out pictures are not compared: {why}", err=True)
        return found

    return samples


def _web(
    loaded: "Translator", model: Path, out: Path, runtime: str, to: str | None, source: str | None, how: dict[str, Any]
) -> None:
    from i2i_export.runtime import runtime as found
    from i2i_export.web import export_web

    files = found(runtime)
    made = export_web(loaded, model, out, files, to, source, **how)
    for label, exported in made.exported.items():
        _told(exported, f"{label}: ")
    for label, reason in made.left_out.items():
        typer.echo(f"{label}: left out: {reason}")
    if runtime == "cdn":
        typer.echo(
            f"visitors' browsers load the runtime from {files.base}, which was never tested with a network; try it once before "
            "you publish the page"
        )
    typer.echo(
        f"written to {made.folder} ({made.size / 1e6:.1f} MB). Any host of static files can serve it; to look at it here:"
    )
    typer.echo(f"  python -m http.server --bind 127.0.0.1 --directory {made.folder}")
