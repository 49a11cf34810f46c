"""``i2i serve``: a page and an API on this machine for trained models."""

import os
import signal
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import partial
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any

import typer

from i2i.command_options import Changed, Device, Emulate, MaxParameters, Precision, Use
from i2i.errors import UserError
from i2i.translation.limits import MAX_PARAMETERS
from i2i_serve.limits import Limits

NEEDED = ("starlette", "uvicorn", "python_multipart", "prometheus_client")
SHORTEST = 8
"""Letters of a token."""


def serve(
    models: Annotated[
        list[Path], typer.Argument(help="Runs, RUN@STEP, model folders, OWNER/NAME on the hub, or a folder of runs.")
    ],
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes any free one.")] = 7860,
    host: Annotated[str, typer.Option(help="The address to serve on; 0.0.0.0 lets other machines connect.")] = "127.0.0.1",
    token: Annotated[
        str | None,
        typer.Option(envvar="I2I_TOKEN", show_envvar=False, help="Answer only who sends it. Default: $I2I_TOKEN, if set."),
    ] = None,
    gradio: Annotated[bool, typer.Option("--gradio", help="Also serve a Gradio page and its API at /gradio.")] = False,
    use: Use = None,
    device: Device = None,
    precision: Precision = "fp32",
    emulate: Emulate = False,
    max_megabytes: Annotated[int, typer.Option(min=1, help="The largest request to accept.")] = Limits.megabytes,
    max_pixels: Annotated[int, typer.Option(min=1, help="The largest picture to translate.")] = Limits.pixels,
    max_seconds: Annotated[float, typer.Option(min=0.001, help="Stop a translation that takes longer.")] = Limits.seconds,
    max_waiting: Annotated[
        int, typer.Option(min=1, help="The largest number of waiting requests; further ones are refused.")
    ] = Limits.waiting,
    changed: Changed = False,
    max_parameters: MaxParameters = MAX_PARAMETERS,
) -> None:
    """Serve trained models as a page with an API. Nothing is sent to other machines."""
    _check(token, gradio)
    with ExitStack() as stack:
        from i2i.recipe.at_use import given_use
        from i2i.translation.loading import load
        from i2i_serve.models import listed, title
        from i2i_serve.server import listening, server
        from i2i_serve.service import Service, samples
        from i2i_serve.stopping import Deadline

        place = stack.enter_context(listening(host, port))
        limits, deadline = Limits(max_megabytes, max_pixels, max_seconds, max_waiting), Deadline()
        services, paths = [], listed(models)
        if gradio and len(paths) > 1:
            raise UserError(
                f"--gradio serves one model, and these are {len(paths)}: {', '.join(paths)}. Name one, or leave it out."
            )
        for name, path in paths.items():
            loaded = load(
                path, device, precision=precision, emulate=emulate, changed=changed, max_parameters=max_parameters,
                use=given_use(use),
            )  # fmt: skip
            services.append(Service(loaded, limits, name, title(path), deadline, samples(loaded, path)))
            millions = sum(parameter.numel() for parameter in loaded.module.parameters()) / 1e6
            typer.echo(f"loaded {path} ({millions:.3g} million parameters) as {name}")
        more = _gradio(stack, services) if gradio else None
        ready = stack.enter_context(server(services, place, limits, paths=paths, token=token or "", more=more))
        address, own_port = place.getsockname()[:2]
        where = f"http://{f'[{address}]' if ':' in address else address}:{own_port}"
        typer.echo(f"serving on {where}{'/#token=TOKEN' if token else ''} (Ctrl-C ends it)")
        if not token and not ip_address(address).is_loopback:
            typer.echo("There is no token: everybody who can reach this address may use the models. --token asks for one.")
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: setattr(ready, "should_exit", True))
        with suppress(KeyboardInterrupt):
            ready.run(sockets=[place])


def _check(token: str | None, gradio: bool) -> None:
    if any(find_spec(name) is None for name in NEEDED):
        raise UserError("i2i serve needs more packages: pip install 'i2i-framework[serve]'.")
    if gradio and find_spec("gradio") is None:
        raise UserError("--gradio needs Gradio: pip install 'i2i-framework[gradio]', or leave it out.")
    if token is not None and (len(token) < SHORTEST or not token.isascii() or not token.isprintable() or " " in token):
        raise UserError(f"--token: give at least {SHORTEST} letters and digits, for instance of `openssl rand -hex 16`.")


def _gradio(stack: ExitStack, services: Sequence[Any]) -> Any:
    """What makes Gradio's page, whose files lie in a folder for as long as the server runs."""
    from i2i_serve.gradio_files import served_folder, settings

    folder = stack.enter_context(served_folder())
    os.environ.update(settings(folder))
    from i2i_serve.gradio_page import application

    return partial(application, services[0], folder)
