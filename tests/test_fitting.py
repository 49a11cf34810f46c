"""Sizes that follow the pictures' own: ``fitted`` of the data sets' factories, and what ``i2i data check`` says of sizes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from typer.testing import CliRunner

from i2i.cli import app
from i2i.errors import UserError
from i2i.recipe.options import complete_options
from i2i.registry import default_registry
from i2i_data.fitting import halvable
from i2i_data.transforms import scaled
from pictures_on_disk import noise, png, two_folders, write


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def fitted(name: str, **options: Any) -> dict[str, Any]:
    factory: Any = default_registry().get("dataset", name).factory
    found: dict[str, Any] = factory.fitted(options)
    return found


def transform(name: str, **options: Any) -> Any:
    found = fitted(name, **options)
    assert found.keys() == options.keys() | {"transform"}
    return found["transform"]


def folder(name: str, *sizes: tuple[int, int]) -> str:
    for i, (height, width) in enumerate(sizes):
        write(Path(name, f"{i}.png"), noise(i, height, width))
    return name


def parquet(name: str, height: int, width: int) -> str:
    rows = [{"bytes": png(noise(i, height, width)), "path": None} for i in range(3)]
    features = datasets.Features({"one": datasets.Image(), "two": datasets.Image()})
    datasets.Dataset.from_dict({"one": rows, "two": rows}, features=features).to_parquet(name)
    return name


@pytest.mark.parametrize(
    ("a", "b", "found"),
    [
        ([(96, 96)], [(96, 96)], {"resize": 96, "crop": 96}),
        ([(72, 72)], [(72, 72)], {"resize": 72, "crop": 64}),
        ([(256, 256)], [(300, 300)], {"resize": 256, "crop": 256}),
        ([(700, 700)], [(400, 410)], {"resize": 286, "crop": 256}),
        ([(100, 150), (100, 100)], [(120, 104)], {"short_side": 100, "crop": 96}),
        ([(5, 5)], [(6, 6)], {"resize": 5, "crop": 4}),
        ([(90, 90)] * 59 + [(8, 8)], [(90, 90)], {"resize": 90, "crop": 80}),  # one in sixty does not count
        ([(90, 90)] * 9 + [(8, 8)], [(90, 90)], {"resize": 8, "crop": 8}),
    ],
)
def test_two_folders(a: list[tuple[int, int]], b: list[tuple[int, int]], found: dict[str, int]) -> None:
    assert transform("folders", a=folder("a", *a), b=folder("b", *b)) == found


def test_every_layout_that_a_factory_reads() -> None:
    write(Path("halves/1.png"), noise(1, 48, 96))
    write(Path("maps/1.png"), np.zeros((48, 60), np.uint8))
    write(Path("photos/1.png"), noise(1, 48, 60))
    source = parquet("two.parquet", 48, 48)
    square, wide = {"resize": 48, "crop": 48}, {"short_side": 48, "crop": 48}
    assert transform("side_by_side", root="halves") == square
    assert transform("labels", maps="maps", images="photos", classes=2) == wide
    for more in ({}, {"streaming": True, "length": 3}):
        assert transform("hub", source=source, columns=["one", "two"], cache="cache", **more) == square
    assert transform("single", a="halves/1.png", b="photos/1.png") == {"zoom": [0.75, 1.25], "crop": 32}
    np.save("array.npy", noise(1, 48, 60))
    assert transform("folders", a="array.npy", b="photos") == wide


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"flip": False}, {"resize": 96, "crop": 96, "flip": False}),
        ({"crop": 32}, {"resize": 36, "crop": 32}),
        ({"crop": 90}, {"resize": 96, "crop": 90}),
        ({"crop": [32, 64]}, {"resize": [36, 72], "crop": [32, 64]}),
        ({"short_side": 80}, {"short_side": 80, "crop": 64}),
        ({"resize": 286}, {"resize": 286}),
        ({"resize": 286, "crop": 256}, {"resize": 286, "crop": 256}),
        ({"zoom": [0.5, 1], "crop": 20}, {"zoom": [0.5, 1], "crop": 20}),
    ],
)
def test_what_is_said_stays(said: dict[str, Any], found: dict[str, Any]) -> None:
    assert transform("folders", a=folder("a", (96, 96)), b=folder("b", (96, 96)), transform=said) == found


def test_a_crop_that_is_larger_than_the_pictures_is_refused() -> None:
    with pytest.raises(UserError, match=r"a crop of 128 x 128 is larger than the smallest picture.*96.*Give a crop of 96"):
        fitted("folders", a=folder("a", (96, 96)), b=folder("b", (99, 96)), transform={"crop": 128})


def test_no_picture_is_enlarged() -> None:
    sizes = [(int(h), int(w)) for h, w in np.random.default_rng(0).integers(40, 400, (12, 2))]
    options = fitted("folders", a=folder("a", *sizes), b=folder("b", *sizes[:3]))
    factory = default_registry().get("dataset", "folders").factory
    made = complete_options("dataset", "folders", factory, options)["transform"]
    assert all(new <= old for size in sizes for new, old in zip(scaled(made, size), size, strict=True))
    assert factory(**complete_options("dataset", "folders", factory, options))[0]["a"].shape == (3, made.crop, made.crop)


def test_headers_are_read_and_no_pixels() -> None:
    a, b = folder("a", (96, 96)), folder("b", (96, 96), (96, 96))
    for file in Path().glob("?/0.png"):
        file.write_bytes(file.read_bytes()[:200])
    Path("b/1.png").write_bytes(b"no picture")
    assert transform("folders", a=a, b=b) == {"resize": 96, "crop": 96}
    for file in Path().glob("?/0.png"):
        file.write_bytes(b"")
    assert fitted("folders", a=a, b=b) == {"a": a, "b": b}  # the data set itself says what is wrong


def test_an_upright_photograph_is_measured_upright() -> None:
    side = write(
        Path("a/1.jpg"), noise(1, 60, 90), exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    )
    dataset = default_registry().get("dataset", "folders").factory(a=str(side), b=str(side))
    assert dataset.sides["a"].size(0) == dataset.sides["a"].load(0).pixels.shape[-2:] == (90, 60)


def test_halvable() -> None:
    sides = {3: 3, 7: 4, 20: 16, 60: 48, 96: 96, 100: 96, 160: 128, 200: 192, 250: 224, 256: 256}
    assert {side: halvable(side) for side in sides} == sides


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            "",
            [
                "dataset: in training the pictures become 12 to 14 times as large a side; then crops of 256 x 256",
                "warning: dataset: the transform enlarges most pictures, 14 times or more",
                "transform: {short_side: 20, crop: 16} would keep their size",
            ],
        ),
        (", transform: {resize: 20, crop: 16}", ["the pictures become 0.83 to 1 times as large a side; then crops of 16 x 16"]),
        (", transform: {crop: 16}", ["the pictures keep their size; then crops of 16 x 16"]),
        (", transform: {resize: [10, 24]}", ["resize changes the proportions of 10 of 10 pictures"]),
    ],
)
def test_the_check_says_what_becomes_of_the_sizes(given: str, said: list[str]) -> None:
    two_folders(Path("d"))
    rest: Mapping[str, str] = {"generator": "{name: resnet}", "discriminator": "{name: patchgan}", "loss": "{name: cyclegan}"}
    lines = [f"dataset: {{name: folders, root: d{given}}}", *(f"{key}: {value}" for key, value in rest.items())]
    Path("r.yaml").write_text("\n".join(lines) + "\n")
    result = CliRunner().invoke(app, ["data", "check", "r.yaml"])
    assert [words for words in said if words not in result.output] == [], result.output
    assert ("enlarges" in result.output) == (given == "")
