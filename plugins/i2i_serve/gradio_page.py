"""``i2i serve --gradio``: a page of Gradio's, for its clients. Needs the extra ``gradio``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fastapi
import gradio as gr
from starlette.types import ASGIApp

from i2i.errors import UserError
from i2i.pictures.pixels import save_picture
from i2i.pictures.sources import Blob
from i2i_provenance.metadata import png_options
from i2i_serve.door import GRADIO
from i2i_serve.gradio_files import Files
from i2i_serve.gradio_guard import Guard
from i2i_serve.refusals import RefusalError
from i2i_serve.service import LARGEST_SEED, Asked, Made, Service, plain_name
from i2i_serve.transfers import Transfers
from i2i_serve.worker import Worker

_FONTS = ("system-ui", "sans-serif"), ("ui-monospace", "monospace")
_CSS = ".gradio-container {width: 100%; max-width: 1200px !important; margin: auto}"


class Page:
    """A model on Gradio's page: files of a folder through the server's worker."""

    def __init__(self, service: Service, worker: Worker, files: Files) -> None:
        self.service, self.worker, self.files = service, worker, files
        told = service.described()
        self.draws, self.styles, self.mixes, self.scales = (bool(told[name]) for name in ("draws", "style", "mix", "scales"))
        self.inputs = 7 if self.mixes else 5 if self.scales else 4

    def translate(
        self,
        picture: Any,
        direction: Any = None,
        style_seed: Any = 0,
        style: Any = None,
        own_size: Any = False,
        second_style: Any = None,
        mix: Any = 0.5,
    ) -> tuple[tuple[str, str], str]:
        """The pair of pictures before and after, and the result's file."""
        try:
            if not picture:
                raise UserError("no picture was given. Upload one first.")
            image, *styles = (self._read(one) for one in (picture, style, second_style) if one)
            asked = Asked(
                image, direction, seed=style_seed, styles=styles, mix=mix if second_style else None, own_size=bool(own_size)
            )
            made: Made = self.worker.submit("gradio", lambda: self.service.translate(asked)).future.result()
            before, after = self._save(made, f"{Path(image.name).stem}-{made.target}")
        except (UserError, RefusalError) as error:
            raise gr.Error(str(error), print_exception=False) from error
        return (str(before), str(after)), str(after)

    def _read(self, payload: Any) -> Blob:
        file, limits = self.files.own(payload.get("path") if isinstance(payload, Mapping) else None), self.service.limits
        try:
            if file.stat().st_size > limits.body:
                raise UserError(f"{file.name}: the file is larger than {limits.megabytes} MB. Give a smaller one.")
            return Blob(file.read_bytes(), file.name)
        except OSError as error:
            raise UserError(f"{file.name}: the file does not exist, or not any more. Upload it again.") from error

    def _save(self, made: Made, name: str) -> tuple[Path, Path]:
        folder, model = self.files.place(), self.service.translator
        before, after = folder / "before.png", folder / f"{plain_name(name)}.png"
        save_picture(made.before, before)
        save_picture(made.after, after, **png_options(model.config, model.use))
        return before, after


def blocks(page: Page) -> gr.Blocks:
    """Gradio's page; its one named endpoint is ``/translate``."""
    ways, title = list(page.service.ways), page.service.title or page.service.id
    made: gr.Blocks = gr.Blocks(title=f"i2i: {title}", analytics_enabled=False)
    with made:
        gr.Markdown(f"## {title}\n{_sentence(page.service)}")
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                picture = _picture("Picture", height=300)
                direction = gr.Radio(ways, value=ways[0], label="Direction", visible=len(ways) > 1)
                seed = gr.Number(
                    0, label="Style seed", precision=0, minimum=0, maximum=LARGEST_SEED, visible=page.draws,
                    info="The seed of everything that the model draws at random.",
                )  # fmt: skip
                style = _picture("Style image (instead of a drawn style)", height=160, visible=page.styles)
                own_size = gr.Checkbox(False, label="Keep the picture's own size", visible=page.scales)
                second = _picture("Second style image, to mix with the first", height=160, visible=page.mixes)
                share = gr.Slider(0, 1, 0.5, label="Share of the second style", visible=page.mixes)
                more = [own_size, second, share] if page.mixes else [own_size] if page.scales else []
                button = gr.Button("Translate", variant="primary")
            with gr.Column(scale=3, min_width=360):
                slider = gr.ImageSlider(label="Before and after", max_height=460, buttons=["fullscreen"])
                download = gr.DownloadButton("Download the result")
        button.click(
            page.translate, [picture, direction, seed, style, *more], [slider, download],
            api_name="translate", api_description="Translates a picture: the pair before and after, and the result's file.",
            preprocess=False, concurrency_limit=1, scroll_to_output=True,
        )  # fmt: skip
    made.queue(max_size=page.service.limits.waiting, api_open=False)
    return made


def _picture(label: str, height: int, visible: bool = True) -> gr.Image:
    return gr.Image(
        label=label, height=height, visible=visible, type="filepath", image_mode=None, sources=["upload", "clipboard"]
    )


def _sentence(service: Service) -> str:
    limits = service.limits
    return f"{', '.join(service.ways)}. Pictures of at most {limits.megabytes} MB and {limits.pixels / 1e6:.3g} million pixels."


def application(service: Service, folder: Path, worker: Worker, transfers: Transfers) -> ASGIApp:
    """Gradio's page of a model at /gradio, with what guards it; files are kept in *folder*."""
    files = Files(folder)
    app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    page = Page(service, worker, files)
    made = blocks(page)
    theme = gr.themes.Default(font=_FONTS[0], font_mono=_FONTS[1])
    gr.mount_gradio_app(
        app, made, GRADIO, theme=theme, css=_CSS, footer_links=["api"], ssr_mode=False,
        max_file_size=service.limits.megabytes * 10**6, show_error=True, pwa=False, mcp_server=False, enable_monitoring=False,
    )  # fmt: skip
    return Guard(app, page.inputs, files, transfers)
