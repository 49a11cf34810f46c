"""Translation with a model folder: what goes in, what comes out, and what is refused."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from i2i.errors import UserError
from i2i.pictures.pixels import prepared
from i2i.protocols import Direction, Domain, Translation
from i2i.registry import Registry, hookimpl
from i2i.translation.loading import load
from i2i.translation.model_folder import Origin, load_model, save_model
from i2i.translation.translator import Translator
from i2i_translate.file_translation import translate_files
from i2i_translate.large import part
from i2i_translate.requests import Finish, Request

DAY, NIGHT, GREY = Domain("day", "image", 3), Domain("night", "image", 3), Domain("relief", "image", 1)
LABELS = Domain("land", "labels", 3, ("sea", "land", "ice"), ((0, 0, 255), (0, 128, 0), (255, 255, 255)))
BOTH: tuple[Direction, ...] = (("a", "a"), ("a", "b"), ("b", "a"), ("b", "b"))


class Fake(nn.Module):
    """Gives the image back (in the target's channels), and insists on its divisor and on two deep pixels."""

    exposes: frozenset[str] = frozenset()

    def __init__(self, *, domains: Mapping[str, Domain], directions: Any, divisor: int = 8, width: int = 2) -> None:
        super().__init__()
        self.domains, self.divisor = domains, divisor
        self.weight = nn.Parameter(torch.randn(width, 4).t())
        self.tied = self.weight

    def forward(self, x: Tensor, source: str, *targets: str) -> Translation:
        assert not self.training
        assert x.shape[1] == self.domains[source].channels
        assert all(side % self.divisor == 0 and side >= 16 for side in x.shape[2:])
        return Translation(
            {t: x if (c := self.domains[t].channels) == x.shape[1] else x.mean(1, True).repeat(1, c, 1, 1) for t in targets}
        )


class Plugin:
    """Registers the fake and listens."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []

    @hookimpl
    def register_generators(self) -> dict[str, Any]:
        return {"fake": Fake}

    @hookimpl
    def image_translated(self, source: Domain, target: Domain) -> None:
        self.heard.append((source.name, target.name))


def save(
    folder: Path, a: Domain = DAY, b: Domain = NIGHT, directions: tuple[Direction, ...] = BOTH, **options: Any
) -> Registry:
    registry = Registry({"mine": Plugin()})
    domains = {"a": a, "b": b}
    module = Fake(domains=domains, directions=directions, **options)
    save_model(
        folder, module, {"": Origin("fake", "mine", "1", options)}, domains=domains, directions=directions, extra={"step": 3},
    )  # fmt: skip
    return registry


def translator(folder: Path, *args: Any, **options: Any) -> Translator:
    return load(folder, "cpu", registry=save(folder / "model", *args, **options))


def picture(width: int = 21, height: int = 13, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, len(mode)), dtype=np.uint8)
    return Image.frombytes(mode, (width, height), pixels.tobytes())


def test_a_model_comes_back_as_it_was(tmp_path: Path) -> None:
    for width in (2, 5):  # the second replaces the first
        registry = save(tmp_path / "model", b=LABELS, width=width)
    model = load_model(tmp_path / "model", registry=registry)
    assert (model.domains, model.directions) == ({"a": DAY, "b": LABELS}, BOTH)
    assert model.module.get_parameter("weight").shape == (4, 5)
    assert not model.module.training
    assert model.config["extra"] == {"step": 3}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    (tmp_path / "model").rename(tmp_path / ".model.previous")  # a replacement cut short
    assert load(tmp_path, "cpu", registry=registry).targets == ["land", "day"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "reads 1"),
        ({"domains": 3}, "does not describe a model"),
        ({"generator": {"name": "fake", "plugin": "gone", "version": "2", "options": {}}}, "needs the plugin 'gone 2'"),
        ({"generator": {"name": "fake", "plugin": "mine", "version": "2", "options": {"width": 9}}}, "do not fit"),
        ({"generator": {"name": "fake", "plugin": "mine", "version": "", "options": {"depth": 9}}}, "not be rebuilt"),
    ],
)
def test_models_that_cannot_be_rebuilt(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    registry = save(tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **change}))
    with pytest.raises(UserError, match=message):
        load(tmp_path, registry=registry)


def test_missing_and_broken_model_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such run folder"):
        load(tmp_path / "nowhere", registry=Registry({}))
    with pytest.raises(UserError, match="no model here"):
        load(tmp_path, registry=Registry({}))
    registry = save(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(UserError, match="weights cannot be read"):
        load(tmp_path, registry=registry)
    (tmp_path / "model" / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors is missing"):
        load(tmp_path, registry=registry)
    (tmp_path / "model" / "config.json").write_text("{")
    (tmp_path / "model" / "model.safetensors").touch()
    with pytest.raises(UserError, match="cannot be read"):
        load(tmp_path, registry=registry)


def test_directions(tmp_path: Path) -> None:
    both = translator(tmp_path)
    assert both.targets == ["night", "day"]
    assert both.direction("night") == both.direction("b") == both.direction(source="day") == ("a", "b")
    assert both.direction("day", "day") == ("a", "a")
    with pytest.raises(UserError, match=r"no domain 'nigth'\. Did you mean 'night'\?.*'day'"):
        both.direction("nigth")
    with pytest.raises(UserError, match="Choose one, for instance --to"):
        both.direction()
    one = translator(tmp_path, directions=(("a", "b"),))
    assert one.direction() == ("a", "b")
    with pytest.raises(UserError, match="no domain 'day'"):
        one.direction("day")


@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from([1, 3, 8, 32]))
def test_any_size_comes_back_pixel_by_pixel(width: int, height: int, divisor: int) -> None:
    module = Fake(domains={"a": DAY, "b": NIGHT}, directions=BOTH, divisor=divisor)
    both = Translator(module, module.domains, BOTH, {}, torch.device("cpu"), Registry({}))
    given_picture = picture(width, height)
    assert both.translate(given_picture, "night").tobytes() == given_picture.tobytes()


def test_results_are_of_the_kind_given(tmp_path: Path) -> None:
    both = translator(tmp_path)
    array = np.array(picture())
    assert np.array_equal(both.translate(array, "night"), array)
    for tensor in (torch.rand(3, 5, 6), torch.rand(2, 3, 5, 6)):
        made = both.translate(tensor, "night")
        assert torch.equal(made, tensor)
        assert not made.is_inference()
    relief = translator(tmp_path, DAY, GREY)
    assert relief.translate(picture(), "relief").mode == "L"
    assert relief.translate(array, "relief").shape == (13, 21, 1)
    assert relief.translate(array[:, :, 0], "relief").shape == (13, 21)


def test_labels_in_and_out(tmp_path: Path) -> None:
    maps = translator(tmp_path, LABELS, LABELS, (("a", "b"),))
    ids = torch.randint(0, 3, (1, 5, 6))
    assert torch.equal(maps.translate(ids).argmax(0), ids[0])
    array = ids[0].numpy()
    assert np.array_equal(maps.translate(array), array)
    for bad in (ids + 3, torch.full((1, 4, 4), -1)):
        with pytest.raises(UserError, match="outside the 3 classes"):
            maps.translate(bad)
        with pytest.raises(UserError, match="outside the 3 classes"):
            maps.translate(bad[0].numpy())


def test_coloured_labels_in_pictures_arrays_and_tiles(tmp_path: Path) -> None:
    maps = translator(tmp_path, LABELS, LABELS, (("a", "b"),))
    ids = np.random.default_rng(0).integers(0, 3, (70, 50))
    colored = np.array(LABELS.colors, np.uint8)[ids]
    palette = Image.fromarray(colored).quantize(3)  # in an order of its own
    for shown in (Image.fromarray(colored), palette):
        made = maps.translate(shown)
        assert made.mode == "P"
        assert np.array_equal(np.array(made), ids)
        assert np.array_equal(np.array(made.convert("RGB")), colored)
    assert np.array_equal(maps.translate(colored), ids)
    pixels = prepared(palette, LABELS)[None]
    cut = part(pixels, torch.arange(8), torch.arange(3, 9), LABELS, True, torch.device("cpu"))
    assert np.array_equal(cut[0].argmax(0).numpy(), ids[:8, 3:9])


@pytest.mark.parametrize(
    "bad",
    [torch.rand(1, 5, 5), torch.rand(3, 0, 5), torch.rand(3, 5, 5) * 255, torch.full((3, 5, 5), float("nan")),
     np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 2), np.uint8), np.zeros((4, 4, 3), np.int32)],
)  # fmt: skip
def test_bad_arrays_and_tensors(tmp_path: Path, bad: Any) -> None:
    with pytest.raises(UserError, match=r"expected|needs"):
        translator(tmp_path).translate(bad, "night")


def test_words_that_are_not_choices(tmp_path: Path) -> None:
    both: Any = translator(tmp_path)
    for bad in ("own", "0", "-3", "12y", "12x", "0x9", "1e3", "", 0, 2.5, (3, 4), None, "٣"):
        with pytest.raises(UserError, match=r"resize: '.*' is not a size. Give the shorter side in pixels \(512\)"):
            both.translate(picture(), "night", resize=bad)
    for large in ("8193x8193", 99999):
        with pytest.raises(UserError, match=r"resize: .* is more than 67108864 pixels"):
            translate_files(both, Request([], "night", resize=large), Finish(tmp_path / "out"))
    with pytest.raises(UserError, match=r"precision: there is no 'bf17'\. Did you mean 'bf16'"):
        load(tmp_path, "cpu", precision="bf17")  # type: ignore[arg-type]


def test_bytes_and_open_files(tmp_path: Path) -> None:
    both: Any = translator(tmp_path)
    picture().save(tmp_path / "x.png")
    data, expected = (tmp_path / "x.png").read_bytes(), np.array(both.translate(tmp_path / "x.png", "night"))
    for file in (data, bytearray(data), io.BytesIO(data)):
        made = both.translate(file, "night")
        assert isinstance(made, Image.Image)
        assert np.array_equal(np.array(made), expected)
    with (tmp_path / "x.png").open("rb") as opened:
        assert np.array_equal(np.array(both.translate(opened, "night")), expected)
    with (tmp_path / "x.png").open(encoding="latin-1") as text, pytest.raises(UserError, match=r"x\.png: the file is open as"):
        both.translate(text, "night")
    with pytest.raises(UserError, match="the picture: it is empty"):
        both.translate(b"", "night")
    with pytest.raises(UserError, match=r"the picture: this is a picture in the format EPS"):
        both.translate(io.BytesIO(b"%!PS-Adobe-3.0 EPSF-3.0\n"), "night")


def test_a_file_object_without_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("i2i.pictures.sources.MAX_BYTES", 2**20)
    with Path("/dev/zero").open("rb") as file, pytest.raises(UserError, match="/dev/zero: the file is larger than 1 MiB"):
        translator(tmp_path).translate(file, "night")


def test_files(tmp_path: Path) -> None:
    both = translator(tmp_path)
    inputs = [tmp_path / name for name in ("x.png", "x.bmp", "y.tiff")]
    for path in inputs:
        picture().save(path)
    out = tmp_path / "out"
    made = translate_files(both, Request(inputs, "night"), Finish(out))
    assert [path.name for path in made] == ["x.png", "x-2.png", "y.png"]
    assert np.array_equal(np.array(Image.open(made[0])), np.array(picture()))
    with pytest.raises(UserError, match="and 2 more would be overwritten"):
        translate_files(both, Request(inputs, "night"), Finish(out))
    assert translate_files(both, Request(inputs, "night"), Finish(out, overwrite=True)) == made
    with pytest.raises(UserError, match="would replace an input"):
        translate_files(both, Request(inputs, "night"), Finish(tmp_path, overwrite=True))
    (listener,) = (p for p in both.registry._manager.get_plugins() if isinstance(p, Plugin))
    assert listener.heard == [("day", "night")] * 6


def test_bad_files_are_all_named_and_nothing_is_written(tmp_path: Path) -> None:
    both, out = translator(tmp_path), tmp_path / "out"
    picture().save(tmp_path / "good.png")
    (tmp_path / "empty.png").touch()
    files = [tmp_path / name for name in ("good.png", "empty.png", "missing.png")]
    with pytest.raises(UserError, match=r"(?s)empty\.png.*missing\.png"):
        translate_files(both, Request(files, "night"), Finish(out))
    with pytest.raises(UserError, match="no domain"):
        translate_files(both, Request(files, "dusk"), Finish(out))
    with pytest.raises(UserError, match="no images"):
        translate_files(both, Request([], "night"), Finish(out))
    with pytest.raises(UserError, match="this is a file"):
        translate_files(both, Request(files[:1], "night"), Finish(files[0]))
    assert not out.exists()


class Styled(nn.Module):
    """The source plus the style's mean, or plus a number drawn where there is no style."""

    exposes = frozenset[str]()
    accepts = frozenset({"style"})
    divisor = 1

    def __init__(self, *, domains: Any, directions: Any) -> None:
        super().__init__()
        self.register_buffer("zero", torch.zeros(()))

    def forward(self, x: torch.Tensor, source: str, *targets: str, style: torch.Tensor | None = None) -> Translation:
        added = torch.rand(()) if style is None else style.mean()
        return Translation({target: (x * 0 + added).clamp(-1, 1) for target in targets})


def test_a_style_image_or_a_drawn_style(tmp_path: Path) -> None:
    class Plugin:
        @hookimpl
        def register_generators(self) -> dict[str, Any]:
            return {"styled": Styled}

    registry = Registry(plugins={"mine": Plugin()})
    domains = {"a": DAY, "b": NIGHT}
    module = Styled(domains=domains, directions=(("a", "b"),))
    save_model(
        tmp_path / "model", module, {"": Origin("styled", "mine", "1", {})}, domains=domains, directions=(("a", "b"),)
    )  # fmt: skip
    model = load(tmp_path, "cpu", registry=registry)
    x = torch.zeros(3, 16, 16)
    before = torch.get_rng_state()
    first, second, other = (model.translate(x, style_seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)
    torch.testing.assert_close(model.translate(x, style=torch.full((3, 4, 4), 0.25)), torch.full_like(x, 0.25))
    white = Image.new("RGB", (5, 5), "white")
    torch.testing.assert_close(model.translate(x, style=white), torch.ones_like(x))


def test_a_style_for_a_model_that_takes_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="takes no style image"):
        translator(tmp_path).translate(torch.zeros(3, 16, 16), to="night", style=torch.zeros(3, 8, 8))
