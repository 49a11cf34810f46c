"""Every layer with a faster way computes what the textbook's layer does: values and gradients, in double precision."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i.convolutions import Conv2d, ConvTranspose2d, layers, winograd
from i2i.layers import InstanceNorm, set_fast
from i2i_spade.layers import SpectralConv2d
from i2i_unit.layers import UpsamplingConv

LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "few positions": (lambda: Conv2d(5, 6, 4, 2, 1), (2, 5, 8, 6)),
    "few positions, in parts": (lambda: Conv2d(5, 8, 4, 2, 1), (2, 5, 8, 6)),
    "few positions, oblong, no bias": (lambda: Conv2d(5, 6, (3, 2), (1, 2), (1, 0), bias=False), (2, 5, 4, 6)),
    "few positions, reflected": (lambda: Conv2d(5, 6, 3, padding=1, padding_mode="reflect"), (3, 5, 4, 4)),
    "one position": (lambda: Conv2d(5, 6, 4, 2, 1), (1, 5, 2, 2)),
    "few channels": (lambda: Conv2d(5, 3, 7, padding=3, padding_mode="reflect"), (2, 5, 12, 9)),
    "few channels, oblong, zeros": (lambda: Conv2d(5, 2, (5, 6), padding=(1, 3), bias=False), (2, 5, 14, 10)),
    "many positions": (lambda: Conv2d(5, 6, 3, padding=1), (2, 5, 9, 9)),
    "many channels": (lambda: Conv2d(64, 65, 3, padding=1), (1, 64, 32, 32)),
    "many channels, oblong, reflected": (lambda: Conv2d(64, 64, 3, padding=1, padding_mode="reflect"), (2, 64, 13, 40)),
    "many channels, odd width": (lambda: Conv2d(64, 64, 3, padding=1), (1, 64, 32, 33)),
    "two groups": (lambda: Conv2d(4, 6, 3, groups=2), (1, 4, 4, 4)),
    "transposed": (lambda: ConvTranspose2d(5, 6, 4, 2, 1), (2, 5, 4, 3)),
    "transposed, added row": (lambda: ConvTranspose2d(5, 6, 3, 2, 1, output_padding=1, bias=False), (2, 5, 3, 4)),
    "transposed, one position": (lambda: ConvTranspose2d(5, 6, 4, 2, 1), (1, 5, 1, 1)),
    "transposed, many positions": (lambda: ConvTranspose2d(5, 6, 4, 2, 1), (2, 5, 9, 9)),
    "enlarging": (lambda: UpsamplingConv(5, 3), (2, 5, 4, 6)),
    "enlarging many channels": (lambda: UpsamplingConv(64, 16), (1, 64, 32, 32)),
    "spectral, many channels": (lambda: SpectralConv2d(64, 64, 3, padding=1, bias=False), (1, 64, 32, 32)),
    "spectral": (lambda: SpectralConv2d(5, 6, 3, padding=1), (2, 5, 4, 4)),
    "instance norm": (InstanceNorm, (2, 5, 6, 4)),
}


def result(layer: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """The layer's values, between norms that a wrong layout would mislead, and every gradient; the buffers afterwards."""
    x = x.clone().requires_grad_()
    y = layer(F.instance_norm(x) if x[0, 0].numel() > 1 else x)
    z = F.group_norm(y, y.shape[1]) if y[0, 0].numel() > 1 else y
    (z.square() * torch.linspace(-1, 1, z.numel(), dtype=z.dtype).view_as(z)).sum().backward()
    assert y.is_contiguous()
    gradients = {name: parameter.grad for name, parameter in layer.named_parameters()}
    return {"y": y.detach(), "x": x.grad, **gradients, **dict(layer.named_buffers())}


@pytest.mark.parametrize("name", LAYERS)
def test_both_ways_agree(name: str) -> None:
    make, shape = LAYERS[name]
    torch.manual_seed(0)
    fast = make().double()
    slow = copy.deepcopy(fast)
    set_fast([slow, None], False)
    x = torch.randn(shape, dtype=torch.double)
    torch.testing.assert_close(result(fast, x), result(slow, x), rtol=0, atol=1e-10)
    assert list(fast.state_dict()) == list(slow.state_dict())


@pytest.mark.parametrize(
    ("name", "place", "way"),
    [
        ("few positions", layers, "_as_product"),
        ("few channels", layers, "_by_columns"),
        ("many channels", winograd, "convolved"),
    ],
)
def test_the_faster_way_is_taken_where_it_is_meant_to(name: str, place: Any, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    usual = getattr(place, way)
    monkeypatch.setattr(place, way, lambda *given: taken.append(way) or usual(*given))
    make, shape = LAYERS[name]
    layer = make()
    layer(torch.randn(shape))
    set_fast([layer], False)
    layer(torch.randn(shape))
    assert taken == [way]


def test_half_the_multiplications_round_no_worse() -> None:
    """In single precision against double precision, beside torch's convolution: less than twice its error, and 1e-6."""
    torch.manual_seed(0)
    x, weight = torch.randn(1, 256, 34, 34), torch.randn(64, 256, 3, 3) / 48
    exact = F.conv2d(x.double(), weight.double())
    ours, torchs = ((made - exact).norm() / exact.norm() for made in (winograd.convolved(x, weight), F.conv2d(x, weight)))
    assert ours < 2 * torchs
    assert ours < 1e-6


def test_a_quarter_of_the_multiplications_where_no_gradient_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside torch's convolution: equal in double precision, less than seven times its error and 2e-6 in single."""
    torch.manual_seed(0)
    taken: list[str] = []
    usual = winograd.in_both_directions
    monkeypatch.setattr(winograd, "in_both_directions", lambda *given: taken.append("both") or usual(*given))
    x, layer = torch.randn(2, 256, 32, 64), Conv2d(256, 260, 3, padding=1, padding_mode="reflect")
    double = copy.deepcopy(layer).double().eval()
    exact = double(x.double()).detach()  # with gradients: torch's own
    with torch.inference_mode():
        assert ((double(x.double()) - exact).norm() / exact.norm()) < 1e-13
        ours, torchs = ((way(x).double() - exact).norm() for way in (layer.eval(), partial(nn.Conv2d.forward, layer)))
        assert ours < 7 * torchs
        assert ours < 2e-6 * exact.norm()
        assert taken == ["both"] * 2
        for other in (x[:, :, :30], x[:1, :, :, :32], x.repeat(5, 1, 1, 1)):  # rows are no multiple of 4, too few, too many
            layer(other)
    layer.train()(x)
    assert taken == ["both"] * 2


def test_half_precision_and_gradients_in_evaluation_take_the_ordinary_way(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    usual = winograd.convolved
    monkeypatch.setattr(winograd, "convolved", lambda *given: taken.append("winograd") or usual(*given))
    make, shape = LAYERS["many channels"]
    layer, x = make(), torch.randn(shape)
    layer.eval()(x)
    with torch.autocast("cpu", torch.bfloat16):
        layer.train()(x)
    assert not taken
    with torch.inference_mode():
        layer.eval()(x)
    assert taken


@pytest.mark.parametrize("name", ["few positions", "few positions, in parts", "transposed", "few channels", "many channels"])
def test_half_precision_stays_half_precision(name: str) -> None:
    make, shape = LAYERS[name]
    layer, x = make(), torch.randn(shape)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["few positions", "few positions, in parts", "transposed", "few channels"])
def test_gradients_can_be_differentiated(name: str) -> None:
    make, shape = LAYERS[name]
    layer = make().double()
    x = torch.randn((1, *shape[1:]), dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda given: layer(given).square(), (x,))


def test_winograds_gradients_can_be_differentiated() -> None:
    x, weight = (torch.randn(shape, dtype=torch.double, requires_grad=True) for shape in ((2, 2, 4, 10), (2, 2, 3, 3)))
    assert torch.autograd.gradcheck(winograd.convolved, (x, weight))
    assert torch.autograd.gradgradcheck(winograd.convolved, (x, weight))
