"""A server of the page whose models are pretended, so that a test says what is answered, and when."""

import io
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

import i2i_page

XMP = "<x:xmpmeta>made by a trained algorithm</x:xmpmeta>"
KEY = "XML:com.adobe.xmp"
POLICY = (
    "default-src 'self'; img-src 'self' blob:; media-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'none'"
)
KINDS = {"html": "text/html; charset=utf-8", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


@dataclass
class Asked:
    """One request for a translation: its fields, and the uploaded files' bytes."""

    fields: dict[str, str]
    files: dict[str, bytes]

    @property
    def image(self) -> Image.Image:
        return Image.open(io.BytesIO(self.files["image"]))

    @property
    def seed(self) -> int:
        return int(self.fields["seed"])


@dataclass
class Place:
    """The server. While ``gate`` is closed translations wait; ``refusals`` are (status, detail) for the next ones."""

    models: list[dict[str, Any]]
    samples: dict[str, bytes]
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    refusals: list[tuple[int, str]] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    @property
    def last(self) -> Asked:
        return self.asked[-1]

    def translated(self, asked: Asked) -> tuple[int, bytes, dict[str, str]]:
        self.asked.append(asked)
        if self.refusals:
            status, detail = self.refusals.pop(0)
            return status, json.dumps({"detail": detail}).encode(), {"Retry-After": "1"}
        self.gate.wait(60)
        made = made_of(asked)
        self.answers.append(made)
        return 200, made, {"X-I2I-Seconds": "0.012"}


def made_of(asked: Asked) -> bytes:
    """The negative of a picture; label maps and drawings with the seed in the red channel, and the style's in the blue one."""
    image = asked.image
    if image.mode == "L":
        red = Image.new("L", image.size, asked.seed % 256 if "seed" in asked.fields else 0)
        blue = Image.new("L", image.size, len(asked.files) * 50)
        made = Image.merge("RGB", (red, image, blue))
    else:
        made = ImageOps.invert(image.convert("RGB"))
    return png(made)


def png(image: Image.Image, statement: bool = True) -> bytes:
    stream, info = io.BytesIO(), PngInfo()
    info.add_itxt(KEY, XMP)
    image.save(stream, "PNG", pnginfo=info if statement else None)
    return stream.getvalue()


def domain(name: str, channels: int = 3, line: bool = False, **preparation: Any) -> dict[str, Any]:
    return {
        "name": name, "kind": "image", "channels": channels, "classes": [], "line": line, "size": [32, 32],
        "preparation": {"alpha": "white", "range": None, "offset": 0, "values": [], "colored": False, "unknown": None,
                        "size": None, "cover": False, **preparation},
    }  # fmt: skip


def labels(name: str, classes: Sequence[tuple[str, str, int]], **preparation: Any) -> dict[str, Any]:
    listed = [{"name": word, "color": color, "value": value} for word, color, value in classes]
    values = [[value, place] for place, (_, _, value) in enumerate(classes)]
    return domain(name, len(classes), values=values, **preparation) | {"kind": "labels", "classes": listed, "size": [16, 16]}


def described(
    id: str, domains: dict[str, Any], ways: Sequence[tuple[str, str]] = (("a", "b"),), **given: Any
) -> dict[str, Any]:
    def way(source: str, target: str) -> dict[str, Any]:
        kinds = [(domains[key]["kind"], domains[key]["channels"]) for key in (source, target)]
        label = f"{domains[source]['name']} → {domains[target]['name']}"
        blends = kinds[0] == kinds[1] and kinds[0][0] == "image"
        return {"id": f"{source}:{target}", "source": source, "target": target, "label": label, "blends": blends}

    return {
        "id": id, "title": id, "directions": [way(*pair) for pair in ways], "domains": domains, "any_source": False,
        "draws": False, "style": False, "mix": False, "scales": False, "divisor": 4, "smallest": 16, "samples": [],
        "facts": [["Trained on", "nothing"]], "card": "", "provenance": XMP, **given,
    }  # fmt: skip


@contextmanager
def serving(models: list[dict[str, Any]], samples: dict[str, bytes]) -> Iterator[Place]:
    place = Place(models, samples)
    place.gate.set()
    files = i2i_page.files()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None: ...

        def do_GET(self) -> None:
            path = self.path.partition("?")[0].lstrip("/")
            if path == "api/model":
                limits = {"megabytes": 1, "pixels": 2**20}
                told = {"engine": "server", "version": "1", "limits": limits, "token": False, "models": place.models}
                self.answer(200, json.dumps(told).encode(), {"Content-Type": "application/json"})
            elif path.startswith("api/"):
                self.answer(200, place.samples[path.removeprefix("api/")], {"Content-Type": "image/png"})
            elif (name := path or "index.html") in files:
                self.answer(200, files[name], {"Content-Type": KINDS[name.rpartition(".")[2]]})
            else:
                self.answer(404, b"", {})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            asked = Asked({}, {})
            for part in BytesParser().parsebytes(head + body).get_payload():
                name, content = part.get_param("name", header="content-disposition"), part.get_payload(decode=True)
                if part.get_filename():
                    asked.files[name] = content
                else:
                    asked.fields[name] = content.decode()
            status, answer, headers = place.translated(asked)
            self.answer(status, answer, {"Content-Type": "image/png" if status == 200 else "application/json", **headers})

        def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), "Content-Security-Policy": POLICY, **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None: ...  # the browser has closed the connection

    with Server(("127.0.0.1", 0), Handler) as server:
        place.url = f"http://127.0.0.1:{server.server_address[1]}/"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield place
        finally:
            place.gate.set()
            server.shutdown()
            thread.join()
