"""The watermark outlives JPEG and resizing, is not seen, accuses no unmarked picture, and is refused where it cannot be put."""

import hashlib
import io
import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

import i2i_earth
import toy
from i2i.cli import app
from i2i.errors import UserError
from i2i.protocols import Domain
from i2i.registry import default_registry
from i2i.translation.model_folder import Origin, save_model
from i2i_provenance import watermark
from i2i_provenance.inspection import Statement, inspect, lines, to_json
from i2i_provenance.metadata import png_options
from i2i_provenance.watermark import SMALLEST, THRESHOLD, found, mark, score
from test_inspect import CONFIG

Picture = Image.Image
SIZES = ((SMALLEST, SMALLEST), (200, 131), (256, 256), (640, 400))
DOMAINS = {"a": Domain("day", "image", 3), "b": Domain("night", "image", 3)}


@cache
def whole(name: str) -> Picture:
    return Image.open(Path(i2i_earth.__file__).parent / "data" / f"{name}.jpg").convert("RGB")


def crop(name: str, size: tuple[int, int], x: int = 700, y: int = 300) -> Picture:
    return whole(name).crop((x, y, x + size[0], y + size[1]))


def pictures(size: tuple[int, int]) -> list[Picture]:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    plain = [Image.new("RGB", size, colour) for colour in ("white", "black", "orange")]
    return [*(crop(name, size) for name in ("day", "night", "oldmap")), Image.fromarray(noise), *plain]


def jpeg(picture: Picture, quality: int) -> Picture:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file)


def psnr(a: Picture, b: Picture) -> float:
    return float(10 * np.log10(255**2 / np.mean((np.asarray(a, np.float64) - np.asarray(b, np.float64)) ** 2)))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("quality", [60, 70, 80, 90])
def test_it_outlives_jpeg(size: tuple[int, int], quality: int) -> None:
    assert all(found(jpeg(mark(picture), quality)) for picture in pictures(size))


@pytest.mark.parametrize("size", SIZES[2:])
@pytest.mark.parametrize("factor", [0.5, 0.75, 1.5])
@pytest.mark.parametrize("kind", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS])
def test_it_outlives_resizing(size: tuple[int, int], factor: float, kind: Image.Resampling) -> None:
    for picture in pictures(size):
        other = mark(picture).resize((round(size[0] * factor), round(size[1] * factor)), kind)
        assert found(other)
        assert found(other.resize(size, kind))
        assert found(jpeg(other, 75))


def test_it_outlives_other_proportions_noise_and_contrast() -> None:
    marked = mark(crop("day", (400, 400)))
    noise = np.random.default_rng(0).normal(0, 4, (400, 400, 3))
    assert found(marked.resize((300, 500)))
    assert found(Image.fromarray((np.asarray(marked) + noise).round().clip(0, 255).astype(np.uint8)))
    assert found(marked.point(lambda value: value * 0.85))


@pytest.mark.parametrize(("size", "bound"), [*((size, 41.5) for size in SIZES[:2]), *((size, 46.5) for size in SIZES[2:])])
def test_it_is_not_seen(size: tuple[int, int], bound: float) -> None:
    for picture in pictures(size):
        marked = mark(picture)
        assert (marked.mode, marked.size) == (picture.mode, picture.size)
        assert psnr(picture, marked) > bound


def test_unmarked_pictures_are_not_accused() -> None:
    generator = np.random.default_rng(3)
    for size in ((64, 64), *SIZES):
        for name in ("day", "night", "oldmap"):
            places: NDArray[np.int64] = generator.integers(0, 700, (25, 2))
            assert max(score(crop(name, size, int(x), int(y))) for x, y in places) < THRESHOLD - 1
        assert max(map(score, pictures(size))) < THRESHOLD - 1


def test_the_bound_on_false_positives_holds_for_random_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    """The share above t of one picture's scores under random phases is at most 45 exp(-t^2 / 2)."""
    picture, scores = crop("day", (128, 128)), []
    for number in range(300):
        monkeypatch.setattr("i2i_provenance.watermark.DITHER", _phases_of(str(number)))
        scores.append(score(picture))
    for t in (3.5, 4.0, 4.5):
        assert np.mean(np.array(scores) >= t) <= min(1, 45 * np.exp(-(t**2) / 2)) + 0.01


def _phases_of(key: str) -> NDArray[np.float32]:
    drawn = np.frombuffer(hashlib.shake_256(key.encode()).digest(2 * len(watermark.DITHER)), "<u2")
    return (drawn * (watermark.STEP / 2**16)).astype(np.float32)


def test_the_mark_is_the_same_on_every_machine() -> None:
    """Were it to change, pictures marked before would not be found."""
    assert len(watermark.DITHER) == 1794
    assert watermark.DITHER[:3].tolist() == pytest.approx(FIRST)


FIRST = [9.290771484375, 7.059326171875, 11.35888671875]


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "CMYK", "I;16", "F"])
def test_pictures_of_every_mode_are_looked_at(mode: str) -> None:
    marked = mark(crop("day", (256, 256)))
    sixteen = np.asarray(marked.convert("L")).astype(np.uint16) * 257
    assert found(Image.fromarray(sixteen) if mode == "I;16" else marked.convert(mode))
    assert not found(Image.new(mode, (3, 2)))


def test_grey_pictures() -> None:
    grey = crop("day", (200, 200)).convert("L")
    marked = mark(grey)
    assert marked.mode == "L"
    assert found(jpeg(marked, 60))


def model(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.chdir(folder)
    registry = toy.registry()
    monkeypatch.setattr("i2i.translation.loading.default_registry", lambda: registry)
    module = registry.get("generator", "toy").factory(domains=DOMAINS, directions=(("a", "b"),))
    save_model("model", module, {"": Origin("toy", "toys", "1", {})}, domains=DOMAINS, directions=(("a", "b"),))
    crop("day", (160, 136)).save("x.png")


def translate(*options: str) -> Any:
    return CliRunner().invoke(app, ["translate", "model", "x.png", "--out", "out", "--watermark", *options])


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model(monkeypatch, tmp_path)
    outcome = translate("--grid")
    assert outcome.exit_code == 0, outcome.output
    stated = inspect("out/x.png")
    assert stated is not None
    assert (stated.model, stated.trained, stated.watermark) == ("toys:toy 1", True, True)
    assert (sheet := inspect("out/grid.png")) is not None
    assert sheet.watermark
    jpeg(Image.open("out/x.png"), 80).save("copy.png")
    text = CliRunner().invoke(app, ["inspect", "copy.png", "x.png"]).output
    assert "copy.png: made by a trained algorithm\n  watermark: i2i's" in text
    assert "x.png: no provenance metadata and no i2i watermark. That proves nothing" in text
    told = json.loads(CliRunner().invoke(app, ["inspect", "copy.png", "x.png", "--json"]).output)
    assert [(each["made_by_trained_algorithm"], each["watermark"]) for each in told] == [(True, True), (None, False)]


def test_without_the_option_nothing_is_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model(monkeypatch, tmp_path)
    assert CliRunner().invoke(app, ["translate", "model", "x.png", "--out", "out"]).exit_code == 0
    assert not found(Image.open("out/x.png"))


def test_what_is_too_small_is_refused_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model(monkeypatch, tmp_path)
    crop("day", (300, 127)).save("small.png")
    error = translate("small.png").exception
    assert isinstance(error, UserError)
    assert str(error).startswith("small.png: 300 x 127 pixels are too few for a watermark, which needs 128 x 128. Leave out")
    assert len(str(error).splitlines()) == 1
    assert not Path("out").exists()


def test_label_maps_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    domains = {"a": Domain("day", "image", 3), "b": Domain("map", "labels", 2, ("land", "sea"))}
    options = {"width": 4, "blocks": 1}
    module = default_registry().get("generator", "resnet").factory(domains=domains, directions=(("a", "b"),), **options)
    save_model("model", module, {"": Origin("resnet", "cyclegan", "1", options)}, domains=domains, directions=(("a", "b"),))
    crop("day", (160, 136)).save("x.png")
    error = translate().exception
    assert isinstance(error, UserError)
    assert "'map' holds label maps, whose class ids" in str(error)
    assert not Path("out").exists()


def test_what_is_said(tmp_path: Path) -> None:
    only_metadata, both = tmp_path / "x.png", tmp_path / "y.png"
    crop("day", (200, 200)).save(only_metadata, **png_options(CONFIG))
    mark(crop("day", (200, 200))).save(both, **png_options(CONFIG))
    assert lines(Path("x"), inspect(only_metadata))[-1] == "  watermark: no i2i watermark found"
    assert to_json(Path("x"), inspect(both))["watermark"] is True
    contrary = Statement("digitalCapture", watermark=True)
    assert contrary.trained
    assert lines(Path("x"), contrary)[-1] == "  but its metadata state: digitalCapture"


def test_help_imports_neither_numpy_nor_torch() -> None:
    code = "import sys; from i2i.cli import app\ntry: app(['translate', '--help'])\nexcept SystemExit: pass\n"
    code += "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'i2i_provenance.watermark')))"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0
