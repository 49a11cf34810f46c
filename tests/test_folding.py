"""For translation, batch norms with running statistics become part of the convolutions before them."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from i2i.layers import fold_norms, folded
from i2i.protocols import Direction, Domain
from i2i.registry import default_registry
from i2i.translation.loading import load
from i2i.translation.model_folder import Origin, save_model
from i2i_cyclegan.networks import ResNet
from i2i_pix2pix.networks import UNet

NETWORKS = {
    "unet": lambda: UNet(3, 3, nn.Tanh(), width=4, downs=4, inference="eval"),
    "resnet": lambda: ResNet(3, 3, nn.Tanh(), width=4, blocks=2, norm="batch"),
    "resnet, resize": lambda: ResNet(3, 3, nn.Tanh(), width=4, blocks=1, norm="batch", upsampling="resize"),
}


def seasoned(network: nn.Module) -> nn.Module:
    """Norms that scale, shift and remember, so that leaving any of it out shows."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.uniform_(module.bias, -1, 1)
    with torch.no_grad():
        network.train()(torch.randn(3, 3, 32, 32))
    return network.eval()


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize("name", NETWORKS)
def test_folded_networks_compute_the_same(name: str) -> None:
    torch.manual_seed(0)
    whole = seasoned(NETWORKS[name]()).double()
    quick = copy.deepcopy(whole)
    fold_norms(quick)
    x = torch.randn(2, 3, 32, 32, dtype=torch.double)
    assert norms(whole)
    assert not norms(quick)
    assert torch.allclose(quick(x), whole(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("given", [{"inference": "train_mode"}, {"norm": "instance"}])
def test_norms_by_the_pictures_own_statistics_stay(given: dict[str, str]) -> None:
    network = UNet(3, 3, nn.Tanh(), width=4, downs=4, **given)  # type: ignore[arg-type]
    before = [type(module) for module in network.modules()]
    fold_norms(network)
    assert [type(module) for module in network.modules()] == before


@pytest.mark.parametrize(
    ("conv", "norm"),
    [
        (nn.Conv2d(4, 4, 1, groups=2), nn.BatchNorm2d(4)),
        (nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)),
        (nn.Linear(4, 4), nn.BatchNorm2d(4)),
        (nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 4, 1)), nn.BatchNorm2d(4)),
        (nn.Conv2d(4, 4, 1), nn.Identity()),
    ],
)
def test_what_cannot_be_folded_is_left(conv: nn.Module, norm: nn.Module) -> None:
    assert folded(conv, norm) == (conv, norm)


def test_a_loaded_model_is_folded(tmp_path: Path) -> None:
    domains = {"a": Domain("day", "image", 3), "b": Domain("night", "image", 3)}
    directions: tuple[Direction, ...] = (("a", "b"),)
    settings = {"width": 4, "downs": 4, "inference": "eval"}
    entry = default_registry().get("generator", "unet")
    module = entry.factory(domains=domains, directions=directions, **settings)
    seasoned(module.networks["a_b"])
    origin = Origin(entry.name, entry.plugin, entry.version, settings)
    save_model(tmp_path, module, {"": origin}, domains=domains, directions=directions)
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        expected = module.eval()(x, "a", "b").images["b"]
    loaded = load(tmp_path, "cpu")
    assert not norms(loaded.module)
    assert torch.allclose(loaded.translate(x), expected, atol=1e-5)
