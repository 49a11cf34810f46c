"""A server of tiny models, for the tests of ``i2i serve``. Needs the extra ``serve``."""

import io
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from i2i.protocols import Domain, Translation
from i2i.registry import Registry, hookimpl
from i2i.translation.loading import load
from i2i.translation.model_folder import Origin, save_model
from i2i_serve.server import listening, server
from i2i_serve.service import Service

DOMAINS = {"a": Domain("day", "image", 3), "b": Domain("night", "image", 3)}
JSON = {"content-type": "application/json"}
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
    services: Sequence[Service]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def translate(self, image: Any = None, headers: Any = None, **values: Any) -> httpx.Response:
        """The answer to a form with these files (bytes) and values."""
        given = {"image": png() if image is None else image, **values}
        parts = {
            name: (f"{name}.png", value) if isinstance(value, bytes) else (None, str(value)) for name, value in given.items()
        }
        return httpx.post(f"{self.url}/api/translate", files=parts, headers=headers, timeout=60)

    def value(self, image: Any = None, **values: Any) -> int:
        """The first number in the result."""
        answer = self.translate(image, **values)
        assert answer.status_code == 200, answer.text
        return int(np.array(Image.open(io.BytesIO(answer.content), formats=["PNG"])).flat[0])

    def refusal(self, image: Any = None, status: int = 400, **values: Any) -> str:
        """The sentence that refuses."""
        answer = self.translate(image, **values)
        assert answer.status_code == status, (answer.status_code, answer.text)
        return str(answer.json()["detail"])

    def get(self, path: str, **options: Any) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=60, **options)

    def figure(self, line: str) -> float:
        """A number of /metrics; 0 where there is none yet."""
        found = [one.rpartition(" ")[2] for one in self.get("/metrics").text.splitlines() if one.startswith(f"{line} ")]
        return float(found[0]) if found else 0.0


@dataclass
class Gradio:
    """Gradio's page under a server; its files lie in the folder."""

    url: str
    folder: Path

    @property
    def api(self) -> str:
        return f"{self.url}/gradio/gradio_api"

    def upload(self, data: bytes, name: str = "town.png") -> httpx.Response:
        return httpx.post(f"{self.api}/upload", files={"files": (name, data)}, timeout=60)

    def call(self, *data: Any) -> str:
        """The events of one call of the endpoint, as the server writes them."""
        started = httpx.post(f"{self.api}/call/translate", json={"data": data}, timeout=60)
        started.raise_for_status()
        return httpx.get(f"{self.api}/call/translate/{started.json()['event_id']}", timeout=60).text

    def refusal(self, body: Any, status: int = 400) -> str:
        """What the server says of a call that it does not let in."""
        content = json.dumps(body) if isinstance(body, dict) else body
        answer = httpx.post(f"{self.api}/call/translate", content=content, headers=JSON, timeout=60)
        assert answer.status_code == status, (answer.status_code, answer.text)
        return str(answer.json()["detail"])


def gradio_file(path: Any) -> dict[str, Any]:
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def png(value: int = 40, size: tuple[int, int] = (24, 16)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, (value, value, value)).save(stream, "PNG")
    return stream.getvalue()


@contextmanager
def running(*services: Service, **options: Any) -> Iterator[Place]:
    """A server of these on a free port of this machine."""
    place = listening("127.0.0.1", 0)
    with server(services, place, services[0].limits, **options) as ready:
        thread = threading.Thread(target=ready.run, kwargs={"sockets": [place]})
        thread.start()
        deadline = time.monotonic() + 30
        while not ready.started and time.monotonic() < deadline:
            time.sleep(0.01)
        try:
            yield Place(f"http://127.0.0.1:{place.getsockname()[1]}", services)
        finally:
            ready.should_exit = True
            thread.join(30)
    assert not thread.is_alive()


def model(folder: Path, directions: Any = BOTH, domains: Any = DOMAINS, **options: Any) -> Any:
    module = Negative(domains=domains, directions=directions, **options)
    save_model(folder, module, {"": Origin("negative", "mine", "1", options)}, domains=domains, directions=directions)
    return load(folder, "cpu", registry=Registry({"mine": Plugin()}))
