"""Tiles: the result is the whole image's, and what cannot be tiled is refused."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import i2i_translate
from i2i.adapters import per_direction
from i2i.errors import UserError
from i2i.protocols import Domain
from i2i.randomness import noise_like, part_of_a_picture, seeded
from i2i.registry import Registry, default_registry, hookimpl
from i2i.translation.translator import Translator
from i2i_cyclegan.networks import resnet
from i2i_pix2pix.networks import unet
from i2i_spade.generator import SpadeGenerator
from i2i_translate.statistics import Moments, Statistics, TileDoneError
from i2i_translate.tiling import CannotTileError, in_tiles, margin_of, windows
from i2i_unit.networks import UnitGenerator

DOMAINS = {"a": Domain("day", "image", 3), "b": Domain("night", "image", 3)}
LABELS = {"a": Domain("land", "labels", 4, instances=True), "b": DOMAINS["b"]}
AB = (("a", "b"),)


class Grainy(nn.Module):
    """Noise for every pixel, and for every pixel of a map of half the size."""

    divisor = 2

    def __init__(self, in_channels: int, out_channels: int, *, drawn: Any = noise_like) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(in_channels, 4, 4, 2, 1), nn.ConvTranspose2d(4, out_channels, 4, 2, 1)
        self.drawn = drawn

    def forward(self, x: Tensor) -> Tensor:
        h = self.down(x + 0.3 * self.drawn(x))
        return torch.tanh(self.up(h + self.drawn(h)) + 0.3 * self.drawn(x))


NETWORKS: dict[str, Any] = {
    "resnet": (resnet, {"width": 6, "blocks": 4}),
    "resnet, batch norm": (resnet, {"width": 6, "blocks": 2, "norm": "batch"}),
    "unet": (unet, {"width": 6, "downs": 5, "norm": "instance", "dropout": False}),
    "unet, the batch's own statistics": (unet, {"width": 6, "downs": 4, "dropout": False}),
    "unit, layer norm": (UnitGenerator, {"width": 6, "blocks": 2}),
    "noise, no norm": (per_direction(Grainy), {}),
}


def translator(factory: Any, domains: dict[str, Domain] = DOMAINS, **options: Any) -> Translator:
    torch.manual_seed(0)
    module = factory(domains=domains, directions=AB, **options)
    for parameter in module.parameters():
        if parameter.ndim == 4:  # weights large enough for differences to show
            nn.init.kaiming_normal_(parameter, nonlinearity="relu")
    return Translator(module, domains, AB, {}, torch.device("cpu"), Registry({"translate": i2i_translate}))


@pytest.mark.parametrize("name", NETWORKS)
def test_tiles_equal_the_whole(name: str) -> None:
    factory, options = NETWORKS[name]
    model = translator(factory, **options)
    x = torch.rand(2, 3, 150, 203) * 2 - 1
    whole, tiled = model.translate(x, tile=0), model.translate(x, tile=40)
    assert whole.std() > 0.1
    assert not torch.equal(whole, tiled) or name.endswith(("batch norm", "no norm"))  # it did go through in tiles
    torch.testing.assert_close(tiled, whole, atol=1e-4, rtol=0)


def drawn(x: Tensor) -> Tensor:
    with seeded(3):
        return noise_like(x)


def test_noise_is_normal_and_the_same_in_every_layout() -> None:
    x = torch.zeros(2, 3, 128, 96)
    noise = drawn(x)
    moments = [float(noise.pow(power).mean()) for power in (1, 2, 3, 4)]
    assert moments == pytest.approx([0, 1, 0, 3], abs=0.1)
    for axis in range(4):  # neighbours have nothing to do with each other
        size = x.shape[axis] - 1
        assert abs(float((noise.narrow(axis, 0, size) * noise.narrow(axis, 1, size)).mean())) < 0.03
    last = drawn(x.contiguous(memory_format=torch.channels_last))
    assert last.stride() != noise.stride()
    assert torch.equal(last, noise)
    assert not torch.equal(noise_like(x), noise_like(x))
    assert drawn(x.half()).dtype == torch.half
    assert noise_like(torch.zeros(2, 5, device="meta")).shape == (2, 5)
    assert noise_like(torch.zeros(0, 3, 4, 4)).shape == (0, 3, 4, 4)


def test_the_noise_of_a_part_is_that_part_of_the_noise() -> None:
    whole, half = drawn(torch.zeros(1, 2, 40, 64)), drawn(torch.zeros(1, 5, 20, 32))
    with part_of_a_picture(8, 16, 24, 32):
        assert torch.equal(drawn(torch.zeros(1, 2, 24, 32)), whole[:, :, 8:32, 16:48])
        assert torch.equal(drawn(torch.zeros(1, 5, 12, 16)), half[:, :, 4:16, 8:24])
        assert torch.equal(drawn(torch.zeros(1, 2, 5, 5)), whole[:, :, :5, :5])  # no map of the picture
    assert torch.equal(drawn(torch.zeros(1, 2, 24, 32)), whole[:, :, :24, :32])


def test_pictures_and_labels_too() -> None:
    model = translator(UnitGenerator, width=4, blocks=1)
    pixels = np.random.default_rng(0).integers(0, 256, (131, 170, 3), dtype=np.uint8)
    whole, tiled = (np.array(model.translate(Image.fromarray(pixels), tile=tile), dtype=int) for tile in (0, 48))
    assert whole.shape == pixels.shape
    assert abs(whole - tiled).max() <= 1  # a rounding at most
    maps = translator(SpadeGenerator, LABELS, width=2, hidden=4, norm="batch")
    ids = torch.randint(0, 3, (1, 2, 400, 40))
    torch.testing.assert_close(maps.translate(ids, tile=64), maps.translate(ids, tile=0), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("factory", "options", "message"),
    [
        (unet, {"width": 2, "downs": 6}, "differ from the whole"),  # dropout draws for every pixel
        (per_direction(Grainy), {"drawn": torch.randn_like}, "draws noise for every pixel otherwise than by i2i.randomness"),
        (SpadeGenerator, {"width": 1, "hidden": 2, "vae": True, "size": (64, 64)}, "cannot translate in tiles"),
    ],
)
def test_what_cannot_be_tiled_is_refused_or_done_whole(
    factory: Any, options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = translator(factory, **options)
    x = torch.rand(1, 3, 96, 96)
    with pytest.raises(CannotTileError, match=message):
        model.translate(x, tile=32)
    monkeypatch.setattr("i2i.translation.translator.LARGE", 1000)
    assert torch.equal(model.translate(x), model.translate(x, tile=0))  # automatic: the whole


def test_large_images_are_tiled_without_being_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    model = replace(translator(resnet, width=2, blocks=1), registry=default_registry())  # as i2i.load has it
    seen: list[tuple[int, ...]] = []
    model.module.register_forward_pre_hook(lambda _, args: seen.append(tuple(args[0].shape[2:])))
    monkeypatch.setattr("i2i.translation.translator.LARGE", 1000)
    monkeypatch.setattr("i2i_translate.large.TILE_ON_CPU", 16)
    model.translate(torch.zeros(3, 300, 16))
    assert max(seen[-1]) < 100


def test_without_the_plugin_tiles_are_refused_and_large_images_go_through_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = replace(translator(resnet, width=2, blocks=1), registry=Registry({}))
    x = torch.rand(3, 48, 40)
    with pytest.raises(UserError, match="tile: no loaded plugin translates in tiles"):
        bare.translate(x, tile=16)
    monkeypatch.setattr("i2i.translation.translator.LARGE", 1000)
    assert torch.equal(bare.translate(x), bare.translate(x, tile=0))


class Halves:
    """A stranger's way with large images: files become half as bright, tensors are left to the network."""

    @hookimpl
    def translate_large(self, model: Translator, image: Tensor, way: Any, tile: int | None, files: bool) -> Tensor | None:
        assert (model.engine, way) == (None, ("a", "b"))
        return image // 2 if files and tile == 7 else None


def test_others_may_bring_another_way_with_large_images() -> None:
    model = replace(translator(resnet, width=2, blocks=1), registry=Registry([Halves()]))
    assert model.translate(Image.new("RGB", (9, 8), (10, 20, 30)), tile=7).getpixel((8, 7)) == (5, 10, 15)
    with pytest.raises(UserError, match="no loaded plugin"):
        model.translate(torch.zeros(3, 8, 9), tile=7)


def test_sixteen_bits_are_tiled_up_to_their_rounding() -> None:
    model = replace(translator(UnitGenerator, width=4, blocks=1), precision="bf16")
    x = torch.rand(1, 3, 150, 203) * 2 - 1
    whole, tiled = model.translate(x, tile=0), model.translate(x, tile=40)
    assert not torch.equal(whole, tiled)  # it did go through in tiles
    assert (whole - tiled).abs().mean() < 0.01


class Net(nn.Module):
    """Any function of a batch, as a network of divisor 1."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.function(x)
        return y


REDUCTIONS = {
    "group": lambda x: nn.functional.group_norm(x, 2),
    "instance": lambda x: nn.functional.instance_norm(x),
    "batch": lambda x: nn.functional.batch_norm(x, None, None, training=True),
    "layer": lambda x: nn.functional.layer_norm(x, x.shape[1:]) if x.shape[2] == 40 else nn.functional.group_norm(x, 1),
    "mean": lambda x: x - x.mean((2, 3), keepdim=True),
    "std": lambda x: x / torch.std(x, dim=(1, 2, 3), keepdim=True),
    "var": lambda x: x / x.var((0, 2, 3), False, True),
    "pooled": lambda x: x - nn.functional.adaptive_avg_pool2d(x, 1),
}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_every_reduction_sees_the_whole(name: str) -> None:
    net = Net(lambda x: REDUCTIONS[name](x * x).sin())
    x = torch.rand(1, 4, 40, 40) + torch.linspace(0, 1, 40)
    made = torch.zeros(1, 4, 40, 40)

    def write(top: int, left: int, part: Tensor) -> None:
        made[:, :, top : top + part.shape[2], left : left + part.shape[3]] = part

    places = list(windows(40, 40, 13, 0, 1))
    assert in_tiles(net, lambda t, b, left, right: x[:, :, t:b, left:right], write, places, 1) == 2
    torch.testing.assert_close(made, net(x), atol=1e-5, rtol=1e-5)


def test_moments_join() -> None:
    x = torch.rand(2, 3, 8, 9)
    joined = Moments.of(x[..., :4]).joined(Moments.of(x[..., 4:]))
    torch.testing.assert_close(joined.mean, x.double().mean((2, 3)), atol=1e-7, rtol=0)
    torch.testing.assert_close(joined.variance, x.double().var((2, 3), correction=0), atol=1e-7, rtol=0)


def test_the_margin_is_what_a_pixel_sees() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 5, padding=2), nn.Conv2d(4, 3, 3, padding=2, dilation=2))
    assert margin_of(net, torch.zeros(1, 3, 8, 8), 1) == 4
    whole = Net(lambda x: x.cumsum(2))
    with pytest.raises(CannotTileError, match="looks 1024 pixels away"):
        margin_of(whole, torch.zeros(1, 3, 8, 8), 1)


def test_a_statistic_collects_only_the_core() -> None:
    statistics = Statistics(1)
    statistics.begin((1, 3, 0, 4), (4, 4))
    x = torch.arange(16.0).view(1, 1, 4, 4)
    with pytest.raises(TileDoneError), statistics:
        nn.functional.instance_norm(x)
    statistics.pass_ended()
    assert (statistics.known[0].count, float(statistics.known[0].mean)) == (8, 7.5)
    assert statistics.moments(x[..., :3]) is None  # no feature map of this tile


@pytest.mark.slow
def test_memory_stays_with_the_tile(tmp_path: Path) -> None:
    """A picture of 3072 x 3072: the whole would need 3 GB for one feature map of this network, the tiles far less."""
    code = (
        "import resource, torch, i2i_translate\nfrom PIL import Image\nfrom i2i.translation.translator import Translator\n"
        "from i2i.registry import Registry\n"
        "from i2i.protocols import Domain\nfrom i2i_pix2pix.networks import unet\ntorch.set_num_threads(1)\n"
        "D = {'a': Domain('a', 'image', 3), 'b': Domain('b', 'image', 3)}\n"
        "net = unet(domains=D, directions=(('a', 'b'),), width=32, downs=2, norm='none', dropout=False)\n"
        "model = Translator(net, D, (('a', 'b'),), {}, torch.device('cpu'), Registry({'translate': i2i_translate}))\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "made = model.translate(Image.new('RGB', (3072, 3072), 'teal'))\nassert made.size == (3072, 3072)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 400  # MB


@pytest.mark.parametrize("kind", ["image", "labels"])
def test_a_picture_of_one_colour_is_tiled_too(kind: str) -> None:
    """Instance norm makes the rounding of a plain picture as large as any picture, which says nothing about the network."""
    domains = DOMAINS if kind == "image" else {"a": Domain("land", "labels", 4), "b": DOMAINS["b"]}
    model = translator(resnet, domains, width=6, blocks=4)
    plain = torch.full((1, 3, 150, 203), 0.37) if kind == "image" else torch.ones(1, 1, 150, 203, dtype=torch.long)
    seen: list[int] = []
    model.module.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[3]))
    assert model.translate(plain, tile=40).shape == (1, 3, 150, 203)
    assert max(seen[-10:]) < 203
