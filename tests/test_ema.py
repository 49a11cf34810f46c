"""The averaged generator where weights are divided by their largest singular value."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from i2i.training.ema import Ema
from i2i_spade.layers import SpectralConv2d


class OfTorch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = spectral_norm(nn.Conv2d(3, 8, 3))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return y


class OfSpade(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = SpectralConv2d(3, 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return y


def largest(network: nn.Module) -> float:
    """The largest singular value of the weight that the network applies; 1 if it was judged rightly."""
    with torch.no_grad():
        x = torch.eye(27).view(27, 3, 3, 3)  # the response to each unit of a window: the weight's matrix
        rows = network(x).flatten(1) - network(torch.zeros(1, 3, 3, 3)).flatten(1)
        return float(torch.linalg.matrix_norm(rows, 2))


def trained(network: nn.Module, ema: Ema) -> None:
    """Steps that turn the weight about, so that its average has other singular vectors."""
    torch.manual_seed(1)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.2)
    for _ in range(20):
        optimizer.zero_grad()
        network(torch.randn(2, 3, 8, 8)).square().mean().backward()
        for parameter in network.parameters():
            assert parameter.grad is not None
            parameter.grad += torch.randn_like(parameter)
        optimizer.step()
        ema.update(network)


@pytest.mark.parametrize("build", [OfTorch, OfSpade])
def test_the_averaged_weight_has_norm_one(build: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    network = build()
    ema = Ema(network, 0.9)
    trained(network, ema)
    unsettled = copy.deepcopy(ema.averaged.module)
    assert isinstance(unsettled, nn.Module)
    assert abs(largest(unsettled.eval()) - 1) > 0.02
    assert largest(ema.network) == pytest.approx(1, abs=5e-3)


@pytest.mark.parametrize("build", [OfTorch, OfSpade])
def test_looking_at_the_average_does_not_change_what_it_becomes(build: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    network = build()
    looked, left = Ema(network, 0.9), Ema(network, 0.9)
    for ema in (looked, left):
        ours = copy.deepcopy(network)
        trained(ours, ema)
        if ema is looked:
            assert not ema.network.training
        trained(ours, ema)
    one, other = looked.averaged.state_dict(), left.averaged.state_dict()
    assert all(torch.equal(one[key], other[key]) for key in one)
