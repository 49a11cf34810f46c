"""The page of ``i2i serve`` and the server under it. Needs the extra ``serve``."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import fastapi
import gradio as gr
import uvicorn
from starlette.middleware.trustedhost import TrustedHostMiddleware

from i2i.errors import UserError
from i2i_serve.guard import Guard
from i2i_serve.service import LARGEST_SEED, Service

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_FONTS = ("system-ui", "sans-serif"), ("ui-monospace", "monospace")
_CSS = ".gradio-container {width: 100%; max-width: 1200px !important; margin: auto}"


def page(service: Service, samples: Sequence[tuple[Path, str]]) -> gr.Blocks:
    """The page; its one named endpoint is ``/translate``."""
    ways = list(service.ways)
    blocks: gr.Blocks = gr.Blocks(title=f"i2i: {service.name}", analytics_enabled=False)
    with blocks:
        gr.Markdown(f"## {service.name}\n{_sentence(service)}")
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                picture = _picture("Picture", height=300)
                direction = gr.Radio(ways, value=ways[0], label="Direction", visible=len(ways) > 1)
                seed = gr.Number(
                    0, label="Style seed", precision=0, minimum=0, maximum=LARGEST_SEED, visible=service.draws,
                    info="The seed of everything that the model draws at random.",
                )  # fmt: skip
                style = _picture("Style image (instead of a drawn style)", height=160, visible=service.takes_style)
                own_size = gr.Checkbox(False, label="Keep the picture's own size", visible=service.scales)
                second = _picture("Second style image, to mix with the first", height=160, visible=service.mixes)
                share = gr.Slider(0, 1, 0.5, label="Share of the second style", visible=service.mixes)
                more = [own_size, second, share] if service.mixes else [own_size] if service.scales else []
                button = gr.Button("Translate", variant="primary")
            with gr.Column(scale=3, min_width=360):
                slider = gr.ImageSlider(label="Before and after", max_height=460, buttons=["fullscreen"])
                download = gr.DownloadButton("Download the result", visible=False)
        _examples(samples, picture, direction)
        done = button.click(
            partial(_translate, service), [picture, direction, seed, style, *more], [slider, download],
            api_name="translate", api_description="Translates a picture: the pair before and after, and the result's file.",
            preprocess=False, concurrency_limit=1, scroll_to_output=True,
        )  # fmt: skip
        shown = partial(gr.update, visible=True)
        done.success(shown, None, download, queue=False, api_visibility="private", show_progress="hidden")
    blocks.queue(max_size=service.limits.waiting, api_open=False)
    return blocks


def _picture(label: str, height: int, visible: bool = True) -> gr.Image:
    return gr.Image(
        label=label, height=height, visible=visible, type="filepath", image_mode=None, sources=["upload", "clipboard"]
    )


def _examples(samples: Sequence[tuple[Path, str]], picture: gr.Image, direction: gr.Radio) -> None:
    if samples:
        rows = [[str(path), way] for path, way in samples]
        gr.Examples(rows, [picture, direction], label="Samples of the run", visible_columns=[0], cache_examples=False)


def _sentence(service: Service) -> str:
    limits = service.limits
    return f"{', '.join(service.ways)}. Pictures of at most {limits.megabytes} MB and {limits.pixels / 1e6:.3g} million pixels."


def _translate(
    service: Service,
    picture: Any,
    direction: Any = None,
    style_seed: Any = 0,
    style: Any = None,
    own_size: Any = False,
    second_style: Any = None,
    mix: Any = 0.5,
) -> tuple[tuple[str, str], str]:
    try:
        before, after = service.translate(picture, direction, style_seed, style, own_size, second_style, mix)
    except UserError as error:
        raise gr.Error(str(error), print_exception=False) from error
    return (str(before), str(after)), str(after)


def application(service: Service, samples: Sequence[tuple[Path, str]], host: str) -> fastapi.FastAPI:
    """The page, its API and what guards them, to be served on *host*."""
    app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, service=service)
    if host in LOOPBACK:  # a page elsewhere may give this address a name of its own
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, "[::1]"])
    theme = gr.themes.Default(font=_FONTS[0], font_mono=_FONTS[1])
    gr.mount_gradio_app(
        app, page(service, samples), "/", server_name=host, theme=theme, css=_CSS, footer_links=["api"], ssr_mode=False,
        max_file_size=service.limits.megabytes * 10**6, show_error=True, pwa=False, mcp_server=False, enable_monitoring=False,
    )  # fmt: skip
    return app


def listening(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 means any free port.

    Raises:
        UserError: the port is taken, or this machine does not have that address.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UserError(f"{host}: i2i cannot serve on this address ({error.strerror}). Use 127.0.0.1.") from error
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(128)
    except OSError as error:
        found.close()
        raise UserError(f"{host}:{port}: i2i cannot serve there ({error.strerror}). Choose another --port.") from error
    return found


@contextmanager
def server(service: Service, samples: Sequence[tuple[Path, str]], place: socket.socket) -> Iterator[uvicorn.Server]:
    """The server for a listening socket, ready to ``run(sockets=[place])``."""
    host, port = place.getsockname()[:2]
    app = application(service, samples, host)
    # Uvicorn's own setting of the logging would close what other libraries' handlers write to.
    config = uvicorn.Config(
        app, host=host, port=port, log_config=None, log_level="error", timeout_graceful_shutdown=1, ws="none"
    )
    with place:
        yield uvicorn.Server(config)
