"""Exported pages: they compute in a browser what `i2i translate` computes, and ask for nothing but their own folder."""

import base64
import functools
import hashlib
import http.server
import io
import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

import terminal
from browsing import Visit, browsing, chromium, visiting
from exports import Tinted, of
from i2i.errors import UserError
from i2i.labels import to_network
from i2i.pictures.pixels import prepared
from i2i.pictures.preparation import finished
from i2i.protocols import Direction, Domain, Preparation
from i2i.registry import default_registry
from i2i.translation.loading import load
from i2i.translation.model_folder import Origin, save_model
from i2i.translation.translator import Translator
from i2i_export import web
from i2i_export.export import Exported
from i2i_export.runtime import BUILDS, PINNED
from i2i_export.runtime import runtime as found_runtime
from i2i_export.web import export_web
from i2i_export.weights import stored
from npm import package

COLORS = ((0, 0, 0), (250, 10, 10), (10, 250, 10), (20, 20, 200))
LAND = Preparation(values=((255, 3),), offset=-1)
DOMAINS = {
    "a": Domain("land", "labels", 4, ("sea", "rock", "tree", "snow"), COLORS, preparation=LAND),
    "b": Domain("day", "image", 3),
    "c": Domain("night", "image", 3),
}
WAYS: tuple[Direction, ...] = (("a", "b"), ("b", "a"), ("b", "c"))
OPTIONS = {"width": 4, "blocks": 1}

OPEN = """async (address) => {
  const manifest = await (await fetch("manifest.json")).json(), { open } = await import("./engine-web.js");
  window.progress = [];
  window.engine = await open(manifest, { base: document.baseURI, progress: (part, text) => progress.push([part, text]) });
  window.model = manifest.models[0];
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  window.blob = (text) => new Blob([bytes(text)]);
  window.text = (array) => {
    const raw = new Uint8Array(array.buffer ?? array);
    let made = "";
    for (let i = 0; i < raw.length; i += 30000) made += String.fromCharCode(...raw.subarray(i, i + 30000));
    return btoa(made);
  };
  return engine.note;
}"""
TRANSLATE = """async ([id, image, changes, style]) => {
  const used = structuredClone(model), direction = used.directions.find((one) => one.id === id);
  Object.assign(used.domains[direction.source].preparation, changes);
  const { blob: made } = await engine.translate({ model: used, direction, image: blob(image), style: style && blob(style) });
  return text(await made.arrayBuffer());
}"""
PREPARE = """async ([image, domain]) => {
  const { prepared } = await import("./prepare.js");
  const made = await prepared(blob(image), domain, { pixels: 2 ** 22, computed: 2 ** 20 }, false);
  return [made.channels, ...made.size, text(made.data)];
}"""


def coded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def png(picture: Image.Image, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG", **options)
    return stream.getvalue()


def noise(*shape: int, most: int = 256, seed: int = 0) -> Any:
    """Smooth in part, so that scaling has something to do, and noisy."""
    random = np.random.default_rng(seed)
    return random.integers(0, most, shape, dtype=np.uint8 if most <= 256 else np.uint16)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model for label maps and pictures, whose weights give results of many greys."""
    folder = tmp_path_factory.mktemp("web") / "tiny"
    torch.manual_seed(0)
    module = default_registry().get("generator", "resnet").factory(domains=DOMAINS, directions=WAYS, **OPTIONS)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(3)
    save_model(folder, module, {"": Origin("resnet", "cyclegan", "", OPTIONS)}, domains=DOMAINS, directions=WAYS)
    return folder


@pytest.fixture(scope="module")
def translator(model: Path) -> Translator:
    return load(model, "cpu")


@pytest.fixture(scope="module")
def runtime() -> Path:
    return package("onnxruntime-web")


@pytest.fixture(scope="module")
def site(model: Path, runtime: Path) -> Path:
    """The page of the model, made on the command line."""
    pytest.importorskip("onnxscript")
    out = model.parent / "site"
    with pytest.MonkeyPatch.context() as patch:
        assert terminal.call(patch, *exporting(model, out, runtime, "--weights", "fp32")) == 0
    return out


def exporting(model: Path, out: Path, runtime: Path | str, *more: str) -> list[str]:
    return ["export", str(model), "--format", "web", "--out", str(out), "--runtime", str(runtime), *more]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a command that fails says, on one line."""

    def failing(*command: object) -> str:
        capsys.readouterr()
        assert terminal.call(monkeypatch, *command) == 2
        return " ".join(capsys.readouterr().err.replace("error:", "").split())

    return failing


@contextmanager
def served(folder: Path, **headers: str) -> Iterator[str]:
    """The address of a server of static files that sends no headers of note but these."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def end_headers(self) -> None:
            for header in headers.items():
                self.send_header(*header)
            super().end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@dataclass
class Page:
    """A document with the engine of an exported page, what it asked for, and the note of its engine."""

    visit: Visit
    address: str
    note: str = ""

    def run(self, script: str, *given: Any) -> Any:
        return self.visit.page.evaluate(script, *given)

    def translate(self, way: str, image: bytes, style: bytes | None = None, **changes: Any) -> Image.Image:
        """By the browser, with changes of the source's preparation."""
        given = [way, coded(image), changes, style and coded(style)]
        made = Image.open(io.BytesIO(base64.b64decode(self.run(TRANSLATE, given))))
        made.load()
        return made

    def refusal(self, way: str, image: bytes) -> str:
        return str(self.run(CAUGHT % TRANSLATE, [way, coded(image), {}]))


CAUGHT = "async (given) => { try { await (%s)(given); } catch (error) { return error.message; } }"
EMPTY = "icon.svg"
"""A document that does nothing itself."""


@contextmanager
def opened(browser: Any, address: str, query: str = "") -> Iterator[Page]:
    with visiting(browser) as visit:
        visit.page.goto(address + EMPTY + query)
        yield Page(visit, address, visit.page.evaluate(OPEN))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with browsing() as started:
        yield started


@pytest.fixture(scope="module")
def page(site: Path, browser: Any) -> Iterator[Page]:
    with served(site) as address, opened(browser, address) as found:
        yield found


def same(translator: Translator, page: Page, way: str, image: bytes, most: int, **changes: Any) -> None:
    """The browser gives what `i2i translate` gives, but for so many greys."""
    source, target = way.split(":")
    domain = translator.domains[source]
    changed = replace(domain, preparation=replace(domain.preparation, **changes))
    expected = replace(translator, domains={**translator.domains, source: changed}).translate(image, target, source)
    made = page.translate(way, image, **changes)
    assert (made.size, made.mode) == (expected.size, expected.mode)
    assert np.abs(np.asarray(made, int) - np.asarray(expected, int)).max() <= most


def test_pictures_become_what_they_become_in_python(translator: Translator, page: Page) -> None:
    """Sizes that no divisor divides, transparency, a data set that scaled its files; and nothing else is asked for."""
    picture, clear = png(Image.fromarray(noise(33, 41, 3))), png(Image.fromarray(noise(30, 21, 4)))
    same(translator, page, "b:c", picture, 2)
    same(translator, page, "b:c", png(Image.fromarray(noise(5, 9, 3))), 2)
    for alpha in ("white", "black", "drop"):
        same(translator, page, "b:c", clear, 2, alpha=alpha)
    same(translator, page, "b:c", picture, 2, size=[20, 28])
    same(translator, page, "b:c", picture, 2, size=[20, 28], cover=True)
    assert "WebAssembly on one thread" in page.note
    assert page.run("progress.at(-1)") == [1, "ready"]
    assert page.visit.elsewhere(page.address) == []
    assert len([url for url in page.visit.asked if url.endswith((".wasm", "day-night-b-c.onnx"))]) == 2  # once each


def test_label_maps_become_what_they_become_in_python(translator: Translator, page: Page) -> None:
    numbers = np.array([1, 2, 3, 255], np.uint8)[noise(19, 22, most=4)]
    same(translator, page, "a:b", png(Image.fromarray(numbers)), 2)
    same(translator, page, "a:b", png(Image.fromarray(np.array(COLORS, np.uint8)[noise(19, 22, most=4)])), 2)
    made = page.translate("b:a", picture := png(Image.fromarray(noise(17, 20, 3))))
    expected = translator.translate(picture, "a", "b")
    assert made.mode == expected.mode == "P"
    assert (np.asarray(made) != np.asarray(expected)).mean() < 0.01  # scores that are nearly equal
    assert made.getpalette() == expected.getpalette()
    assert "trainedAlgorithmicMedia" in made.info["XML:com.adobe.xmp"]
    wrong = png(Image.fromarray(np.array([7, 9], np.uint8)[noise(9, 9, most=2)]))
    assert page.refusal("a:b", wrong) == "the label map holds 7, 9, outside the 4 classes of 'land'. Correct the map."
    painted = np.full((9, 9, 3), (250, 10, 12), np.uint8)
    assert "81 of 81 pixels have a colour that no class of 'land' has, most often (250, 10, 12); the nearest is 'rock'" in (
        page.refusal("a:b", png(Image.fromarray(painted)))
    )


FILES: dict[str, Callable[[], bytes]] = {
    "rgb": lambda: png(Image.fromarray(noise(23, 31, 3))),
    "rgba": lambda: png(Image.fromarray(noise(23, 31, 4))),
    "grey": lambda: png(Image.fromarray(noise(23, 31))),
    "grey and alpha": lambda: png(Image.fromarray(noise(23, 31, 2), "LA")),
    "grey of 16 bits": lambda: png(Image.fromarray(noise(23, 31, most=65536))),
    "black and white": lambda: png(Image.fromarray(noise(23, 31)).convert("1")),
    "palette": lambda: png(Image.fromarray(noise(23, 31, 3)).quantize(16)),
    "palette with a transparent place": lambda: png(
        Image.fromarray(noise(23, 31, 3)).quantize(200), transparency=bytes([0, 99])
    ),
    "a transparent colour": lambda: png(Image.fromarray(noise(23, 31, 3) // 200), transparency=(0, 1, 0)),
}


@pytest.mark.parametrize("name", FILES)
def test_files_are_read_as_python_reads_them(page: Page, name: str) -> None:
    """Within one grey at every place, as colours, as greys and with transparency; scaled too."""
    file = FILES[name]()
    for channels, preparation in (
        (3, Preparation()),
        (3, Preparation(alpha="drop", range=(20, 200))),
        (1, Preparation(alpha="black", size=(17, 40))),
        *([(4, Preparation(size=(40, 17), cover=True))] if name != "grey of 16 bits" else []),
    ):
        domain = Domain("day", "image", channels, preparation=preparation)
        expected = finished(prepared(file, domain), labels=False).numpy()
        c, h, w, data = page.run(PREPARE, [coded(file), given(domain)])
        made = np.frombuffer(base64.b64decode(data), np.float32).reshape(c, h, w)
        assert made.shape == expected.shape
        assert np.abs(made - expected).max() <= 1.01 / 127.5


def test_borders_of_classes_stand_for_instances(page: Page) -> None:
    """As where `i2i translate` is given a picture, which has no instances."""
    domain = Domain("land", "labels", 5, ("sea", "rock", "tree", "snow"), COLORS, True, Preparation(size=(19, 24)))
    file = png(Image.fromarray(noise(13, 12, most=4)))
    expected = to_network(finished(prepared(file, domain), labels=True)[None], domain)[0].numpy()
    classes = [{"name": name, "color": "#000000", "value": i} for i, name in enumerate(domain.classes)]
    c, h, w, data = page.run(PREPARE, [coded(file), {**given(domain), "classes": classes}])
    assert np.array_equal(np.frombuffer(base64.b64decode(data), np.float32).reshape(c, h, w), expected)


def test_photographs_are_upright(page: Page) -> None:
    """A JPEG that lies on its side; browsers and Pillow decode JPEG a little differently."""
    stream, exif = io.BytesIO(), Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    smooth = np.add.outer(np.arange(40) * 5, np.arange(60) * 1).astype(np.uint8)
    Image.fromarray(np.stack([smooth, smooth, 255 - smooth], -1)).save(stream, "JPEG", quality=95, exif=exif)
    domain = Domain("day", "image", 3)
    expected = finished(prepared(stream.getvalue(), domain), labels=False).numpy()
    c, h, w, data = page.run(PREPARE, [coded(stream.getvalue()), given(domain)])
    assert (c, h, w) == expected.shape == (3, 60, 40)
    assert np.abs(np.frombuffer(base64.b64decode(data), np.float32).reshape(c, h, w) - expected).max() <= 4 / 127.5


def test_what_is_not_a_picture_is_refused_with_a_sentence(page: Page) -> None:
    whole = png(Image.fromarray(noise(23, 31, 3)))
    jpeg = io.BytesIO()
    Image.fromarray(noise(9, 9)).save(jpeg, "JPEG")
    said = {
        b"": "the file is empty (0 bytes). Give a picture.",
        b"%!PS-Adobe": "this is not a picture that this browser can read. Give a PNG, JPEG or WebP file.",
        whole[: len(whole) // 2]: "the PNG is corrupt or truncated. Replace the file.",
        bomb(): "the picture is too large: 60000 x 60000 pixels; the limit is 16777216 pixels. Scale it down.",
    }
    assert {file: page.refusal("b:c", file) for file in said} == said
    assert "this label map is a JPEG" in page.refusal("a:b", jpeg.getvalue())


def bomb() -> bytes:
    """A PNG that says of itself that it is huge."""
    made = bytearray(png(Image.new("1", (8, 8))))
    made[16:24] = (60000).to_bytes(4, "big") * 2
    return bytes(made)


def test_a_changed_file_and_a_missing_one_are_refused(site: Path, browser: Any, tmp_path: Path) -> None:
    copy = tmp_path / "site"
    shutil.copytree(site, copy, copy_function=os.link)
    model = copy / "models" / "day-night-b-c.onnx"
    changed = bytearray(model.read_bytes())
    changed[len(changed) // 2] ^= 1
    model.unlink()
    model.write_bytes(changed)
    (copy / "models" / "land-day-a-b.onnx").unlink()
    manifest = json.loads((copy / "manifest.json").read_bytes())
    manifest["models"][0]["files"]["b:a"]["check"]["values"][7] += 1
    (copy / "manifest.json").unlink()
    (copy / "manifest.json").write_text(json.dumps(manifest))
    picture = png(Image.fromarray(noise(16, 16, 3)))
    with served(copy) as address, opened(browser, address) as page:
        assert "day-night-b-c.onnx: this is not the file that was exported (its SHA-256 differs)" in page.refusal(
            "b:c", picture
        )
        numbers = png(Image.fromarray(noise(9, 9, most=2) + np.uint8(1)))
        assert "land-day-a-b.onnx: the server has no such file (404)" in page.refusal("a:b", numbers)
        said = page.refusal("b:a", picture)
        assert re.fullmatch(r"this browser's results differ from .* export, by 12\d greys\. Use another browser\.", said)


def test_the_page_itself_works_and_again_without_a_network(site: Path, browser: Any) -> None:
    """All of it: a person opens it, it computes what is painted, and what it says; then the network is cut."""
    with served(site) as address, visiting(browser) as visit:
        page = visit.page
        for attempt in range(2):
            page.goto(address)
            page.wait_for_selector("html[data-ready=true]")
            page.get_by_text("Translated in").wait_for()
            assert "computing with WebAssembly on one thread" in page.locator("#note").inner_text()
            if attempt == 0:
                page.wait_for_function("navigator.serviceWorker.controller")
                page.context.set_offline(True)
        assert visit.elsewhere(address) == visit.wrong == []


def test_a_style_is_a_picture_or_fixed(runtime: Path, browser: Any, tmp_path: Path) -> None:
    """Without a picture it is that of seed 0. The page has no seeds, as it cannot draw as torch does."""
    pytest.importorskip("onnxscript")
    torch.manual_seed(1)
    model = of(Tinted())
    with pytest.raises(UserError, match="--style-input"):
        export_web(model, tmp_path / "tinted", tmp_path / "site", found_runtime(str(runtime)))
    export_web(model, tmp_path / "tinted", tmp_path / "site", found_runtime(str(runtime)), style_input=True)
    (described,) = json.loads((tmp_path / "site" / "manifest.json").read_bytes())["models"]
    assert (described["title"], described["draws"], described["style"], described["mix"]) == ("tinted", False, True, False)
    picture, style = (png(Image.fromarray(noise(17, 19, 3, seed=seed))) for seed in (0, 1))
    dark = png(Image.fromarray(noise(40, 33, 3, most=60)))
    with served(tmp_path / "site") as address, opened(browser, address) as page:
        made = [np.asarray(page.translate("a:b", picture, style), int) for style in (None, style, dark)]
    expected = [np.asarray(model.translate(picture, style=style), int) for style in (None, style, dark)]
    assert np.abs(np.array(made) - expected).max() <= 2
    assert np.abs(made[2] - made[1]).mean() > 20


def test_a_page_that_is_opened_as_a_file_says_what_to_do(site: Path, browser: Any) -> None:
    with visiting(browser) as visit:
        visit.page.goto((site / "index.html").as_uri())
        assert "cannot be opened as a file" in visit.page.locator("#trouble").inner_text()
        assert "python -m http.server --bind 127.0.0.1" in visit.page.locator("#trouble").inner_text()


def test_a_browser_without_vectors_is_told(site: Path, browser: Any) -> None:
    lacking = "WebAssembly.validate = () => false;\n" + (site / "engine-worker.js").read_text()
    with served(site) as address, visiting(browser, service_workers="block") as visit:
        visit.page.route("**/engine-worker.js", lambda route: route.fulfill(body=lacking, content_type="text/javascript"))
        visit.page.goto(address + EMPTY)
        assert visit.page.evaluate(CAUGHT % OPEN) == (
            "this browser cannot compute the model: it lacks WebAssembly with SIMD. Use a browser of 2023 or later."
        )


def test_webgpu_computes_the_same(site: Path, translator: Translator, browser: Any) -> None:
    """In software, by SwiftShader; a graphics card is not needed."""
    flags = ["--no-sandbox", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"]
    other = browser.browser_type.launch(executable_path=chromium(), args=flags)
    with served(site) as address, opened(other, address, "?compute=webgpu") as page:
        if page.note != "computing with WebGPU":
            pytest.skip(f"this Chromium has no WebGPU: {page.note}")
        same(translator, page, "b:c", png(Image.fromarray(noise(32, 32, 3))), 2)
        assert page.run("engine.note") == "computing with WebGPU"
    other.close()


def test_a_folder_of_something_else_is_not_replaced(model: Path, site: Path, runtime: Path, tmp_path: Path, said: Any) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    assert "other: it exists and is not an exported page" in said(*exporting(model, other, runtime, "--overwrite"))
    assert "site: an exported page is there already" in said(*exporting(model, site, runtime))
    assert "no such folder" in said(*exporting(model, tmp_path / "no" / "site", runtime))
    assert [path.name for path in tmp_path.rglob("*")] == ["other", "thesis.txt"]


def test_a_runtime_that_cannot_be_used_is_named(model: Path, runtime: Path, tmp_path: Path, said: Any) -> None:
    out, folder = tmp_path / "site", tmp_path / "runtime"
    shutil.copytree(runtime / "dist", folder, ignore=unneeded, copy_function=os.link)
    (folder / "ort-wasm-simd-threaded.wasm").unlink()
    assert "lacks ort-wasm-simd-threaded.wasm. Give the folder of the npm package" in said(*exporting(model, out, folder))
    (folder / "ort-wasm-simd-threaded.wasm").touch()
    old = (folder / "ort.jspi.bundle.min.mjs").read_bytes().replace(b"Web v1.30.0", b"Web v1.29.0", 1)
    (folder / "ort.jspi.bundle.min.mjs").unlink()
    (folder / "ort.jspi.bundle.min.mjs").write_bytes(old)
    assert "is of onnxruntime-web 1.29.0; this page is made for 1.30.0" in said(*exporting(model, out, folder))
    assert "is not a folder. Give the folder" in said(*exporting(model, out, tmp_path / "none"))
    command = exporting(model, out, folder)
    assert "give --runtime: the folder of the npm package" in said(*command[:-2])
    assert "--runtime is for --format web" in said(*[word if word != "web" else "onnx" for word in command])
    assert not out.exists()
    for name, (size, digest) in PINNED.items():
        data = (runtime / "dist" / name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (size, digest)


def test_npm_is_asked_and_what_it_brings_is_checked(
    model: Path, tmp_path: Path, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = exporting(model, tmp_path / "site", "npm")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "there is no program npm. Install Node.js" in said(*command)
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'getaddrinfo EAI_AGAIN' >&2\nexit 1\n")
    npm.chmod(0o755)
    assert "npm could not fetch onnxruntime-web 1.30.0 (getaddrinfo EAI_AGAIN). Check the network" in said(*command)
    npm.write_text('#!/bin/sh\n[ "$*" = "pack onnxruntime-web@1.30.0 --ignore-scripts --silent" ] && echo > x.tgz\n')
    assert "what npm fetched is not onnxruntime-web 1.30.0: its SHA-512 differs" in said(*command)
    assert not (tmp_path / "site").exists()


@pytest.fixture
def as_before(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports take the networks of the page that there is, which saves their time; that of one direction fails."""
    import onnx_ir

    def again(translator: Translator, form: str, path: Path, to: str, source: str, **how: Any) -> Exported:
        if to == "a":
            raise UserError("this model draws random numbers.")
        ready = onnx_ir.load(site / "models" / path.name)
        stored(ready, how["weights"])
        onnx_ir.save(ready, path)
        facts = {name: json.loads(fact) for name, fact in ready.metadata_props.items()}
        return Exported(path, (), 0.0, how["weights"], {}, path, facts)

    monkeypatch.setattr(web, "export", again)


def test_directions_that_cannot_be_exported_are_left_out(
    model: Path, runtime: Path, tmp_path: Path, as_before: None, monkeypatch: pytest.MonkeyPatch, capsys: Any, said: Any
) -> None:
    out = tmp_path / "site"
    assert terminal.call(monkeypatch, *exporting(model, out, runtime)) == 0
    assert "day → land: left out: this model draws random numbers." in capsys.readouterr().out
    manifest = json.loads((out / "manifest.json").read_bytes())
    assert list(manifest["models"][0]["files"]) == [one["id"] for one in manifest["models"][0]["directions"]] == ["a:b", "b:c"]
    assert said(*exporting(model, out, runtime, "--overwrite", "--to", "land")) == "i2i: this model draws random numbers."
    assert terminal.call(monkeypatch, *exporting(model, out, runtime, "--overwrite", "--to", "night")) == 0
    assert [path.name for path in (out / "models").iterdir()] == ["day-night-b-c.onnx"]
    assert [path.name for path in tmp_path.iterdir()] == ["site"]
    listed = {path.name for path in (out / "runtime").iterdir()}
    assert listed == {*PINNED, "LICENCE.txt"}


def test_a_runtime_from_a_cdn_is_pinned(
    model: Path, translator: Translator, runtime: Path, tmp_path: Path, as_before: None, browser: Any,
    monkeypatch: pytest.MonkeyPatch, capsys: Any,
) -> None:  # fmt: skip
    out, wrong = tmp_path / "site", tmp_path / "wrong"
    shutil.copytree(runtime / "dist", wrong, ignore=unneeded, copy_function=os.link)
    (wrong / BUILDS["wasm"][0]).unlink()
    (wrong / BUILDS["wasm"][0]).write_text("alert(1)")
    picture = png(Image.fromarray(noise(16, 16, 3)))
    for folder in (wrong, runtime / "dist"):
        with served(folder, **{"Access-Control-Allow-Origin": "*"}) as cdn:
            monkeypatch.setattr("i2i_export.runtime.CDN", cdn)
            assert terminal.call(monkeypatch, *exporting(model, out, "cdn", "--to", "night", "--overwrite")) == 0
            assert "which was never tested with a network" in capsys.readouterr().out
            assert not (out / "runtime").exists()
            with served(out) as address, opened(browser, address) as page:
                if folder == wrong:
                    assert "ort.wasm.bundle.min.mjs: this is not the file that was exported" in page.refusal("b:c", picture)
                    continue
                same(translator, page, "b:c", picture, 6)  # the weights have 16 bits
                elsewhere = {*page.visit.elsewhere(page.address)}
                assert elsewhere == {cdn + file for file in BUILDS["wasm"]}


def unneeded(_: str, names: list[str]) -> list[str]:
    return [name for name in names if name not in PINNED]


def given(domain: Domain) -> dict[str, Any]:
    """The domain as a description has it."""
    preparation = json.loads(json.dumps(vars(domain.preparation)))
    return {"name": domain.name, "kind": domain.kind, "channels": domain.channels, "classes": [], "preparation": preparation}
