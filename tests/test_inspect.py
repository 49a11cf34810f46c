"""``i2i inspect``: what we write is read again from every format, and what others write is told too."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from i2i.cli import app
from i2i.errors import UserError
from i2i_provenance.inspection import Statement, inspect
from i2i_provenance.metadata import fingerprint, packet, png_options

CONFIG: dict[str, Any] = {
    "i2i": "1.2",
    "generator": {
        "ab": {"plugin": "p", "name": "one", "version": "3"},
        "ba": {"plugin": "q", "name": "<&\"two'", "version": ""},
    },
}
MADE = Statement("trainedAlgorithmicMedia", "i2i 1.2", "p:one 3, q:<&\"two'", fingerprint(CONFIG))
HEAD = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
IPTC = 'xmlns:i="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'


def write(path: Path, xmp: str | None) -> Path:
    picture = Image.new("RGB", (6, 5), "teal")
    data = None if xmp is None else xmp.encode()
    if path.suffix == ".png":
        picture.save(path, **(png_options(CONFIG) if xmp else {}))
    else:
        picture.save(path, **({} if data is None else {"tiffinfo": {700: data}} if path.suffix == ".tiff" else {"xmp": data}))
    return path


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff"])
def test_what_is_written_is_read_again(tmp_path: Path, suffix: str) -> None:
    assert inspect(write(tmp_path / f"made.{suffix}", packet(CONFIG))) == MADE
    assert MADE.trained
    assert inspect(write(tmp_path / f"bare.{suffix}", None)) is None


@pytest.mark.parametrize(
    "body",
    [
        '<rdf:Description {} i:DigitalSourceType="{}"/>',
        '<rdf:Description {}><i:DigitalSourceType rdf:resource="{}"/></rdf:Description>',
        "<rdf:Description {}><i:DigitalSourceType>{}</i:DigitalSourceType></rdf:Description>",
    ],
)
@pytest.mark.parametrize(("kind", "trained"), [("digitalCapture", False), ("compositeWithTrainedAlgorithmicMedia", True)])
def test_statements_of_others_in_every_spelling(tmp_path: Path, body: str, kind: str, trained: bool) -> None:
    address = f"http://cv.iptc.org/newscodes/digitalsourcetype/{kind}"
    found = inspect(write(tmp_path / "x.jpg", f"{HEAD}{body.format(IPTC, address)}</rdf:RDF></x:xmpmeta>"))
    assert found == Statement(kind)
    assert found.trained is trained


def test_metadata_without_a_statement(tmp_path: Path) -> None:
    body = '<rdf:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:CreatorTool="Camera 7"/>'
    assert inspect(write(tmp_path / "x.jpg", f"{HEAD}{body}</rdf:RDF></x:xmpmeta>")) is None


def test_the_statement_outlives_an_orientation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (6, 5)).save(tmp_path / "x.jpg", xmp=packet(CONFIG).encode(), exif=exif)
    assert inspect(tmp_path / "x.jpg") == MADE


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file"),
        (b"", "the file is empty"),
        (b"no picture", "not a picture"),
        ("cut", "corrupt or truncated"),
        ("<x:xmpmeta", "its XMP metadata cannot be read"),
        ('<!DOCTYPE x [<!ENTITY a "aaa">]><x>&a;</x>', "document type"),
    ],
)
def test_bad_files(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "x.jpg"
    if isinstance(content, str):
        data = write(path, packet(CONFIG) if content == "cut" else content).read_bytes()
        path.write_bytes(data[:-200] if content == "cut" else data)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=rf"x\.jpg: .*{message}"):
        inspect(path)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("made.png"), packet(CONFIG))
    write(Path("bare.jpg"), None)
    text = CliRunner().invoke(app, ["inspect", "made.png", "bare.jpg"]).output
    assert text.startswith("made.png: made by a trained algorithm\n  tool: i2i 1.2\n  model: p:one 3")
    assert "bare.jpg: no provenance metadata and no i2i watermark. That proves nothing" in text
    told = json.loads(CliRunner().invoke(app, ["inspect", "made.png", "bare.jpg", "--json"]).output)
    assert [entry["made_by_trained_algorithm"] for entry in told] == [True, None]
    assert told[0]["recipe"] == MADE.recipe
    outcome = CliRunner().invoke(app, ["inspect", "bare.jpg", "gone.png"])
    assert "bare.jpg: no provenance" in outcome.output
    assert isinstance(outcome.exception, UserError)
    assert "gone.png: there is no such file" in str(outcome.exception)


@pytest.mark.parametrize("size", [0, 1, 7, 2**31, 2**64 - 1])
def test_boxes_of_any_size_in_a_video_are_passed_over(size: int, tmp_path: Path) -> None:
    head = struct.pack(">I4s4sI", 16, b"ftyp", b"isom", 0)
    (tmp_path / "x.mp4").write_bytes(head + struct.pack(">I4sQ", 1, b"free", size) + bytes(64))
    assert inspect(tmp_path / "x.mp4") is None
