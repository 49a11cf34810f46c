"""``i2i serve``: a page and an API on this machine, their limits, and what they refuse."""

import io
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import toy
from i2i.errors import UserError
from i2i.translation.loading import load
from i2i_provenance.inspection import inspect
from i2i_serve import commands
from i2i_serve import service as serving
from i2i_serve.limits import Limits
from i2i_serve.service import Deadline, Service, samples

pytest.importorskip("gradio")
httpx = pytest.importorskip("httpx")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps."""

    folder = tmp_path_factory.mktemp("toy")
    toy.trained(folder, "train.steps=2", out="run")
    return folder / "run"


@pytest.fixture
def service(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    for name, value in commands.settings(tmp_path).items():
        monkeypatch.setenv(name, value)
    limits = Limits(megabytes=1, pixels=100 * 100, seconds=30, waiting=4)
    return Service(load(run, "cpu", registry=toy.registry()), tmp_path, limits, "toy")


@contextmanager
def serving_page(service: Service, pictures: Any = ()) -> Iterator[str]:
    """The address of a page that is served meanwhile."""
    from i2i_serve.page import listening, server

    place = listening("127.0.0.1", 0)
    address = f"http://127.0.0.1:{place.getsockname()[1]}"
    with server(service, pictures, place) as ready:
        thread = threading.Thread(target=ready.run, kwargs={"sockets": [place]}, daemon=True)
        thread.start()
        try:
            yield address
        finally:
            ready.should_exit = True
            thread.join(30)


def png(width: int = 20, height: int = 12) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 60)).save(file, "PNG")
    return file.getvalue()


def uploaded(client: Any, data: bytes, name: str = "cat.png") -> Any:
    return client.post("/gradio_api/upload", files={"files": (name, data)})


def translated(client: Any, path: str, *rest: Any) -> str:
    """The last event of a call to the API: its data, or the message of its error."""
    given = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}, *(rest or (None, 0, None))]}
    event = client.post("/gradio_api/call/translate", json=given).json()["event_id"]
    return str(client.get(f"/gradio_api/call/translate/{event}").text)


def test_the_api_translates_and_says_so_in_the_file(service: Service) -> None:
    with serving_page(service) as address, httpx.Client(base_url=address, timeout=60) as client:
        (path,) = uploaded(client, png()).json()
        answer = translated(client, path)
        assert "event: complete" in answer
        pair, result = json.loads(answer.rpartition("data: ")[2])
        assert [Path(one["path"]).name for one in pair] == ["before.png", "cat-negative.png"]
        data = client.get(f"/gradio_api/file={result['path']}").content
        assert Image.open(io.BytesIO(data)).size == (20, 12)
        statement = inspect(Path(result["path"]))
        assert statement is not None


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"no picture at all", "cat.png"), (png(101, 100), "cat.png"), (png()[:60], "cat.png"), (b"", "cat.png")],
)
def test_uploads_that_are_no_pictures_or_too_large_are_named(service: Service, data: bytes, message: str) -> None:
    with serving_page(service) as address, httpx.Client(base_url=address, timeout=60) as client:
        answer = uploaded(client, data)
        if answer.status_code == 200:  # else refused at the door
            found = translated(client, answer.json()[0])
            assert "event: error" in found
            assert message in found


def test_what_is_refused_at_the_door(service: Service) -> None:
    outside = Path(__file__).resolve()
    with serving_page(service) as address, httpx.Client(base_url=address, timeout=60) as client:
        assert uploaded(client, bytes(2 * 10**6)).status_code == 413
        for path in (str(outside), "../../../etc/passwd", "/etc/passwd", "http://127.0.0.1:1/x.png", "https:/127.0.0.1:1/x"):
            assert client.get(f"/gradio_api/file={path}").status_code in (400, 403, 404)
        given = {"data": [{"path": str(outside), "meta": {"_type": "gradio.FileData"}}, None, 0, None]}
        assert client.post("/gradio_api/call/translate", json=given).status_code == 400
        assert client.get("/", headers={"host": "elsewhere.example"}).status_code == 400


def test_two_hundred_uploads_at_once_do_not_bring_it_down(service: Service) -> None:
    with serving_page(service) as address, httpx.Client(base_url=address, timeout=60) as client:
        with ThreadPoolExecutor(32) as pool:
            codes = list(pool.map(lambda _: uploaded(client, png()).status_code, range(200)))
        assert set(codes) <= {200, 503}
        assert 200 in codes
        (path,) = uploaded(client, png()).json()
        assert "event: complete" in translated(client, path)


def test_the_page_asks_nothing_of_other_machines(service: Service) -> None:
    with serving_page(service) as address, httpx.Client(base_url=address, timeout=60) as client:
        page = client.get("/").text
    assert "Translate" in page
    loaded = [part.split('"')[0] for mark in ('src="', 'stylesheet" href="') for part in page.split(mark)[1:]]
    assert all(not place.startswith(("http", "//")) or place.startswith(address) for place in loaded)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"direction": "negative → plane"}, "the model has no 'negative → plane'"),
        ({"seed": 1.5}, "not a whole number"),
        ({"seed": "x"}, "not a whole number"),
        ({"style": {"path": "x"}}, "takes no style image"),
        ({"picture": None}, "no picture was given"),
        ({"picture": {"path": "gone.png"}}, "Upload it first"),
        ({"picture": {"path": "/gone.png"}}, "only uploaded files"),
    ],
)
def test_requests_that_make_no_sense(service: Service, given: dict[str, Any], message: str) -> None:
    file = service.folder / "a.png"
    file.write_bytes(png())
    with pytest.raises(UserError, match=message):
        service.translate(**{"picture": {"path": str(file)}, **given})


def test_a_translation_that_takes_too_long_is_stopped(service: Service) -> None:
    deadline = Deadline(service.translator.module)
    with deadline.within(-1), pytest.raises(UserError, match="took longer"):
        service.translator.module(torch.zeros(1, 3, 16, 16), "a", "b")
    service.translator.module(torch.zeros(1, 3, 16, 16), "a", "b")


def test_old_files_go(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "KEPT_BYTES", 0)
    file = service.folder / "a.png"
    file.write_bytes(png())
    before, after = service.translate({"path": str(file)})
    assert before.exists()
    assert after.exists()
    assert not file.exists()


def test_held_out_samples_of_a_run(service: Service, run: Path, tmp_path: Path) -> None:
    assert all(path.is_file() and way in service.ways for path, way in samples(service, run))
    assert samples(service, run)
    assert samples(service, tmp_path) == []


def test_a_port_that_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    from i2i_serve.page import listening

    with listening("127.0.0.1", 0) as taken, pytest.raises(UserError, match=r"Choose another --port"):
        listening("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(UserError, match="cannot serve on this address"):
        listening("nowhere.invalid", 0)


def test_without_gradio_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, run: Path) -> None:
    monkeypatch.setattr(commands, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'i2i-framework\[serve\]'"):
        commands.serve(run)
