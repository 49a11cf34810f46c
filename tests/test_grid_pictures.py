"""Extras that are pictures, such as heat maps: columns of the grid, at the image's size."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor, nn

import i2i_watch
import strangers
import toy
from i2i.adapters import per_direction
from i2i.errors import UserError
from i2i.pictures.sheet import WIDEST
from i2i.protocols import Domain
from i2i.recipe import load_recipe
from i2i.registry import Registry, default_registry, hookimpl
from i2i.testing import check_generator
from i2i.training.running import run_recipe
from i2i.training.samples import Sampling, newest
from i2i.translation.translator import Translator
from i2i_watch.grids import BYTES, address

KEYS = ("ink", "flat", "oil")
DOMAINS = {key: Domain(key, "image", 3) for key in KEYS}
WAYS = tuple((source, target) for source in KEYS for target in KEYS if source != target)


class Heated(nn.Module):
    """The image as it is, and beside it a grey map whose right half is white, and a green picture of one pixel."""

    divisor = 4
    pictures = ("heat", "tint")

    def __init__(self, in_channels: int, out_channels: int, *, odd: bool = False) -> None:
        super().__init__()
        self.net, self.odd = nn.Conv2d(in_channels, out_channels, 1), odd

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        heat = torch.tensor([[-1.0, 1.0]]).expand(len(x), 1, 1, 2)
        tint = torch.tensor([-1.0, 1.0, -1.0]).expand(len(x), 1, 1, 3).permute(0, 3, 1, 2)
        return self.net(x).tanh(), {"heat": heat[0] if self.odd else heat, "tint": tint, "rest": x.mean((2, 3))}


class Misnamed(Heated):
    pictures = ("haet",)  # type: ignore[assignment]


class Plugin:
    @hookimpl
    def register_generators(self) -> dict[str, Any]:
        every = ("heat", "tint", "rest")
        return {"heated": per_direction(Heated, exposes=every), "misnamed": per_direction(Misnamed, exposes=every)}


REGISTRY = Registry(plugins={"toys": toy, "mine": Plugin(), "watch": i2i_watch})


def colour(sheet: Image.Image, x: float, y: float) -> Any:
    return sheet.getpixel((int(x), int(y)))


@pytest.mark.parametrize("overrides", [["generator.name=heated"], ["generator={ab: {name: heated}}"]], ids=["one", "each"])
def test_pictures_are_columns_of_the_grid(overrides: list[str], tmp_path: Path) -> None:
    more = ["dataset={name: stripes, size: 100}", "train.steps=1", "samples.every=1"]
    toy.trained(tmp_path, *more, *overrides, plugins=REGISTRY)
    path = newest(tmp_path / "out")
    assert path is not None
    sheet = Image.open(path)
    assert sheet.size == (5 * 104 + 4, 16 + 2 * 104 + 4)  # plain, to negative, heat, tint, true negative
    for row in (0, 1):
        top = 16 + row * 104
        assert colour(sheet, 2 * 104 + 8, top + 50) == (0, 0, 0)
        assert colour(sheet, 2 * 104 + 98, top + 50) == (255, 255, 255)
        assert 100 < colour(sheet, 2 * 104 + 54, top + 50)[0] < 155  # enlarged smoothly, not cut
        assert colour(sheet, 3 * 104 + 54, top + 50) == (0, 255, 0)
    assert address(sheet, BYTES) in (tmp_path / "out/report.html").read_text()  # the report shows that grid


def model(domains: Any = None, **options: Any) -> Translator:
    domains = domains or DOMAINS
    module = per_direction(Heated, exposes=("heat", "tint", "rest"))(domains=domains, directions=WAYS, **options)
    return Translator(module, domains, WAYS, {}, torch.device("cpu"), REGISTRY)


def test_pictures_of_many_domains_are_tables() -> None:
    batch = {key: torch.zeros(2, 3, 200, 400) for key in KEYS}
    sampling = Sampling(batch, list(WAYS), aligned=False)
    sheet = sampling.sheet(model())
    w = (WIDEST - 4) // 4 - 4
    h = round(w / 2)
    one = 16 + 6 * (h + 4) + 4
    assert sheet.size == (4 * (w + 4) + 4, 3 * one)
    assert [made.shape for _, made in sampling.latest.values()] == [(2, 3, 200, 400)] * 6
    assert colour(sheet, 2.9 * w, one + 16 + h / 2) == (255, 255, 255)  # what ink to flat looks at, at its right
    assert colour(sheet, 2.1 * w, 2 * one + 16 + h / 2) == (0, 255, 0)


def test_a_size_that_is_padded_is_cropped_in_pictures_too() -> None:
    batch = {key: torch.zeros(1, 3, 97, 99) for key in KEYS[:2]}
    sheet = Sampling(batch, [WAYS[0], ("flat", "ink")], aligned=False).sheet(model())
    assert sheet.size == (2 * 5 * 103 + 4, 16 + 101 + 4)  # each way: given, made, heat, tint, back


def test_label_maps_have_pictures_beside_them() -> None:
    domains = {**DOMAINS, "flat": Domain("flat", "labels", 5)}
    given = {"ink": torch.zeros(1, 3, 100, 100)}

    class Labels(Heated):
        def __init__(self, in_channels: int, out_channels: int, activation: nn.Module) -> None:
            super().__init__(in_channels, out_channels)

    module = per_direction(Labels, exposes=("heat", "tint", "rest"))(domains=domains, directions=WAYS)
    sheet = Sampling(given, [WAYS[0]], aligned=False).sheet(replace(model(), module=module, domains=domains))
    assert colour(sheet, 2 * 104 + 98, 60) == (255, 255, 255)


def test_a_name_that_is_not_exposed_is_refused(tmp_path: Path) -> None:
    said = "generator 'misnamed' of the plugin 'mine' names 'haet' in 'pictures', and does not expose it. Did you mean 'heat'?"
    with pytest.raises(UserError, match=re.escape(said)):
        toy.trained(tmp_path, "generator.name=misnamed", plugins=REGISTRY)


def test_what_is_no_picture_is_refused_before_training(tmp_path: Path) -> None:
    said = "the generator names its extra 'heat' in 'pictures', but the shape is (1, 1, 2); expected (B, 1 or 3, h, w)."
    with pytest.raises(UserError, match=re.escape(said)):
        toy.trained(tmp_path, "generator={name: heated, odd: true}", plugins=REGISTRY)
    assert not (tmp_path / "out/recipe.yaml").exists()


def test_the_kit_looks_at_pictures() -> None:
    check_generator("heated", registry=REGISTRY)
    with pytest.raises(AssertionError, match="'pictures' names 'haet', which it does not expose"):
        check_generator("misnamed", registry=REGISTRY)
    with pytest.raises(AssertionError, match=r"the extra 'heat' is a picture: make it \(B, 1 or 3, h, w\), not \(1, 1, 2\)"):
        check_generator("heated", options={"odd": True}, registry=REGISTRY)


@pytest.mark.slow
def test_an_outside_package_shows_where_it_looks(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    with strangers.installed(tmp_path / "site", "heatmaps"):
        registry = default_registry()
        recipe = load_recipe("heatmaps:heatmaps", ["train.steps=1"], registry)
        run_recipe(recipe, tmp_path / "out", registry, resume=False, console=Console(quiet=True))
    path = newest(tmp_path / "out")
    assert path is not None
    sheet = np.asarray(Image.open(path)).astype(int)
    assert sheet.shape == (16 + 2 * 100 + 4, 2 * 4 * 100 + 4, 3)  # each way: given, made, heat map, back
    for way in (0, 1):
        heat = sheet[16:112, (4 * way + 2) * 100 + 4 : (4 * way + 3) * 100]
        assert (heat == heat[..., :1]).all()  # grey
        assert np.ptp(heat) > 150  # from its lowest to its highest value, but for enlarging
