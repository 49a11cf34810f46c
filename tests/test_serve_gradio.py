"""``i2i serve --gradio``: the page and the API of Gradio's clients, and what is refused before Gradio sees it."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from i2i_provenance.metadata import KEY
from i2i_serve import gradio_files
from i2i_serve.gradio_files import Files, remove_abandoned, served_folder, settings
from i2i_serve.limits import Limits

pytest.importorskip("gradio", reason="the extra 'gradio' is not installed")

import httpx

from i2i_serve.service import Service
from served_models import Gradio, gradio_file, model, png, running

# Gradio asks pandas for options that are going away.
pytestmark = [
    pytest.mark.filterwarnings("ignore:'future.no_silent_downcasting':DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated:DeprecationWarning"),
]
MORE = (False, None, 0.5)
"""The values of a model that mixes styles."""

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gradio]:
    """Gradio's page of a model that mixes styles; the process's environment is as ``i2i serve --gradio`` makes it."""
    folder = tmp_path_factory.mktemp("served").resolve()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings(folder).items():
            patch.setenv(name, value)
        from i2i_serve.gradio_page import application

        service = Service(model(tmp_path_factory.mktemp("model"), styled=True, mixes=True), Limits(megabytes=1), "town")
        with running(service, more=partial(application, service, folder)) as place:
            yield Gradio(place.url, folder)


def test_a_client_of_gradio_translates_and_the_result_says_what_made_it(served: Gradio, tmp_path: Path) -> None:
    from gradio_client import Client, handle_file
    from gradio_client.exceptions import AppError

    (tmp_path / "a town.png").write_bytes(png())
    client = Client(f"{served.url}/gradio", verbose=False, analytics_enabled=False, download_files=str(tmp_path / "got"))
    given = [handle_file(tmp_path / "a town.png"), "day → night", 0, handle_file(tmp_path / "a town.png")]
    pair, result = client.predict(*given, api_name="/translate")
    with Image.open(result) as made, Image.open(pair[0]) as before:
        assert np.unique(before).tolist() == [40]
        assert made.size == before.size == (24, 16)
        assert KEY in made.text
    assert Path(result).name == "a-town-night.png"
    with pytest.raises(AppError, match="Did you mean 'day → night'"):
        client.predict(given[0], "day → nigth", api_name="/translate")


def test_values_and_what_makes_no_sense(served: Gradio) -> None:
    one, two = (gradio_file(served.upload(png(value)).json()[0]) for value in (0, 100))
    picture = gradio_file(served.upload(png()).json()[0])
    for share, value in ((0, 215), (0.5, 165), (1, 115)):
        answer = served.call(picture, "day → night", 0, one, False, two, share)
        assert "event: complete" in answer
        _, result = json.loads(answer.rpartition("data: ")[2])
        assert np.unique(Image.open(result["path"], formats=["PNG"])).tolist() == [value]
    for data, says in (
        ((picture, "day → nigth", 0, None, *MORE), "Did you mean"),
        ((picture, ["day"], 0, None, *MORE), "Choose one of"),
        ((picture, "day → night", -1, None, *MORE), "not a whole number"),
        ((None, "day → night", 0, None, *MORE), "no picture was given"),
        ((picture, "day → night", 0, one, False, two, 2), "is not between 0"),
        ((gradio_file(f"{served.folder}/gone.png"), "day → night", 0, None, *MORE), "not any more"),
        ((gradio_file(served.upload(b"nothing").json()[0]), "day → night", 0, None, *MORE), "not a picture of a known format"),
    ):
        text = served.call(*data)
        assert "event: error" in text
        assert says in text
        assert str(served.folder) not in text


def test_paths_outside_and_addresses_are_refused(served: Gradio, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png())
    (served.folder / "link.png").symlink_to(tmp_path / "secret.png")
    for path in (tmp_path / "secret.png", f"{served.folder}/../secret.png", served.folder / "link.png", "/etc/passwd"):
        assert "only uploaded files" in served.refusal({"data": [gradio_file(str(path)), "day → night", 0, None]})
        assert "only uploaded files" in served.refusal({"data": [None, {"deep": [gradio_file(str(path))]}]})
    for wrong in (["x"], "x.png", f"{served.folder}/x\0y", 3, "http://example.com/x.png", f"{served.folder}/{'x' * 300}"):
        assert "Upload it first" in served.refusal({"data": [gradio_file(wrong)]})
    twice = f'{{"data": [{{"path": "/etc/passwd", "path": "{served.folder}/x.png"}}]}}'
    unreadable = '{"a": {"path": "/\\ud800"}, "data": []}'  # what no file can be called
    for content in (twice, unreadable, unreadable.replace("d800", "dc80")):
        assert "pload it first" in served.refusal(content)
    for path in ("/etc/passwd", "%2e%2e/%2e%2e/etc/passwd", served.folder / "link.png", served.folder):
        assert httpx.get(f"{served.api}/file={path}").status_code == 403
    for kind in ("file", "proxy"):
        assert httpx.get(f"{served.api}/{kind}=http:/example.com/x.png").status_code == 403
    port = int(served.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as raw:  # a client that cleans no path
        raw.sendall(f"GET /gradio/gradio_api/file={served.folder}/../x.png HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
        assert b" 403 " in raw.recv(100)


def test_bodies_that_gradio_would_fail_at(served: Gradio, capfd: pytest.CaptureFixture[str]) -> None:
    for content in ("", "[]", "3", '{"data": 3}', "{", "null", '{"data": []' * 3, "[" * 30_000, b"\xff\xfe"):
        assert "not a call of Gradio's" in served.refusal(content)
    for values in ([], [1] * 8):
        assert f"has 7 values, and this one has {len(values)}" in served.refusal({"data": values})
    for call in (
        {"data": [{}] * 7},
        {"data": [[[]]] * 7, "fn_index": 0},
        {"data": [1] * 7, "session_hash": 3},
        {"data": [0] * 7, "fn_index": 99},
    ):
        assert httpx.post(f"{served.api}/queue/join", json=call).status_code < 500
    assert "event: error" in served.call(*[{}] * 7)
    assert "more than 65 kB" in served.refusal(json.dumps({"data": ["x" * 70_000]}), status=413)
    assert httpx.post(f"{served.api}/upload", content=iter([b"x"] * 10)).status_code == 411
    assert httpx.post(f"{served.api}/upload", content=bytes(2 * 10**6)).status_code == 413
    assert httpx.post(f"{served.api}/upload", content=b"", headers={"content-type": "multipart/form-data"}).status_code >= 400
    for path in ("run/translate", "predict", "component_server", "nothing"):
        assert httpx.post(f"{served.api}/{path}", json={"data": [None] * 4}).status_code == 404
    for headers in ({"origin": "http://elsewhere.example"}, {"sec-fetch-site": "cross-site"}):
        assert httpx.post(f"{served.api}/upload", files={"files": ("x.png", png())}, headers=headers).status_code == 403
    said = capfd.readouterr()
    assert "Traceback" not in said.err + said.out


def test_its_configuration_tells_nothing_of_this_machine(served: Gradio) -> None:
    text = httpx.get(f"{served.url}/gradio/config").text
    assert "Style seed" in text
    page = httpx.get(f"{served.url}/gradio/")
    for told in (str(served.folder), str(Path.home()), os.environ.get("USER") or "/root"):
        assert told not in text + page.text
    assert "access-control-allow-origin" not in page.headers
    assert not {name for name in ("username", "space_id") if json.loads(text).get(name)}


def test_few_files_are_kept_and_looking_through_them_is_rare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradio_files, "KEPT_FILES", 100)
    files, looked = Files(tmp_path), []
    prune = files.prune
    monkeypatch.setattr(files, "prune", lambda: looked.append(prune()))
    for number in range(500):
        place = files.place()
        (place / "x.png").write_bytes(b"x")
        os.utime(place / "x.png", (number, number))
    kept = sorted(tmp_path.rglob("x.png"), key=lambda path: path.stat().st_mtime)
    assert len(looked) == 500 // gradio_files.EVERY
    assert len(kept) <= 100 + gradio_files.EVERY
    assert kept[-1].stat().st_mtime == 499
    assert len(list((tmp_path / "results").iterdir())) == len(kept)
    monkeypatch.setattr(gradio_files, "KEPT_BYTES", 3)
    prune()
    assert len(list(tmp_path.rglob("x.png"))) == 3


def test_a_folder_that_a_killed_server_left_goes_at_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    program = "import os; from i2i_serve.gradio_files import served_folder\nwith served_folder(): os._exit(9)"
    ended = subprocess.run([sys.executable, "-c", program], env={**os.environ, "TMPDIR": str(tmp_path)}, check=False)
    assert ended.returncode == 9
    (left,) = tmp_path.iterdir()
    remove_abandoned(tmp_path)
    assert left.exists()  # so young that its owner may be about to lock it
    (tmp_path / f"{gradio_files.PREFIX}link").symlink_to(Path.home())
    with served_folder() as held:
        for folder in (left, held):
            os.utime(folder, (time.time() - 100,) * 2)
        remove_abandoned(tmp_path)
        assert (left.exists(), held.exists()) == (False, True)
    assert [path.name for path in tmp_path.iterdir()] == [f"{gradio_files.PREFIX}link"]
