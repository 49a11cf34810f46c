"""A file translated is its training sample translated: what a data set does to its files is part of the model."""

import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from datasets import Dataset, Features  # type: ignore[import-untyped]
from datasets import Image as ImageFeature
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from i2i.errors import UserError
from i2i.pictures.labels import ids_of_numbers, numbers_of_classes
from i2i.pictures.pixels import prepared, read_picture, to_picture, to_tensor
from i2i.pictures.preparation import described, finished, network_size
from i2i.pictures.sources import Blob
from i2i.protocols import Domain, Preparation, Translation
from i2i.registry import Registry, hookimpl
from i2i.translation.loading import load
from i2i.translation.model_folder import Origin, save_model
from i2i_data.folders import folders
from i2i_data.hub import hub
from i2i_data.label_maps import labels
from i2i_data.sources import Read
from i2i_data.transforms import Transform
from i2i_export.export import export
from i2i_push.card import Facts, card
from i2i_serve.limits import Limits
from i2i_serve.service import Asked, Service
from i2i_translate.file_translation import translate_files
from i2i_translate.requests import Finish, Request
from pictures_on_disk import deep_png, noise, png, write

PLAIN = Transform(flip=False)
COLORS = [(10, 20, 30), (255, 255, 255), (0, 0, 0)]


class Mixing(nn.Module):
    """Every output channel is another mean of the input's channels: nothing that differs in the input goes unnoticed."""

    divisor = 4
    exposes = frozenset[str]()

    def __init__(self, *, domains: Any, directions: Any) -> None:
        super().__init__()
        self.channels = {key: domain.channels for key, domain in domains.items()}
        self.register_buffer("zero", torch.zeros(()))

    def forward(self, x: Tensor, source: str, *targets: str) -> Translation:
        made = {}
        for target in targets:
            weights = torch.arange(1.0, 1 + self.channels[target] * x.shape[1]).reshape(self.channels[target], -1).cos()
            made[target] = torch.einsum("oc,bchw->bohw", weights / x.shape[1], x)
        return Translation(made)


class Plugin:
    @hookimpl
    def register_generators(self) -> dict[str, Any]:
        return {"mixing": Mixing}


def trained(folder: Path, domains: Any) -> Any:
    """A model on data of these domains, as it comes back from its folder."""
    ways = (("a", "b"), ("b", "a"))
    module = Mixing(domains=domains, directions=ways)
    save_model(folder, module, {"": Origin("mixing", "mine", "1", {})}, domains=dict(domains), directions=ways)
    return load(folder, "cpu", registry=Registry({"mine": Plugin()}))


def encoded(pixels: NDArray[np.generic], form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


def array(values: NDArray[np.generic]) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def tiff(values: NDArray[np.generic]) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values)
    return file.getvalue()


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(noise(3), "JPEG", exif=exif)


def palette() -> bytes:
    file = io.BytesIO()
    Image.fromarray(noise(4)).quantize(20).save(file, "PNG", transparency=3)
    return file.getvalue()


RANDOM = np.random.default_rng(7)
DEEP = RANDOM.integers(0, 65536, (20, 24, 3)).astype(np.uint16)
FLOATS = RANDOM.random((20, 24, 5)).astype(np.float32)
IMAGES: list[tuple[str, bytes, dict[str, Any]]] = [
    ("x.jpg", encoded(noise(0), "JPEG"), {}),
    ("x.jpg", turned(), {}),
    ("x.jpg", encoded(noise(0, channels=1), "JPEG"), {}),
    ("x.png", png(noise(1)), {"channels": 1}),
    ("x.png", palette(), {}),
    ("x.png", png(noise(2, channels=4)), {}),
    ("x.png", png(noise(2, channels=4)), {"alpha": "black"}),
    ("x.png", png(noise(2, channels=4)), {"alpha": "drop"}),
    ("x.png", png(noise(2, channels=4)), {"channels": 4}),
    ("x.png", png(noise(2)), {"range": (20.0, 200.0)}),
    ("x.png", png(DEEP[..., 0]), {"channels": 1}),
    ("x.png", png(DEEP[..., 0] >> 4), {"channels": 1, "range": (0.0, 4095.0)}),
    ("x.png", deep_png(DEEP), {}),
    ("x.tif", tiff(DEEP), {}),
    ("x.npy", array(FLOATS[..., :3] * 9 - 2), {"range": (-2.0, 7.0)}),
    ("x.npy", array(FLOATS), {"channels": 5}),
]
SCALED = [
    Transform(resize=32, flip=False),
    Transform(resize=36, crop=32, zoom=(1, 1.2), rotate=9),
    Transform(resize=(16, 40)),
    Transform(short_side=32),
    Transform(short_side=8),
]
MAPS: list[tuple[str, bytes, dict[str, Any]]] = [
    ("x.png", png(RANDOM.integers(0, 4, (20, 24)).astype(np.uint8)), {"classes": 4}),
    ("x.png", png(RANDOM.choice([0, 3, 255], (20, 24)).astype(np.uint8)), {"classes": 4, "dont_care": [255]}),
    ("x.png", png(RANDOM.integers(1, 5, (20, 24)).astype(np.uint8)), {"classes": 4, "offset": -1}),
    ("x.png", png(RANDOM.integers(0, 5, (20, 24)).astype(np.uint8)), {"classes": 4, "offset": -1, "dont_care": [0]}),
    ("x.png", png(RANDOM.integers(0, 5, (20, 24)).astype(np.uint16)), {"classes": 900, "offset": 300}),
    ("x.npy", array(RANDOM.integers(0, 900, (20, 24))), {"classes": 900}),
    ("x.png", png(np.array(COLORS, np.uint8)[RANDOM.integers(0, 3, (20, 24))]), {"colors": COLORS}),
    ("x.png", png(RANDOM.choice([0, 255], (20, 24)).astype(np.uint8)), {"colors": COLORS}),
    ("x.png", png(noise(5)), {"colors": COLORS, "dont_care": [-1]}),
    ("x.png", encoded(RANDOM.integers(0, 3, (20, 24)).astype(np.uint8), "PNG"), {"classes": 3}),
]


def check(model: Any, data: Any, key: str, path: Path, out: Path) -> None:
    """A file through Python and through files is its held-out sample through the network."""
    sample, (here, there) = data[0][key], (key, "b" if key == "a" else "a")
    prepared = model.translate(sample, there, here)
    domain = model.domains[here]
    mine = to_tensor(read_picture(path), domain) if path.suffix == ".jpg" else None
    assert mine is None or torch.equal(mine, sample)
    expected = to_picture(prepared, model.domains[there])
    direct = model.translate(path, there, here)
    (written,) = translate_files(model, Request([path], there, here), Finish(out))
    for made in (direct, read_picture(written)):
        assert np.array_equal(np.array(made), np.array(expected))
    pixels = to_pixels(model, path, here)
    assert pixels.dtype == sample.dtype
    assert float((pixels - sample).abs().max()) <= 1e-5


def to_pixels(model: Any, path: Path, key: str) -> Tensor:
    made: Tensor = finished(prepared(path, model.domains[key]), model.domains[key].kind == "labels")
    return made


@pytest.mark.parametrize(
    ("name", "data", "read", "transform"),
    [*((*case, PLAIN) for case in IMAGES), *((*IMAGES[i], transform) for i in (0, 5, 11) for transform in SCALED)],
)
def test_images(tmp_path: Path, name: str, data: bytes, read: dict[str, Any], transform: Transform) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / name).write_bytes(data)
    write(tmp_path / "b" / "x.png", noise(9))
    options: dict[str, Any] = {"a": str(tmp_path / "a"), "b": str(tmp_path / "b"), "read_a": Read(**read)}
    held = folders(**options, transform=transform, split="test")
    model = trained(tmp_path / "model", folders(**options, transform=transform).domains)
    check(model, held, "a", tmp_path / "a" / name, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "data", "options", "transform"),
    [*((*case, PLAIN) for case in MAPS), *((*MAPS[i], transform) for i in (3, 8) for transform in SCALED)],
)
def test_label_maps(tmp_path: Path, name: str, data: bytes, options: dict[str, Any], transform: Transform) -> None:
    for side in ("maps", "images"):
        (tmp_path / side).mkdir()
    (tmp_path / "maps" / name).write_bytes(data)
    write(tmp_path / "images" / "x.png", noise(0))
    place = {"maps": str(tmp_path / "maps"), "images": str(tmp_path / "images"), "transform": transform}
    model = trained(tmp_path / "model", labels(**place, **options).domains)
    held = labels(**place, **options, split="test")
    check(model, held, "a", tmp_path / "maps" / name, tmp_path / "out")
    labelled = to_picture(held[0]["a"], model.domains["a"])  # a round trip in the file's own numbers or colours
    own = model.resized("none").domains["a"]
    assert torch.equal(to_tensor(read_picture(Blob(saved(labelled), "x")), own), held[0]["a"])
    if options.get("offset") == -1 and transform == PLAIN:
        assert np.array_equal(np.array(labelled), np.array(Image.open(io.BytesIO(data))))


def saved(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def test_ade20k_as_published(tmp_path: Path) -> None:
    """Id 0 stands for nothing, and the 150 classes begin at 1."""
    pixels = np.arange(480).reshape(20, 24) % 151
    for split in ("training", "validation"):
        write(tmp_path / "annotations" / split / "ADE_1.png", pixels.astype(np.uint8))
        write(tmp_path / "images" / split / "ADE_1.jpg", noise(0))
    made: dict[str, Any] = {"layout": "ade20k", "root": str(tmp_path), "transform": Transform(resize=36, crop=32)}
    model = trained(tmp_path / "model", labels(**made).domains)
    check(model, labels(**made, split="val"), "a", tmp_path / "annotations/validation/ADE_1.png", tmp_path / "out")
    assert numbers_of_classes(model.domains["a"]).tolist() == [*range(1, 151), 0]


@pytest.mark.parametrize("streaming", [False, True])
def test_columns(tmp_path: Path, streaming: bool) -> None:
    maps = RANDOM.choice([1, 4, 255], (20, 24)).astype(np.uint8)
    (tmp_path / "x.png").write_bytes(png(maps))
    rows = {"map": [{"bytes": png(maps), "path": None}], "photo": [{"bytes": png(noise(0)), "path": None}]}
    table = Dataset.from_dict(rows, features=Features({name: ImageFeature() for name in rows}))
    table.to_parquet(tmp_path / "x.parquet")
    more = {"streaming": True, "samples": 1} if streaming else {}
    data = hub(
        source=str(tmp_path / "x.parquet"), cache=str(tmp_path / "cache"), columns=("map", "photo"), labels="a", classes=4,
        offset=-1, dont_care=[255], transform=Transform(resize=(16, 40), flip=False), **more,
    )  # fmt: skip
    check(trained(tmp_path / "model", data.domains), data, "a", tmp_path / "x.png", tmp_path / "out")


def test_ids_and_instances_in_one_array(tmp_path: Path) -> None:
    both = np.stack([RANDOM.choice([1, 4, 255], (20, 24)), RANDOM.integers(0, 3000, (20, 24))])
    (tmp_path / "x.npy").write_bytes(array(both))
    rows = {"map": [{"bytes": array(both), "path": None}], "photo": [{"bytes": png(noise(0)), "path": None}]}
    table = Dataset.from_dict(rows, features=Features({name: ImageFeature() for name in rows}))
    table.to_parquet(tmp_path / "x.parquet")
    data = hub(
        source=str(tmp_path / "x.parquet"), cache=str(tmp_path / "cache"), columns=("map", "photo"), labels="a", classes=4,
        offset=-1, dont_care=[255], instances=True, transform=Transform(resize=(16, 40), flip=False),
    )  # fmt: skip
    check(trained(tmp_path / "model", data.domains), data, "a", tmp_path / "x.npy", tmp_path / "out")


@pytest.fixture
def scaled(tmp_path: Path) -> Any:
    """A model of a data set that scales its pictures to 16 x 40."""
    for side in "ab":
        write(tmp_path / side / "x.png", noise(0))
    data = folders(a=str(tmp_path / "a"), b=str(tmp_path / "b"), transform=Transform(resize=(16, 40)), names=("day", "night"))
    return trained(tmp_path / "model", data.domains)


def test_pictures_keep_their_own_size_if_asked(scaled: Any, tmp_path: Path) -> None:
    path, pixels = tmp_path / "a" / "x.png", noise(0)
    for image in (path, Image.fromarray(pixels)):
        assert scaled.translate(image, "night").size == (40, 16)
        assert scaled.translate(image, "night", resize="none").size == (24, 20)
        assert scaled.translate(image, "night", resize="7x9").size == (7, 9)
        assert [scaled.translate(image, "night", resize=shorter).size for shorter in (10, "10")] == [(12, 10)] * 2
    assert scaled.translate(pixels, "night").shape == (16, 40, 3)
    assert scaled.translate(torch.zeros(3, 9, 9), "night").shape == (3, 9, 9)  # a tensor is what the network takes
    own = Request([path], "night", resize="none", strength=0.5)
    (made,) = translate_files(scaled, own, Finish(tmp_path / "out", grid=True))
    assert read_picture(made).size == (24, 20)
    (made,) = translate_files(scaled, Request([path], "night", resize="48x40"), Finish(tmp_path / "twice"))
    assert read_picture(made).size == (48, 40)
    (made,) = translate_files(scaled, Request([path], "night", strength=0.5, mask=path), Finish(tmp_path / "other"))
    assert read_picture(made).size == (40, 16)


def test_a_data_set_that_only_crops_scales_nothing(tmp_path: Path) -> None:
    for side in "ab":
        write(tmp_path / side / "x.png", noise(0, 50, 40))
    data = folders(a=str(tmp_path / "a"), b=str(tmp_path / "b"), transform=Transform(crop=32, zoom=(0.8, 1.2)))
    assert trained(tmp_path / "model", data.domains).translate(tmp_path / "a" / "x.png", "b").size == (40, 50)


def test_the_service_prepares_as_well(scaled: Any, tmp_path: Path) -> None:
    service = Service(scaled, Limits(), "toy")
    given = Blob((tmp_path / "a" / "x.png").read_bytes(), "x.png")
    assert service.described()["scales"]
    made = service.translate(Asked(given, "day → night"))
    assert made.before.size == made.after.size == (40, 16)
    assert np.array_equal(np.array(made.after), np.array(scaled.translate(tmp_path / "a" / "x.png", "night")))
    own = service.translate(Asked(given, "day → night", own_size=True))
    assert own.before.size == own.after.size == (24, 20)
    narrow = Blob(write(tmp_path / "narrow.png", noise(0, 2, 50)).read_bytes(), "narrow.png")
    covered = trained(tmp_path / "covering", covering(scaled.domains))
    with pytest.raises(UserError, match=r"narrow\.png: the model scales it to 800 x 32 = 25600 pixels; the limit is 20000"):
        Service(covered, Limits(pixels=20000), "toy").translate(Asked(narrow, "day → night"))


def test_the_api_knows_it(scaled: Any, tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    from served_models import running

    with running(Service(scaled, Limits(), "toy")) as place:
        for own, size in (("false", "40x16"), ("true", "24x20")):
            answer = place.translate((tmp_path / "a" / "x.png").read_bytes(), to="night", own_size=own)
            assert answer.headers["x-i2i-size"] == size


def covering(domains: Any) -> Any:
    return {
        k: Domain(d.name, d.kind, d.channels, preparation=Preparation(size=(32, 32), cover=True)) for k, d in domains.items()
    }


def test_the_card_and_an_export_say_it(tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    write(tmp_path / "maps" / "x.png", np.ones((20, 24), np.uint8))
    write(tmp_path / "images" / "x.png", noise(0))
    data = labels(
        maps=str(tmp_path / "maps"), images=str(tmp_path / "images"), classes=4, offset=-1, dont_care=[0],
        transform=Transform(resize=36, crop=32), read=Read(alpha="black", range=(0, 200)),
    )  # fmt: skip
    model = trained(tmp_path / "model", data.domains)
    text = card(model, Facts("owner/name"))
    assert "a file is scaled to 32 x 32; the number v in a file is the class v -1; in a file, 0 is the class 4" in text
    assert "transparency is laid on black; the values 0 and 200 become -1 and 1" in text
    export(model, "torch-export", tmp_path / "x.pt2", "photo")
    files = {"i2i.json": ""}
    torch.export.load(tmp_path / "x.pt2", extra_files=files)
    stated = json.loads(files["i2i.json"])["i2i.inputs"][0]["preparation"]
    assert stated == json.loads(json.dumps(asdict(data.domains["a"].preparation)))


def test_models_of_before_are_read_as_they_were(scaled: Any, tmp_path: Path) -> None:
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text())
    config["format"] = 1
    for domain in config["domains"].values():
        del domain["preparation"]
    path.write_text(json.dumps(config))
    model = load(tmp_path / "model", "cpu", registry=Registry({"mine": Plugin()}))
    assert {domain.preparation for domain in model.domains.values()} == {Preparation()}
    assert described(model.domains["a"]) == ""
    assert model.translate(tmp_path / "a" / "x.png", "night").size == (24, 20)


@pytest.mark.parametrize(
    "wrong",
    [{"size": [10**6, 10**6]}, {"size": [0, 4]}, {"size": 4}, {"range": [1, 0]}, {"range": [-float("inf"), 0]},
     {"alpha": "red"}, {"offset": 10**12}, {"values": [[1, 2, 3]]}, {"values": [[0, 0]] * 70000}, {"unknown": "x"},
     {"unknown": 99}, {"unknown": -1}, {"values": [[0, 99]]},
     {"run": "this"}, [1]],
)  # fmt: skip
def test_a_preparation_that_cannot_be_is_refused(scaled: Any, tmp_path: Path, wrong: Any) -> None:
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text())
    fields = config["domains"]["a"]["preparation"]
    config["domains"]["a"]["preparation"] = {**fields, **wrong} if isinstance(wrong, dict) else wrong
    path.write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"config\.json"):
        load(tmp_path / "model", "cpu", registry=Registry({"mine": Plugin()}))


@given(
    count=st.integers(1, 9),
    offset=st.integers(-3, 12),
    values=st.dictionaries(st.integers(0, 12), st.integers(0, 8), max_size=4),
    colored=st.booleans(),
)
def test_every_class_is_written_as_a_number_that_reads_as_it(
    count: int, offset: int, values: dict[int, int], colored: bool
) -> None:
    pairs = tuple((value, label % count) for value, label in values.items())
    colors = tuple((7 * i, 255 - i, i) for i in range(count)) if colored else ()
    domain = Domain("land", "labels", count, colors=colors, preparation=Preparation(offset=offset, values=pairs))
    numbers = numbers_of_classes(domain)
    assert len(set(numbers.tolist())) == count
    assert numbers.min() >= 0
    ids = np.arange(count)[None]
    for label, number in enumerate(numbers):
        try:
            assert ids_of_numbers(np.array([[number]]), domain, "x").item() == label
        except UserError:  # no number of a file stands for this class
            assert not any(number_stands_for(domain, other, label) for other in range(-20, 30) if other >= 0)
    writable = [label for label in range(count) if any(number_stands_for(domain, other, label) for other in range(30))]
    if writable:
        ids = np.array([writable])
        assert np.array_equal(to_tensor(to_picture(torch.from_numpy(ids)[None], domain), domain)[0], ids)


def number_stands_for(domain: Domain, number: int, label: int) -> bool:
    try:
        return bool(ids_of_numbers(np.array([[number]]), domain, "x").item() == label)
    except UserError:
        return False


@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 64), st.integers(1, 64))
def test_covering_keeps_proportions_and_covers(h: int, w: int, height: int, width: int) -> None:
    made = network_size(Preparation(size=(height, width), cover=True), (h, w))
    assert made[0] >= height
    assert made[1] >= width
    assert made[0] == height or made[1] == width
