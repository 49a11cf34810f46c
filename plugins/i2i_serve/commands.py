"""``i2i serve``: a page and an API on this machine for a trained model."""

import os
import signal
import sys
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from i2i.command_options import Changed, Device, Emulate, MaxParameters, ModelPath, Precision, Use
from i2i.errors import UserError
from i2i.translation.limits import MAX_PARAMETERS
from i2i_serve.limits import Limits


def serve(
    model: ModelPath,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes any free one.")] = 7860,
    host: Annotated[str, typer.Option(help="The address to serve on; 0.0.0.0 lets other machines connect.")] = "127.0.0.1",
    use: Use = None,
    device: Device = None,
    precision: Precision = "fp32",
    emulate: Emulate = False,
    max_megabytes: Annotated[int, typer.Option(min=1, help="The largest file to accept.")] = Limits.megabytes,
    max_pixels: Annotated[int, typer.Option(min=1, help="The largest picture to translate.")] = Limits.pixels,
    max_seconds: Annotated[float, typer.Option(min=0.001, help="Stop a translation that takes longer.")] = Limits.seconds,
    max_waiting: Annotated[
        int, typer.Option(min=1, help="The largest number of waiting requests; further ones are refused.")
    ] = Limits.waiting,
    changed: Changed = False,
    max_parameters: MaxParameters = MAX_PARAMETERS,
) -> None:
    """Serve a trained model as a page with an API. Nothing is sent to other machines."""
    if find_spec("gradio") is None:
        raise UserError("i2i serve needs Gradio: pip install 'i2i-framework[serve]'.")
    with tempfile.TemporaryDirectory(prefix="i2i-serve-") as folder:
        os.environ.update(settings(Path(folder).resolve()))
        from i2i.recipe.at_use import given_use
        from i2i.translation.loading import load
        from i2i_serve.page import listening, server
        from i2i_serve.service import Service, samples

        place = listening(host, port)
        loaded = load(
            model,
            device,
            precision=precision,
            emulate=emulate,
            changed=changed,
            max_parameters=max_parameters,
            use=given_use(use),
        )
        limits = Limits(max_megabytes, max_pixels, max_seconds, max_waiting)
        service = Service(loaded, Path(folder), limits, model.resolve().name)
        with server(service, samples(service, model), place) as ready:
            address, number = place.getsockname()[:2]
            typer.echo(f"serving {model} on http://{f'[{address}]' if ':' in address else address}:{number} (Ctrl-C ends it)")
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # the folder goes then too
            with suppress(KeyboardInterrupt):
                ready.run(sockets=[place])


def settings(folder: Path) -> dict[str, str]:
    """What the libraries read from the environment: files go into *folder*, and nothing is looked up elsewhere."""
    return {
        "GRADIO_TEMP_DIR": str(folder),
        "GRADIO_EXAMPLES_CACHE": str(folder / "examples"),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_OFFLINE": "1",
    }
