"""Tiny networks of every plugin, trained a little, for the tests of exports."""

from typing import Any

import torch
from torch import Tensor, nn

from i2i.layers import fold_norms
from i2i.protocols import Domain, Translation
from i2i.registry import Registry
from i2i.translation.translator import Translator
from i2i_cyclegan.networks import resnet
from i2i_pix2pix.networks import unet
from i2i_spade.generator import SpadeGenerator
from i2i_timm.unet import timm_unet
from i2i_unit.networks import UnitGenerator

DOMAINS = {"a": Domain("day", "image", 3), "b": Domain("night", "image", 3)}
LABELS = {"a": Domain("land", "labels", 4), "b": DOMAINS["b"]}
AB = (("a", "b"),)
NETWORKS: dict[str, Any] = {
    "resnet": (resnet, DOMAINS, {"width": 4, "blocks": 1}),
    "unet": (unet, DOMAINS, {"width": 4, "downs": 6, "inference": "eval"}),  # a single position of 64 px in the middle
    "unit": (UnitGenerator, DOMAINS, {"width": 4, "blocks": 1}),
    "unit at full size": (UnitGenerator, DOMAINS, {"width": 4, "blocks": 1, "downs": 0, "norm": "layer"}),
    "spade": (SpadeGenerator, LABELS, {"width": 1, "hidden": 4}),
    "timm": (timm_unet, DOMAINS, {"backbone": "test_resnet", "width": 4}),
    "timm with TensorFlow's padding": (timm_unet, DOMAINS, {"backbone": "tf_mobilenetv3_small_minimal_100", "width": 4}),
}


def translator(name: str, **over: Any) -> Translator:
    """A tiny network after some passes in training, so that its running statistics are those of pictures; trained at 64 px."""
    torch.manual_seed(0)
    factory, domains, options = NETWORKS[name]
    module = factory(domains=domains, directions=AB, **{**options, **over})
    x = torch.rand(2, domains["a"].channels, 64, 64)
    with torch.no_grad():
        for _ in range(20):
            module.train()(x * 2 - 1, "a", "b")
    fold_norms(module.eval())
    return of(module, domains)


def of(module: nn.Module, domains: dict[str, Domain] = DOMAINS) -> Translator:
    """A translator from a to b that was trained at 64 px."""
    return Translator(module, domains, AB, {"extra": {"sizes": {"a": [64, 64]}}}, torch.device("cpu"), Registry({}))


class Tinted(nn.Module):
    """A convolution, and a tint of the style's colour, or of one that is drawn; in each colour *noise* of its own per pixel."""

    exposes = frozenset[str]()
    accepts = frozenset({"style"})
    divisor = 2

    def __init__(self, noise: float = 0) -> None:
        super().__init__()
        self.layer, self.noise = nn.Conv2d(3, 3, 3, padding=1), noise

    def forward(self, x: Tensor, source: str, *targets: str, style: Tensor | None = None) -> Translation:
        tint = torch.randn(x.shape[0], 3) if style is None else style.mean((2, 3))
        made = self.layer(x) + tint[:, :, None, None]
        return Translation(dict.fromkeys(targets, torch.tanh(made + self.noise * torch.randn_like(x) if self.noise else made)))


class Sized(Tinted):
    """Takes a style of one size only."""

    def __init__(self) -> None:
        super().__init__()
        self.code = nn.Linear(3 * 64 * 64, 3)

    def forward(self, x: Tensor, source: str, *targets: str, style: Tensor | None = None) -> Translation:
        tint = torch.randn(x.shape[0], 3) if style is None else self.code(style.flatten(1))
        return Translation(dict.fromkeys(targets, torch.tanh(self.layer(x) + tint[:, :, None, None])))
