"""``i2i serve`` as clients meet it: models of other kinds, files from elsewhere, and more requests than it takes."""

import asyncio
import json
import re
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import terminal
from i2i.errors import UserError
from i2i_provenance.metadata import KEY, packet
from i2i_serve import commands
from i2i_serve.limits import Limits
from i2i_serve.service import Service

pytest.importorskip("gradio", reason="the extra 'serve' is not installed")

import httpx
from gradio_client import handle_file
from gradio_client.exceptions import AppError

from i2i_serve.guard import Guard
from i2i_serve.page import listening
from served_models import Place, file, model, png, running

# Gradio asks pandas for an option that is going away.
pytestmark = pytest.mark.filterwarnings("ignore:'future.no_silent_downcasting':DeprecationWarning")

Serving = Callable[..., Place]


JSON = {"content-type": "application/json"}


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of uploads and results; the process's environment is as ``i2i serve`` makes it."""
    (tmp_path / "served").mkdir()
    for name, value in commands.settings(tmp_path / "served").items():
        monkeypatch.setenv(name, value)
    return tmp_path / "served"


@pytest.fixture
def serving(served: Path, tmp_path: Path) -> Iterator[Serving]:
    """Starts the server of a new model; it ends with the test."""
    with ExitStack() as stack:

        def start(limits: Limits | None = None, **options: Any) -> Place:
            service = Service(model(tmp_path / "model", **options), served, limits or Limits(), "town")
            return stack.enter_context(running(service, []))

        yield start


def test_the_api_translates_and_the_result_says_what_made_it(serving: Serving, tmp_path: Path) -> None:
    place = serving()
    (tmp_path / "a town.png").write_bytes(png())
    pair, result = place.client().predict(handle_file(tmp_path / "a town.png"), direction="day → night", api_name="/translate")
    with Image.open(result) as made, Image.open(pair[0]) as before:
        assert np.unique(made).tolist() == [215]
        assert np.unique(before).tolist() == [40]
        assert made.size == before.size == (24, 16)
        assert made.text[KEY] == packet(place.service.translator.config)
    assert Path(result).name == "a-town-night.png"


def test_style_and_seed(serving: Serving, tmp_path: Path) -> None:
    client = serving(styled=True).client()
    for name, value in (("x.png", 40), ("style.png", 0)):
        (tmp_path / name).write_bytes(png(value))
    picture = handle_file(tmp_path / "x.png")

    def value(**given: Any) -> int:
        _, result = client.predict(picture, api_name="/translate", **given)
        with Image.open(result) as made:
            return int(np.array(made)[0, 0, 0])

    assert value(style_seed=1) == value(style_seed=1) != value(style_seed=2)
    assert value(style=handle_file(tmp_path / "style.png")) == 215


def test_two_styles_are_mixed_where_the_model_can(serving: Serving, tmp_path: Path) -> None:
    place = serving(styled=True, mixes=True, any_source=True)
    assert list(place.service.ways) == ["to night", "to day"]
    for name, value in (("x.png", 40), ("one.png", 0), ("two.png", 100)):
        (tmp_path / name).write_bytes(png(value))
    picture, one, two = (handle_file(tmp_path / f"{name}.png") for name in ("x", "one", "two"))

    def value(**given: Any) -> int:
        _, result = place.client().predict(picture, "to night", api_name="/translate", **given)
        with Image.open(result) as made:
            return int(np.array(made)[0, 0, 0])

    assert value(style=one) == 215
    assert [value(style=one, second_style=two, mix=share) for share in (0, 0.5, 1)] == [215, 165, 115]
    assert value(style=one, second_style=two) == 165
    path = file(place.upload(png()).json()[0])
    for style, second, share, says in (
        (path, path, 2, "mix: 2 is not between 0 .the first style. and 1"),
        (path, path, "much", "mix: 'much' is not a number from 0 to 1"),
        (None, path, 0.5, "mix: give two styles, and as mix the share of the second. Styles given: 1"),
    ):
        assert re.search(says, place.refusal(path, "to night", 0, style, False, second, share))


@pytest.mark.parametrize(("options", "visible"), [({}, (True, False, False)), ({"styled": True}, (True, True, True))])
def test_the_page_shows_what_the_model_can(serving: Serving, options: Any, visible: Any) -> None:
    parts = httpx.get(f"{serving(**options).url}/config").json()["components"]
    by_label = {part["props"].get("label", ""): part["props"] for part in parts}
    assert [value for _, value in by_label["Direction"]["choices"]] == ["day → night", "night → day"]
    style = next(props for label, props in by_label.items() if label.startswith("Style image"))
    assert tuple(props["visible"] for props in (by_label["Direction"], by_label["Style seed"], style)) == visible


def test_one_direction_is_no_choice(serving: Serving) -> None:
    place = serving(directions=(("a", "b"),))
    parts = httpx.get(f"{place.url}/config").json()["components"]
    assert not next(part for part in parts if part["props"].get("label") == "Direction")["props"]["visible"]
    (path,) = place.upload(png()).json()
    assert "event: complete" in place.call(file(path), None, 0, None)


def test_paths_outside_are_refused(serving: Serving, tmp_path: Path) -> None:
    place = serving()
    (tmp_path / "secret.png").write_bytes(png())
    inside = place.service.folder
    (inside / "link.png").symlink_to(tmp_path / "secret.png")
    for path in (tmp_path / "secret.png", f"{inside}/../secret.png", inside / "link.png", "/etc/passwd"):
        assert "only uploaded files" in place.door(file(str(path)), "day → night", 0, None)
        assert "only uploaded files" in place.door(None, "day → night", 0, [{"deep": file(str(path))}])
    assert sorted(path.name for path in inside.iterdir()) == ["link.png"]
    twice = f'{{"data": [{{"path": "/etc/passwd", "path": "{inside}/x.png"}}]}}'
    assert httpx.post(f"{place.url}/gradio_api/queue/join", content=twice).status_code == 400
    unreadable = '{"a": {"path": "/\\ud800"}, "data": [{"path": "/etc/passwd"}]}'  # what no file can be called
    for content in (unreadable, unreadable.replace("d800", "dc80")):
        assert httpx.post(f"{place.url}/gradio_api/queue/join", content=content, headers=JSON).status_code == 400
    assert "Upload it first" in place.door(file(f"{inside}/{'x' * 300}"), "day → night", 0, None)
    for path in ("/etc/passwd", "%2e%2e/%2e%2e/etc/passwd", f"{inside}/link.png", str(inside)):
        assert httpx.get(f"{place.url}/gradio_api/file={path}").status_code == 403
    with socket.create_connection(("127.0.0.1", int(place.url.rsplit(":", 1)[1]))) as raw:  # a client that cleans no path
        raw.sendall(f"GET /gradio_api/file={inside}/../secret.png HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
        assert b" 403 " in raw.recv(100)


def test_nothing_is_fetched_from_elsewhere(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    place, asked = serving(), set()
    ask = socket.getaddrinfo

    def recorded(host: Any, *arguments: Any, **options: Any) -> Any:
        asked.add(host)
        return ask("127.0.0.1", *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", recorded)
    for url in ("http://example.com/x.png", "https:/example.com/x.png", "HTTP://example.com/x.png"):
        assert httpx.get(f"{place.url}/gradio_api/file={url}").status_code == 403
        assert httpx.get(f"{place.url}/gradio_api/proxy={url}").status_code == 403
        assert "Upload it first" in place.door({**file(url), "url": url}, "day → night", 0, None)
    (path,) = place.upload(png()).json()
    assert "event: complete" in place.call({**file(path), "url": "http://example.com/x.png"}, "day → night", 0, None)
    assert {host.decode() if isinstance(host, bytes) else host for host in asked} <= {"127.0.0.1"}


def bomb() -> bytes:
    """A picture that says of itself that it is 100000 x 100000."""
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", 100000, 100000, 8, 2, 0, 0, 0), b"IDAT" + zlib.compress(b""))
    packed = [struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.mark.parametrize(
    ("data", "name", "message"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "x.svg", "x.svg: this is a picture in the format SVG"),
        (bomb(), "bomb.png", "bomb.png: the picture is too large"),
    ],
)
def test_what_is_no_picture_is_one_sentence(serving: Serving, tmp_path: Path, data: bytes, name: str, message: str) -> None:
    place = serving(Limits(pixels=10_000))
    (path,) = place.upload(data, name).json()
    assert message in place.refusal(file(path), "day → night", 0, None)
    (tmp_path / name).write_bytes(data)
    with pytest.raises(AppError, match=message):
        place.client().predict(handle_file(tmp_path / name), api_name="/translate")


def test_wrong_values_are_one_sentence(serving: Serving) -> None:
    place = serving()
    (path,) = place.upload(png()).json()
    for data, message in (
        ((file(path), "day → nigth", 0, None), "Did you mean"),
        ((file(path), ["day"], 0, None), "Choose one of"),
        ((file(path), "day → night", -1, None), "not a whole number"),
        ((file(path), "day → night", 0, file(path)), "takes no style image"),
        ((file(f"{place.service.folder}/gone.png"), "day → night", 0, None), "not any more"),
    ):
        assert message in place.refusal(*data)
    for wrong in (["x"], "x.png", f"{place.service.folder}/x\0y", 3):
        assert "Upload it first" in place.door(file(wrong), "day → night", 0, None)


def test_bodies_without_a_length_and_calls_past_the_queue_are_refused(serving: Serving) -> None:
    place = serving()
    assert httpx.post(f"{place.url}/gradio_api/upload", content=iter([b"x"] * 10)).status_code == 411
    assert httpx.post(f"{place.url}/gradio_api/run/translate", json={"data": [None] * 4}).status_code == 404


def test_a_translation_that_takes_too_long_is_stopped(serving: Serving) -> None:
    place = serving(Limits(seconds=0.2), layers=200)
    (path,) = place.upload(png()).json()
    began = time.monotonic()
    assert "took longer than 0.2 s" in place.refusal(file(path), "day → night", 0, None)
    assert time.monotonic() - began < 5  # ten seconds if it were not


def test_two_hundred_requests_at_once(serving: Serving) -> None:
    place = serving(Limits(waiting=3), layers=10)

    def one(_: int) -> tuple[int, str]:
        answer = place.upload(png())
        if answer.status_code == 200:
            data = [file(answer.json()[0]), "day → night", 0, None]
            answer = httpx.post(f"{place.url}/gradio_api/call/translate", json={"data": data}, timeout=60)
        return answer.status_code, answer.text

    with ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(one, range(200)))
    accepted = [json.loads(text)["event_id"] for status, text in answers if status == 200]
    refused = [(status, text) for status, text in answers if status != 200]
    assert 3 <= len(accepted) < 200
    assert {status for status, _ in refused} == {503}
    assert all("Queue is full" in text or "uploads are under way" in text for _, text in refused)
    for event in accepted:
        assert "event: complete" in httpx.get(f"{place.url}/gradio_api/call/translate/{event}", timeout=60).text
    (path,) = place.upload(png()).json()
    assert "event: complete" in place.call(file(path), "day → night", 0, None)


def test_uploads_beyond_the_limit_are_refused(tmp_path: Path) -> None:
    answers: list[int] = []

    async def all_at_once() -> None:
        release = asyncio.Event()

        async def slow(scope: Any, receive: Any, send: Any) -> None:
            await release.wait()

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                answers.append(message["status"])

        guard = Guard(slow, Service(model(tmp_path / "model"), tmp_path, Limits(waiting=5), "town"))
        scope = {"type": "http", "method": "POST", "path": "/gradio_api/upload", "headers": [(b"content-length", b"9")]}
        calls = [asyncio.create_task(guard(scope, None, send)) for _ in range(200)]  # type: ignore[arg-type]
        await asyncio.sleep(0)
        release.set()
        await asyncio.gather(*calls)
        assert guard.uploads == 0

    asyncio.run(all_at_once())
    assert answers == [503] * 195


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    for name in commands.settings(Path()):
        monkeypatch.setenv(name, "")  # the command sets them
    return terminal.call(monkeypatch, "serve", *arguments)


def test_refusals_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    with listening("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        assert call(monkeypatch, ".", "--port", port) == 2
        assert f"127.0.0.1:{port}: i2i cannot serve there (Address already in use)" in capsys.readouterr().err
    assert call(monkeypatch, ".", "--port", "0") == 2
    assert "there is no model here" in capsys.readouterr().err
    assert call(monkeypatch, ".", "--host", "no such host") == 2
    assert "cannot serve on this address" in capsys.readouterr().err
    monkeypatch.setattr(commands, "find_spec", lambda name: None)
    assert call(monkeypatch, ".") == 2
    assert capsys.readouterr().err == "i2i: i2i serve needs Gradio: pip install 'i2i-framework[serve]'.\n"
    assert list(tmp_path.iterdir()) == []


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(UserError, match="i2i cannot serve there"):
        listening("192.0.2.1", 0)


def test_help_imports_neither_gradio_nor_torch() -> None:
    code = "import sys, i2i.cli; sys.exit(int(bool({'gradio', 'torch'} & set(sys.modules))))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
