"""Only picture files of the formats on our list are opened, whatever their names; no other program starts for one."""

import io
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets  # type: ignore[import-untyped]
import numpy as np
import pytest
from datasets import Features
from datasets import Image as ImageFeature
from PIL import EpsImagePlugin, Image

from i2i.errors import UserError
from i2i.pictures.formats import FORMATS, refused_format
from i2i.pictures.pixels import read_picture
from i2i.pictures.sources import Blob
from i2i.protocols import Domain
from i2i.registry import Registry
from i2i.translation.loading import load
from i2i.translation.model_folder import Origin, save_model
from i2i_data.folders import folders
from i2i_data.hub import hub
from i2i_data.label_maps import labels
from i2i_provenance.inspection import inspect
from i2i_serve.limits import Limits
from i2i_serve.service import Asked, Service
from i2i_translate.blending import Blend
from i2i_translate.file_translation import translate_files
from i2i_translate.inputs import gather
from i2i_translate.requests import Finish, Request
from pictures_on_disk import noise, png, write
from test_translate_cli import Negative, Plugin

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 24 20\n%%EndComments\nshowpage\n%%EOF\n"
REFUSED = r"format EPS; i2i reads PNG, JPEG"
DOMAINS = {"a": Domain("day", "image", 3), "b": Domain("night", "image", 3), "c": Domain("land", "labels", 3)}


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that a Ghostscript leaves behind when it is started."""
    mark = tmp_path / "gs-was-started"
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "gs").write_text(f"#!/bin/sh\ntouch {mark}\necho 10.0\n[ $1 = --version ]\n")
    (tools / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    return mark


@contextmanager
def refused(started: Path) -> Iterator[None]:
    with pytest.raises(UserError, match=REFUSED):
        yield
    assert not started.exists()


@pytest.fixture
def model(tmp_path: Path) -> Any:
    ways = (("a", "b"), ("b", "a"))
    module = Negative(domains=DOMAINS, directions=ways, drawing=True)
    options = {"drawing": True}
    save_model(tmp_path / "model", module, {"": Origin("negative", "mine", "1", options)}, domains=DOMAINS, directions=ways)
    return load(tmp_path / "model", "cpu", registry=Registry({"mine": Plugin()}))


def test_ghostscript_is_found_by_pillow(started: Path) -> None:
    """What the other tests rely on."""
    with pytest.raises(subprocess.CalledProcessError), Image.open(io.BytesIO(EPS)) as opened:
        opened.load()
    assert started.exists()


def test_training_data_in_folders(started: Path, tmp_path: Path) -> None:
    for side in ("a", "b", "maps"):
        write(tmp_path / side / "0.png", noise(0))
        (tmp_path / side / "1.png").write_bytes(EPS)
    place = {"a": str(tmp_path / "a"), "b": str(tmp_path / "b")}
    with refused(started):
        folders(**place)
    with refused(started):
        folders(**place, corrupt="keep")[1]
    assert len(folders(**place, corrupt="skip")) == 1
    with refused(started):
        labels(maps=str(tmp_path / "maps"), images=str(tmp_path / "a"), classes=256, corrupt="keep")[1]
    assert not started.exists()


@pytest.mark.parametrize("streaming", [False, True])
def test_columns_of_tables(started: Path, tmp_path: Path, streaming: bool) -> None:
    good, bad = ([{"bytes": data, "path": "x.png"}] * 2 for data in (png(noise(0)), EPS))
    rows = {"imageA": good, "imageB": good, "other": bad}
    table = datasets.Dataset.from_dict(rows, features=Features({name: ImageFeature() for name in rows}))
    table.to_parquet(tmp_path / "x.parquet")
    options: dict[str, Any] = {"source": str(tmp_path / "x.parquet"), "cache": str(tmp_path / "cache"), "streaming": streaming}
    options |= {"samples": 2} if streaming else {}
    assert hub(**options)[1]["a"].shape[0] == 3  # the other column is not decoded
    with refused(started):
        hub(**options, columns=("imageA", "other"))[1]
    by = {"columns": ("imageA", "imageA"), "by": "other", "values": ("x", "y"), "paired": False}
    with pytest.raises(UserError, match="column 'other' holds pictures, not labels"):
        hub(**options, **by)  # type: ignore[arg-type]
    assert not started.exists()


def test_translation_its_masks_and_styles(started: Path, tmp_path: Path, model: Any) -> None:
    bad, good = tmp_path / "x.png", write(tmp_path / "good.png", noise(0))
    bad.write_bytes(EPS)
    for call in (
        lambda: model.translate(bad, "night"),
        lambda: model.translate(good, "night", style=bad),
        lambda: translate_files(model, Request([bad], "night"), Finish(tmp_path / "out")),
        lambda: translate_files(model, Request([good], "night", styles=[bad]), Finish(tmp_path / "out")),
        lambda: translate_files(model, Request([good], "night", mask=bad), Finish(tmp_path / "out")),
        lambda: Blend.of(1.0, bad, DOMAINS["a"], DOMAINS["b"]),
        lambda: Blend.of(1.0, Image.open(io.BytesIO(EPS)), DOMAINS["a"], DOMAINS["b"]),
        lambda: model.translate(Image.open(io.BytesIO(EPS)), "night"),
        lambda: inspect(bad),
    ):
        with refused(started):
            call()
    assert not (tmp_path / "out").exists()


def test_a_folder_gives_the_pictures_that_are_read(started: Path, tmp_path: Path) -> None:
    for name in ("x.png", "x.jpg", "x.eps", "x.pdf", "x.h5"):
        write(tmp_path / "in" / "good.png", noise(0)).rename(tmp_path / "in" / name)
    assert [item.path.name for item in gather([tmp_path / "in"], tmp_path / "out")] == ["x.jpg", "x.png"]


def test_uploads(started: Path, tmp_path: Path, model: Any) -> None:
    service = Service(model, Limits(), "toy")
    good, bad = Blob(write(tmp_path / "good.png", noise(0)).read_bytes(), "good.png"), Blob(EPS, "bad.png")
    with refused(started):
        service.translate(Asked(bad, "day → night"))
    with refused(started):
        service.translate(Asked(good, "day → night", styles=[bad]))


@pytest.mark.parametrize("form", FORMATS)
def test_each_format_on_the_list_is_read_by_its_content(form: str, tmp_path: Path) -> None:
    pixels = Image.fromarray(noise(0, 32, 32))
    file = io.BytesIO()
    if form in Image.SAVE:
        pixels.save(file, form)
    else:  # Pillow reads it only: a PSD of one raw layer
        head = b"8BPS\0\1" + bytes(6) + b"\0\3" + (32).to_bytes(4, "big") * 2 + b"\0\x08\0\3" + bytes(12) + b"\0\0"
        file.write(head + np.asarray(pixels).transpose(2, 0, 1).tobytes())
    (tmp_path / "x.eps").write_bytes(file.getvalue())
    for picture in (read_picture(tmp_path / "x.eps"), read_picture(Blob(file.getvalue(), "x"))):
        difference = np.asarray(picture.convert("RGB").resize((32, 32))).astype(float) - np.asarray(pixels)
        assert abs(difference).mean() < (50 if form in ("JPEG", "WEBP", "AVIF", "GIF", "ICNS") else 1e-9)


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("EPS", EPS),
        ("EPS", b"\xc5\xd0\xd3\xc6" + bytes(40)),
        ("PDF", b"%PDF-1.7\n"),
        ("WMF", b"\xd7\xcd\xc6\x9a\0\0" + bytes(40)),
        ("SVG", b'<?xml version="1.0"?>\n<svg width="1">'),
        ("HEIC", b"\0\0\0\x18ftypheic" + bytes(20)),
        ("HDF5", b"\x89HDF\r\n\x1a\n" + bytes(20)),
        ("FITS", b"SIMPLE  =                    T" + bytes(20)),
    ],
)
def test_other_formats_are_refused_by_name(name: str, head: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(head)
    with pytest.raises(UserError, match=rf"x\.png: .* format {name}; i2i reads PNG, JPEG"):
        read_picture(tmp_path / "x.png")
    assert refused_format(png(noise(0))) is None


def test_a_video_is_no_picture(tmp_path: Path) -> None:
    for head in (b"\0\0\0\x18ftypisom", b"\0\0\0\x18ftyp3gp5", b"\0\0\0\x08wide", b"\x1a\x45\xdf\xa3", b"RIFF\0\0\0\0AVI "):
        (tmp_path / "x.png").write_bytes(head + bytes(20))
        with pytest.raises(UserError, match=r"x\.png: this is a video, not a picture"):
            read_picture(tmp_path / "x.png")


def test_no_other_place_opens_a_picture_file(root: Path) -> None:
    opening = re.compile(r"\bImage\.open\((?!.*formats=)")
    sources = [path for part in ("core", "plugins", "benchmarks") for path in (root / part).rglob("*.py")]
    assert [path for path in sources if opening.search(path.read_text())] == []


@pytest.mark.parametrize("size", range(1, 17))
def test_files_of_a_few_bytes_are_one_sentence(size: int) -> None:
    with pytest.raises(UserError, match="not a picture of a known format"):
        read_picture(Blob(b"abcdefghijklmnop"[:size], "x"))


def test_comments_do_not_hold_up_the_look_for_an_svg() -> None:
    code = "from i2i.pictures.formats import refused_format; print(refused_format(b'<!---->' * 73))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert told.stdout == "None\n"
    assert refused_format(b"<!-- a -->\n<!-- <b> -->" * 9 + b"<svg>") == "SVG"
