"""The description of a model that the page reads, and the page's files."""

import json
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

import i2i_page
import toy
from i2i.protocols import Domain, Preparation
from i2i.registry import Registry
from i2i.translation.loading import load
from i2i.translation.model_folder import Origin, save_model
from i2i.translation.translator import Translator
from i2i_page.description import describe, is_drawing
from i2i_page.facts import card_of

MAPS = Domain(
    "maps", "labels", 3, ("sea", "land", "<b>ice</b>"), ((0, 0, 255), (0, 128, 0), (255, 255, 255)),
    preparation=Preparation(offset=-1, values=((255, 2),)),
)  # fmt: skip
PHOTO = Domain("photo", "image", 3)


def translator(folder: Path, source: Domain = MAPS, target: Domain = PHOTO, **recorded: object) -> Translator:
    """A tiny model between two domains."""
    domains, ways = {"a": source, "b": target}, (("a", "b"),)
    registry = Registry(plugins={"toy": toy})
    module = registry.get("generator", "toy").factory(domains=domains, directions=ways)
    save_model(folder, module, {"": Origin("toy", "toy", "1", {})}, domains=domains, directions=ways, extra=dict(recorded))
    return load(folder, "cpu", registry=registry)


def test_a_description_is_plain_and_says_how_label_files_are_numbered(tmp_path: Path) -> None:
    model = translator(
        tmp_path, step=2000, sizes={"a": [8, 16], "b": [8, 16]}, recipe={"dataset": {"name": "x\x1b", "paired": True}}
    )
    sample = {"direction": "a:b", "url": "samples/m/0.png"}
    told = describe(model, id="m", title="M", samples=[sample], card="# M", drawings=["b"])
    assert json.loads(json.dumps(told)) == told
    assert told["directions"] == [{"id": "a:b", "source": "a", "target": "b", "label": "maps → photo", "blends": False}]
    maps, photo = told["domains"]["a"], told["domains"]["b"]
    assert maps["classes"] == [
        {"name": "sea", "color": "#0000ff", "value": 1},
        {"name": "land", "color": "#008000", "value": 2},
        {"name": "<b>ice</b>", "color": "#ffffff", "value": 255},
    ]
    assert (maps["size"], maps["line"], photo["line"], photo["classes"]) == ([8, 16], False, True, [])
    assert maps["preparation"]["values"] == [[255, 2]]
    assert (told["samples"], told["card"], told["style"], told["draws"]) == ([sample], "# M", False, False)
    facts = dict(told["facts"])
    assert facts["Trained on"] == "x\\x1b: maps and photo, paired"
    assert facts["Steps"] == "2,000"
    assert facts["Trained at"] == "16 x 8"
    assert "trainedAlgorithmicMedia" in told["provenance"]
    assert told["smallest"] % told["divisor"] == 0


def test_classes_without_names_and_colours_get_different_ones(tmp_path: Path) -> None:
    classes = describe(translator(tmp_path, Domain("m", "labels", 40)), id="m", title="m")["domains"]["a"]["classes"]
    assert len({one["color"] for one in classes}) == 40
    assert (classes[7]["name"], classes[7]["value"]) == ("class 7", 7)


def test_images_of_equal_channels_blend(tmp_path: Path) -> None:
    told = describe(translator(tmp_path, PHOTO, Domain("night", "image", 3)), id="m", title="m")
    assert told["directions"][0]["blends"]


def test_a_card_is_the_readme_or_what_is_known(tmp_path: Path) -> None:
    model = translator(tmp_path / "model")
    known = card_of(model, tmp_path / "model", "mine")
    assert known.startswith("# mine\n")
    assert "i2i translate ./mine " in known  # a folder, never a name on the hub
    (tmp_path / "model" / "README.md").write_text("---\nlicense: mit\n---\n\n# Theirs\n")
    assert card_of(model, tmp_path / "model", "mine") == "# Theirs\n"
    assert card_of(model, tmp_path, "mine") == "# Theirs\n"  # a run folder holds its model


def test_a_line_drawing_is_told_from_a_photograph() -> None:
    drawing = Image.new("L", (64, 64), 255)
    ImageDraw.Draw(drawing).ellipse((10, 10, 50, 50), outline=0, width=2)
    assert is_drawing(drawing)
    ImageDraw.Draw(drawing).ellipse((4, 4, 59, 50), fill=0)  # thick strokes and filled shapes, as of the sample emoji
    assert is_drawing(drawing)
    assert not is_drawing(Image.effect_noise((64, 64), 60))
    assert not is_drawing(Image.new("L", (64, 64), 255))


def test_the_files_are_those_of_one_page() -> None:
    files = i2i_page.files()
    assert {"index.html", "style.css", "app.js", "engine-server.js"} <= set(files)
    for name, content in files.items():
        assert b"\r" not in content
        if name.endswith(".js"):
            assert len(content.splitlines()) <= 300, name
    addresses = [word for content in files.values() for word in content.split() if b"//" in word and b"http" in word]
    told = (b"www.w3.org", b"ns.adobe.com", b"127.0.0.1")  # names of formats, and what to open on this machine
    assert all(any(name in word for name in told) for word in addresses), addresses


@pytest.mark.parametrize("word", [b"innerHTML", b"outerHTML", b"insertAdjacentHTML", b"document.write", b"eval("])
def test_no_file_turns_text_into_markup_or_code(word: bytes) -> None:
    assert [name for name, content in i2i_page.files().items() if name != "index.html" and word in content] == []
