"""``i2i serve``: what its API answers, and what of the page and the models it gives."""

import io
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import terminal
import toy
from i2i.errors import UserError
from i2i.translation.loading import load
from i2i_provenance.metadata import KEY, packet
from i2i_serve import commands
from i2i_serve.limits import Limits
from i2i_serve.models import listed

pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")

import httpx

import i2i_page
from i2i_serve.api import page_routes
from i2i_serve.openapi import document
from i2i_serve.server import listening
from i2i_serve.service import Sample, Service, samples
from served_models import Place, model, png, running

Serving = Callable[..., Place]


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    """Starts the server of a new model; it ends with the test."""
    with ExitStack() as stack:

        def start(limits: Limits | None = None, token: str = "", **options: Any) -> Place:
            service = Service(model(tmp_path / "model", **options), limits or Limits(), "town")
            return stack.enter_context(running(service, token=token))

        yield start


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A server of a model that goes both ways."""
    with running(Service(model(tmp_path_factory.mktemp("served")), Limits(megabytes=1, pixels=10_000), "town")) as started:
        yield started


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps."""
    folder = tmp_path_factory.mktemp("toy")
    toy.trained(folder, "train.steps=2", out="run")
    return folder / "run"


def test_a_picture_goes_in_and_its_translation_comes_out_and_says_what_made_it(place: Place) -> None:
    query = f"{place.url}/api/translate?direction=a:b"
    raw = {"content-type": "image/png"}
    urlencoded = {"content-type": "application/x-www-form-urlencoded"}  # what curl --data-binary says
    for answer in (
        place.translate(direction="a:b"),
        place.translate(direction="day → night"),
        place.translate(to="night"),
        httpx.post(query, content=png(), headers=raw),
        httpx.post(query, content=png(), headers=urlencoded),
        httpx.post(query, content=iter([png()[:50], png()[50:]])),
    ):
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["x-i2i-size"] == "24x16"
        assert float(answer.headers["x-i2i-seconds"]) < 30
        with Image.open(io.BytesIO(answer.content)) as made:
            assert made.size == (24, 16)
            assert made.getpixel((0, 0)) == (215, 215, 215)
            assert made.text[KEY] == packet(place.services[0].translator.config)


def test_style_seed_and_a_mix_of_two_styles(serving: Serving) -> None:
    place = serving(styled=True, mixes=True, any_source=True)
    assert place.value(to="night", seed=1) == place.value(to="night", seed=1) != place.value(to="night", seed=2)
    one, two = png(0), png(100)
    assert place.value(to="night", style=one) == 215
    shares = [place.value(to="night", style=one, style2=two, mix=share) for share in (0, 0.5, 1)]
    assert shares == [215, 165, 115]
    assert place.value(to="night", style=one, style2=two) == 165
    for given, says in (
        ({"style": one, "style2": two, "mix": 2}, "mix: 2.0 is not between 0 .the first style. and 1"),
        ({"style": one, "style2": two, "mix": "much"}, "mix: 'much' is not a number from 0 to 1"),
        ({"style2": two}, "style2: there is no first style"),
        ({"style": one, "mix": 0.5}, "mix: give two styles, .* Styles given: 1"),
    ):
        assert re.search(says, place.refusal(to="night", **given))


def bomb() -> bytes:
    """A picture that says of itself that it is 100000 x 100000."""
    import struct
    import zlib

    chunks = (b"IHDR" + struct.pack(">IIBBBBB", 100000, 100000, 8, 2, 0, 0, 0), b"IDAT" + zlib.compress(b""))
    packed = [struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"image": b"no picture at all"}, "image.png: not a picture of a known format"),
        ({"image": png()[:60]}, "image.png: the picture is corrupt or truncated"),
        ({"image": b""}, "image.png: it is empty"),
        ({"image": b"<svg xmlns='http://www.w3.org/2000/svg'/>"}, "a picture in the format SVG"),
        ({"image": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n"}, "a picture in the format EPS"),
        ({"image": bomb()}, "image.png: the picture is too large"),
        ({"image": png(size=(101, 100))}, "the picture is too large: 101 x 100 = 10100 pixels; the limit is 10000"),
        ({"image": "/etc/passwd"}, "image: this is text, not a file"),
        ({"image": "http://127.0.0.1:1/x.png"}, "image: this is text, not a file"),
        ({"direction": "day → nigth"}, "Did you mean 'day → night'"),
        ({"direction": "../../etc"}, "Choose one of 'a:b' .day → night., 'b:a'"),
        ({"direction": "a:a"}, "the model has no 'a:a'"),
        ({"direction": ""}, "direction: the model has 2, so say which. Choose one of 'a:b'"),
        ({"direction": "", "to": "dusk"}, "dusk"),
        ({"to": "night"}, "direction: give it, or 'to' and 'source', but not both"),
        ({"seed": -1}, "seed: '-1' is not a whole number from 0 to 2147483647"),
        ({"seed": 1.5}, "seed: '1.5' is not a whole number"),
        ({"seed": "nan"}, "seed: 'nan' is not a whole number"),
        ({"seed": "1e999"}, "is not a whole number"),
        ({"style": png()}, "style: this model takes no style image"),
        ({"own_size": "perhaps"}, "own_size: 'perhaps' is neither true nor false"),
        ({"sead": 3}, "sead: there is no such field. Did you mean 'seed'"),
        ({"mask": png()}, "mask: there is no such file"),
        ({"direction": "x" * 2000}, "direction: the value has more than 1000 characters"),
        ({f"x{i}": "1" for i in range(60)}, "the form has more than 32 parts"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(place: Place, given: Any, says: str) -> None:
    found = place.refusal(**{"direction": "a:b", **given})
    assert re.search(says, found), found
    assert "\n" not in found


def test_forms_that_are_none_and_no_picture_at_all(place: Place) -> None:
    kind = {"content-type": "multipart/form-data; boundary=x"}
    whole = b'--x\r\ncontent-disposition: form-data; name="image"; filename="x.png"\r\n\r\n' + png() + b"\r\n--x--\r\n"
    for body, headers, says in (
        (whole[:-9], kind, "the form breaks off before its end"),
        (b"nothing of the kind", kind, "the form cannot be read"),
        (whole, {"content-type": "multipart/form-data"}, "the form cannot be read"),
        (whole[:-7] + whole, kind, "image: the form has it twice"),
        (b"", {}, "image: no picture was given"),
    ):
        answer = httpx.post(f"{place.url}/api/translate?direction=a:b", content=body, headers=headers)
        assert answer.status_code == 400
        assert says in answer.json()["detail"]


def test_what_is_refused_before_it_is_read(place: Place) -> None:
    assert "more than 1 MB" in place.refusal(bytes(2 * 10**6), status=413)
    chunked = httpx.post(f"{place.url}/api/translate", content=iter([bytes(10**5)] * 20))
    assert (chunked.status_code, chunked.json()["detail"][:31]) == (413, "the request has more than 1 MB.")
    answer = httpx.post(f"{place.url}/api/translate", json={"image": "x" * 10**6})
    assert answer.status_code == 415
    assert "bodies of the type application/json are not read" in answer.json()["detail"]
    for method, path, status in (("GET", "/api/translate", 405), ("POST", "/api/model", 405), ("GET", "/../etc/passwd", 404)):
        answer = httpx.request(method, f"{place.url}{path}")
        assert answer.status_code == status
        assert "GET /api/openapi.json says what there is" in answer.json()["detail"]


def test_a_host_or_a_page_from_elsewhere_is_refused(place: Place) -> None:
    own, url = f"127.0.0.1:{place.port}", f"{place.url}/api/translate"
    for host in ("elsewhere.example", "127.0.0.1.elsewhere.example", "[::ffff", ""):
        answer = place.get("/api/model", headers={"host": host})
        assert answer.status_code == 421
        assert "Ask for it by 127.0.0.1 or localhost" in answer.json()["detail"]
    assert place.get("/", headers={"host": f"localhost:{place.port}"}).status_code == 200
    for headers in (
        {"origin": "http://elsewhere.example"},
        {"origin": f"http://127.0.0.1:{place.port + 1}"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": f"http://{own}"},
    ):
        answer = place.translate(direction="a:b", headers=headers)
        assert answer.status_code == 403
        assert "a page of another site" in answer.json()["detail"]
    for headers in ({"origin": f"http://{own}"}, {"sec-fetch-site": "same-origin", "origin": "https://behind.a.proxy"}):
        assert place.translate(direction="a:b", headers=headers).status_code == 200
    assert httpx.post(url, headers={"origin": "http://elsewhere.example"}, content=b"").status_code == 403


def test_a_token_is_asked_of_all_that_tells_something(serving: Serving) -> None:
    place = serving(token="open-sesame")
    right = {"authorization": "Bearer open-sesame"}
    for headers in (
        {},
        {"authorization": "Bearer wrong-one"},
        {"authorization": "Basic open-sesame"},
        {"authorization": "Bearer"},
    ):
        for path in ("/api/model", "/metrics", "/api/samples/town/0.png", "/api/nothing", "/gradio/config"):
            answer = place.get(path, headers=headers)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="i2i"')
        assert place.translate(direction="a:b", headers=headers).status_code == 401
    assert place.get("/api/model", headers=right).json()["token"] is True
    assert place.translate(direction="a:b", headers=right).status_code == 200
    for path in ("/", "/health", "/api/openapi.json"):
        assert place.get(path).status_code == 200
    assert place.get("/api/openapi.json").json()["paths"]["/api/model"]["get"]["security"] == [{"token": []}]


def test_the_page_is_there_and_may_load_only_its_own(place: Place) -> None:
    page = place.get("/")
    assert '<meta name="i2i-engine" content="server">' in page.text
    for name in i2i_page.files():
        answer = place.get(f"/{name}")
        assert answer.status_code == 200
        assert place.get(f"/{name}", headers={"if-none-match": answer.headers["etag"]}).status_code == 304
    rules = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    assert rules["default-src"] == "'self'"
    assert (rules["frame-ancestors"], rules["base-uri"], rules["form-action"]) == ("'none'", "'none'", "'none'")
    assert not any("http" in rule or "unsafe" in rule for rule in rules.values())
    for answer in (page, place.get("/api/model"), place.translate(direction="a:b")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in answer.headers
    assert place.get("/api/model").headers["cache-control"] == "no-store"
    assert {route.path for route in page_routes({"app.js": b"", "index.html": b""})} == {"/app.js", "/index.html", "/"}


def test_the_description_of_the_api_is_of_its_routes_and_of_no_others(place: Place) -> None:
    found = place.get("/api/openapi.json").json()
    assert found == document(place.services[0].limits, token=False)
    assert found["openapi"].startswith("3.1")
    assert {*found["info"]} >= {"title", "version"}
    assert set(found["paths"]) == {
        *("/api/translate", "/api/model", "/api/samples/{model}/{number}.png"),
        *("/health", "/metrics", "/api/openapi.json"),
    }
    names = [operation["operationId"] for path in found["paths"].values() for operation in path.values()]
    assert len(names) == len(set(names))

    def check(part: Any) -> None:
        if isinstance(part, dict):
            if "$ref" in part:
                target: Any = found
                for word in part["$ref"].removeprefix("#/").split("/"):
                    target = target[word]
            for value in part.values():
                check(value)
        elif isinstance(part, list):
            for value in part:
                check(value)

    check(found)
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            assert all({"description"} <= set(answer) for answer in operation["responses"].values())
            declared = {given["name"] for given in operation.get("parameters", []) if given["in"] == "path"}
            assert declared == set(re.findall(r"{(\w+)}", path))
            answer = httpx.request(method, place.url + path.format(model="town", number=0))
            assert str(answer.status_code) in operation["responses"]


def test_figures_for_prometheus(place: Place) -> None:
    before = place.figure('i2i_requests_total{route="/api/translate",status="200"}')
    refused = place.figure('i2i_refused_total{reason="input"}')
    place.value(direction="a:b")
    place.refusal(direction="x")
    place.get("/no/such/place")
    assert place.figure('i2i_requests_total{route="/api/translate",status="200"}') == before + 1
    assert place.figure('i2i_refused_total{reason="input"}') == refused + 1
    assert place.figure('i2i_requests_total{route="other",status="404"}') >= 1
    assert place.figure('i2i_translation_seconds_count{model="town"}') >= 1
    assert place.figure("i2i_requests_in_flight") == 1  # the one that asks
    assert place.figure("i2i_waiting") == place.figure("i2i_held_bytes") == 0
    assert place.figure("process_resident_memory_bytes") > 10**7


def test_several_models_and_the_samples_of_a_run(run: Path, tmp_path: Path) -> None:
    translator = load(run, "cpu", registry=toy.registry())
    limits = Limits(waiting=4)
    shown = samples(translator, run)
    assert samples(translator, tmp_path) == []
    styles = [Sample("a:b", png(1), png(2)), Sample("a:b", png(3), png(2))]
    other = Service(model(tmp_path / "other", directions=(("a", "b"),)), limits, "town", samples=styles)
    with running(Service(translator, limits, "toy", samples=shown), other, paths={"toy": run}) as place:
        found = place.get("/api/model").json()
        toys, town = found["models"]
        assert [toys["id"], town["id"]] == ["toy", "town"]
        assert toys["card"].startswith("# ")
        assert town["card"] == ""
        assert len(toys["samples"]) == len(shown) > 0
        for sample in toys["samples"]:
            data = place.get(f"/api/{sample['url']}")
            assert data.headers["content-type"] == "image/png"
            assert place.translate(data.content, model="toy", direction=sample["direction"]).status_code == 200
        assert place.get(f"/api/samples/toy/{len(shown)}.png").status_code == 404
        assert place.get("/api/samples/../toy/0.png").status_code == 404
        own = [[place.get(f"/api/{one[key]}").content for key in ("url", "target")] for one in town["samples"]]
        assert own == [[png(1), png(2)], [png(3), png(2)]]
        assert place.value(model="town") == 215
        assert "model: say which. Choose one of toy, town" in place.refusal(status=400)
        assert "there is no 'towm'. Did you mean 'town'" in place.refusal(status=404, model="towm")
        assert "there is no '../../etc/passwd'" in place.refusal(status=404, model="../../etc/passwd")


def test_a_card_that_is_a_link_to_elsewhere_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("a secret")
    (translator, folder) = model(tmp_path / "model"), tmp_path / "model"
    (folder / "README.md").symlink_to(tmp_path / "secret.txt")
    assert "a secret" not in Service(translator, Limits(), "town").described(folder)["card"]
    (folder / "README.md").unlink()
    (folder / "README.md").write_text("---\nlicense: x\n---\n# My town")
    assert Service(translator, Limits(), "town").described(folder)["card"] == "# My town"


def test_a_number_that_is_no_class_is_named(tmp_path: Path) -> None:
    from i2i.protocols import Domain

    maps = {"a": Domain("maps", "labels", 2, colors=((1, 2, 3), (9, 9, 9))), "b": Domain("photo", "image", 2)}
    with running(Service(model(tmp_path / "model", (("a", "b"),), domains=maps), Limits(), "maps")) as place:
        stream = io.BytesIO()
        Image.new("L", (8, 8), 7).save(stream, "PNG")
        assert "64 pixels hold 7, outside the 2 classes of 'maps'" in place.refusal(stream.getvalue())
        assert "most often (40, 40, 40); the nearest is class 1, (9, 9, 9)" in place.refusal(png())


def test_a_folder_of_runs_stands_for_them(run: Path, tmp_path: Path) -> None:
    for name in ("b", "a c", "empty"):
        (tmp_path / name).mkdir()
    for name in ("b/model", "a c"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "config.json").write_text("{}")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "b").symlink_to(run)
    found = listed([tmp_path, tmp_path / "b", tmp_path / "other", tmp_path / "empty", Path("owner/name")])
    assert list(found) == ["a-c", "b", "b-2", "run", "empty", "name"]
    assert found["b-2"] == tmp_path / "b"


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    return terminal.call(monkeypatch, "serve", *arguments)


def test_refusals_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    with listening("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        for given, says in (
            ((".", "--port", port), f"127.0.0.1:{port}: i2i cannot serve there (Address already in use)"),
            ((".", "--port", "0"), "there is no model here"),
            ((".", "--host", "no such host"), "cannot serve on this address"),
            ((".", "--token", "short"), "--token: give at least 8 letters"),
            ((".", "--token", ""), "--token: give at least 8 letters"),
            ((".", "--token", "ümlauts-here"), "--token: give at least 8 letters"),
            ((".", "none", "--gradio", "--port", "0"), "--gradio serves one model, and these are 2"),
        ):
            assert call(monkeypatch, *given) == 2
            assert says in capsys.readouterr().err
        monkeypatch.setenv("I2I_TOKEN", "brief")
        assert call(monkeypatch, ".") == 2
        assert "--token" in capsys.readouterr().err
        monkeypatch.delenv("I2I_TOKEN")
    for missing, given, says in (
        ("gradio", (".", "--gradio"), "--gradio needs Gradio: pip install 'i2i-framework[gradio]', or leave it out."),
        ("uvicorn", (".",), "i2i serve needs more packages: pip install 'i2i-framework[serve]'."),
    ):
        monkeypatch.setattr(commands, "find_spec", lambda name, missing=missing: None if name == missing else True)
        assert call(monkeypatch, *given) == 2
        assert capsys.readouterr().err == f"i2i: {says}\n"
    assert list(tmp_path.iterdir()) == []


def test_addresses_where_nothing_can_be_served() -> None:
    with pytest.raises(UserError, match="i2i cannot serve there"):
        listening("192.0.2.1", 0)
    with listening("127.0.0.1", 0) as taken, pytest.raises(UserError, match=r"Choose another --port"):
        listening("127.0.0.1", taken.getsockname()[1])


def test_nothing_is_asked_of_other_machines(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, ask = set(), socket.getaddrinfo

    def recorded(host: Any, *arguments: Any, **options: Any) -> Any:
        asked.add(host.decode() if isinstance(host, bytes) else host)
        return ask("127.0.0.1", *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", recorded)
    for given in ({"image": "http://example.com/x.png"}, {"model": "http://example.com/x"}, {"direction": "//example.com"}):
        assert place.translate(**{"direction": "a:b", **given}).status_code in (400, 404)
    assert asked <= {"127.0.0.1"}


def test_help_imports_neither_torch_nor_the_server() -> None:
    code = "import sys, i2i.cli; sys.exit(int(bool({'gradio', 'torch', 'starlette'} & set(sys.modules))))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
