"""A server of tiny models, for the tests of ``i2i serve``. Needs the extra ``serve``."""

import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import torch
from gradio_client import Client
from PIL import Image
from torch import Tensor, nn

from i2i.protocols import Domain, Translation
from i2i.registry import Registry, hookimpl
from i2i.translation.loading import load
from i2i.translation.model_folder import Origin, save_model
from i2i_serve.page import listening, server
from i2i_serve.service import Service

DOMAINS = {"a": Domain("day", "image", 3), "b": Domain("night", "image", 3)}
BOTH = (("a", "a"), ("a", "b"), ("b", "a"))


class Negative(nn.Module):
    """The negative, darker by the style, or by the mean of two; ``layers`` that each take a twentieth of a second."""

    exposes = frozenset[str]()
    divisor = 4

    def __init__(
        self,
        *,
        domains: Any,
        directions: Any,
        styled: bool = False,
        mixes: bool = False,
        any_source: bool = False,
        layers: int = 0,
    ) -> None:
        super().__init__()
        self.accepts = frozenset({"style"} if styled else ()) | frozenset({"mix"} if mixes else ())
        self.any_source = any_source
        self.layers = nn.Sequential(*[Sleep() for _ in range(layers)])
        self.register_buffer("zero", torch.zeros(()))

    def forward(
        self, x: Tensor, source: str, *targets: str, style: Tensor | None = None, mix: Tensor | None = None
    ) -> Translation:
        x = self.layers(x) if x.shape[0] == 1 else x  # not in the probe for drawn numbers, which has two pictures
        dark = (torch.rand(()) if style is None else style.mean((1, 2, 3)) + 1) if self.accepts else torch.zeros(())
        dark = dark.mean() if mix is None else (mix * dark).sum()
        return Translation({t: (-x - dark).clamp(-1, 1) for t in targets})


class Sleep(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        time.sleep(0.05)
        return x


class Plugin:
    @hookimpl
    def register_generators(self) -> dict[str, Any]:
        return {"negative": Negative}


@dataclass
class Place:
    """A server that runs."""

    url: str
    service: Service

    def client(self) -> Client:
        return Client(self.url, verbose=False, analytics_enabled=False, download_files=str(self.service.folder / "got"))

    def upload(self, data: bytes, name: str = "town.png") -> httpx.Response:
        return httpx.post(f"{self.url}/gradio_api/upload", files={"files": (name, data)}, timeout=60)

    def call(self, *data: Any) -> str:
        """The events of one call of the endpoint, as the server writes them."""
        started = httpx.post(f"{self.url}/gradio_api/call/translate", json={"data": data}, timeout=60)
        started.raise_for_status()
        return httpx.get(f"{self.url}/gradio_api/call/translate/{started.json()['event_id']}", timeout=60).text

    def door(self, *data: Any) -> str:
        """What the server says of a call that it does not let in."""
        answer = httpx.post(f"{self.url}/gradio_api/call/translate", json={"data": data}, timeout=60)
        assert answer.status_code == 400
        return str(answer.json()["detail"])

    def refusal(self, *data: Any) -> str:
        text = self.call(*data)
        assert "event: error" in text
        assert str(self.service.folder) not in text
        return text


def file(path: Any) -> dict[str, Any]:
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def png(value: int = 40, size: tuple[int, int] = (24, 16)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, (value, value, value)).save(stream, "PNG")
    return stream.getvalue()


@contextmanager
def running(service: Service, shown: list[tuple[Path, str]]) -> Iterator[Place]:
    place = listening("127.0.0.1", 0)
    with server(service, shown, place) as ready:
        thread = threading.Thread(target=ready.run, kwargs={"sockets": [place]})
        thread.start()
        deadline = time.monotonic() + 30
        while not ready.started and time.monotonic() < deadline:
            time.sleep(0.02)
        try:
            yield Place(f"http://127.0.0.1:{place.getsockname()[1]}", service)
        finally:
            ready.should_exit = True
            thread.join(30)
    assert not thread.is_alive()


def model(folder: Path, directions: Any = BOTH, **options: Any) -> Any:
    module = Negative(domains=DOMAINS, directions=directions, **options)
    save_model(folder, module, {"": Origin("negative", "mine", "1", options)}, domains=DOMAINS, directions=directions)
    return load(folder, "cpu", registry=Registry({"mine": Plugin()}))
