"""``i2i translate``: translate pictures with a trained model."""

from pathlib import Path
from typing import Annotated

import typer

from i2i.command_options import Backend, Changed, Device, Emulate, MaxParameters, ModelPath, Precision, Use
from i2i.errors import printable
from i2i.translation.limits import MAX_PARAMETERS


def translate(
    model: ModelPath,
    images: Annotated[
        list[str], typer.Argument(help="Pictures, videos, folders, patterns ('*.jpg'), or - for stdin; ./- is a file.")
    ],
    out: Annotated[Path, typer.Option(help="The folder for the results.")],
    to: Annotated[str | None, typer.Option(help="The domain to translate to; not needed if there is only one.")] = None,
    source: Annotated[str | None, typer.Option(help="The domain of the inputs, if there are several.")] = None,
    style: Annotated[
        list[Path] | None,
        typer.Option(help="A picture whose style to use, for models that take one. Several give a result for each style."),
    ] = None,
    mix: Annotated[
        float | None, typer.Option(min=0, max=1, help="Mix two styles: the share of the second, for models that can mix.")
    ] = None,
    style_seed: Annotated[int, typer.Option(min=0, help="The seed from which a style is drawn if none is given.")] = 0,
    samples: Annotated[
        int, typer.Option(min=1, max=100, help="The number of results for each input, from different seeds.")
    ] = 1,
    strength: Annotated[float, typer.Option(min=0, max=1, help="Blend with the input: 0 is the input, 1 the result.")] = 1.0,
    mask: Annotated[Path | None, typer.Option(help="A mask picture: translate only where it is white.")] = None,
    grid: Annotated[bool, typer.Option("--grid", help="Write a contact sheet too, grid.png.")] = False,
    tile: Annotated[int | None, typer.Option(min=0, help="The side of tiles for large images; 0 never cuts.")] = None,
    resize: Annotated[
        str, typer.Option(metavar="SIZE", help="Scale inputs: the shorter side (512), WIDTHxHEIGHT, none, or as-trained.")
    ] = "as-trained",
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out inputs that cannot be read; name them, and end with exit code 1.")
    ] = False,
    steady: Annotated[bool, typer.Option("--steady", help="Damp the flicker of videos and animated pictures.")] = False,
    use: Use = None,
    device: Device = None,
    precision: Precision = "fp32",
    emulate: Emulate = False,
    backend: Backend = "torch",
    metadata: Annotated[bool, typer.Option(help="Write into the results' XMP metadata that this model made them.")] = True,
    c2pa: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="CERT KEY", help="Sign the results with Content Credentials (PEM files)."),
    ] = None,
    watermark: Annotated[
        bool, typer.Option("--watermark", help="Add an invisible watermark that survives JPEG and resizing.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing results.")] = False,
    changed: Changed = False,
    max_parameters: MaxParameters = MAX_PARAMETERS,
) -> None:
    """Translate pictures with a trained model."""
    from rich.console import Console
    from rich.progress import Progress

    from i2i.allocator import keep_freed_memory
    from i2i.recipe.at_use import given_use
    from i2i.translation.loading import load
    from i2i_provenance.content_credentials import Signing
    from i2i_translate.file_translation import translate_files
    from i2i_translate.requests import Finish, Request

    keep_freed_memory()
    signing = Signing.of(*c2pa) if c2pa else None
    loaded = load(
        model,
        device,
        precision=precision,
        emulate=emulate,
        backend=backend,
        changed=changed,
        max_parameters=max_parameters,
        use=given_use(use),
    )
    console = Console(stderr=True)
    if taken := weights_taken(model, loaded.recorded.get("step")):
        console.print(f"weights: {taken}", highlight=False, markup=False)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("translating", total=None)
        how = (style or (), mix, style_seed, samples, strength, mask, tile, resize, skip_bad, steady)
        request = Request(images, to, source, *how)
        finish = Finish(out, overwrite, grid=grid, metadata=metadata, signing=signing, watermark=watermark)
        bad, remarks = list[str](), list[str]()
        results = translate_files(
            loaded,
            request,
            finish,
            lambda done, total: bar.update(task, completed=done, total=total),
            skipped=bad.append,
            remark=remarks.append,
        )
    for path in results:
        typer.echo(path)
    for remark in remarks:
        typer.echo(printable(remark), err=True)
    for message in bad:
        typer.echo(f"i2i: skipped {printable(message)}", err=True)
    if bad:
        typer.echo(f"i2i: inputs that could not be read and were skipped: {len(bad)}", err=True)
        raise typer.Exit(1)


def weights_taken(path: Path, step: object) -> str:
    """What was taken of a run, ``best (step 600)``; empty for what is not a run."""
    from i2i.translation.finding import has_best, split_run
    from i2i.translation.model_folder import has_model

    run, word = split_run(path) or (path, "")
    word = word or ("best" if has_best(run) else "last" if has_model(run / "model") else "")
    return f"{word} (step {step})" if word in ("best", "last") else word and f"step {step}"
