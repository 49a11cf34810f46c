"""Ordinary networks as components."""

import inspect

import pytest
import torch
from torch import nn

import toy
from i2i.adapters import per_direction, per_domain
from i2i.errors import UserError
from i2i.protocols import Domain

DOMAINS = {"a": Domain("sketch", "image", 1), "b": Domain("photo", "image", 3)}


def test_one_network_for_each_direction() -> None:
    G = per_direction(toy.ToyNet)(domains=DOMAINS, directions=(("a", "b"), ("b", "a")), width=2).eval()
    assert G.divisor == 4
    assert G.exposes == frozenset()
    there = G(torch.rand(2, 1, 8, 8), "a", "b").image
    assert there.shape == (2, 3, 8, 8)
    assert G(there, "b", "a").image.shape == (2, 1, 8, 8)


def test_a_judge_sees_the_condition_before_the_image() -> None:
    class Sees(nn.Module):
        def __init__(self, in_channels: int) -> None:
            super().__init__()
            self.in_channels = in_channels

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert x.shape[1] == self.in_channels
            return x

    D = per_domain(Sees)(domains={"b": DOMAINS["b"]}, conditions={"b": DOMAINS["a"]})
    ((logits,),) = D(torch.ones(1, 3, 4, 4), "b", torch.zeros(1, 1, 4, 4))
    assert logits[0, :, 0, 0].tolist() == [0, 1, 1, 1]


def test_features_and_scales_become_a_verdict() -> None:
    image = torch.rand(1, 3, 8, 8)
    features = per_domain(toy.ToyJudge, features=True)(domains=DOMAINS, conditions={})
    assert features.exposes == {"features"}
    assert [len(scale) for scale in features(image, "b")] == [2]

    class TwoScales(nn.Module):
        def __init__(self, in_channels: int) -> None:
            super().__init__()

        def forward(self, x: torch.Tensor) -> list[list[torch.Tensor]]:
            return [[x, x], [x]]

    assert [len(scale) for scale in per_domain(TwoScales)(domains=DOMAINS, conditions={})(image, "b")] == [2, 1]


def test_the_networks_options_are_the_components_options() -> None:
    parameters = inspect.signature(per_direction(toy.ToyNet)).parameters
    assert list(parameters) == ["domains", "directions", "width"]
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in parameters.values())
    assert parameters["width"].default == 4


def test_an_option_may_not_take_the_cores_names() -> None:
    def network(in_channels: int, out_channels: int, *, domains: int = 1) -> nn.Module:
        return nn.Identity()

    with pytest.raises(UserError, match="'domains' has a name that the core uses"):
        per_direction(network)


class Activated(nn.Conv2d):
    def __init__(self, in_channels: int, out_channels: int, activation: nn.Module, *, kernel: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel)
        self.activation = activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.activation(super().forward(x))
        return y


def test_a_network_that_asks_for_it_is_given_the_target_s_last_layer() -> None:
    domains = {"a": Domain("photo", "image", 3), "b": Domain("labels", "labels", 5)}
    G = per_direction(Activated)(domains=domains, directions=(("a", "b"), ("b", "a")))
    x = torch.rand(2, 3, 4, 4)
    labels = G(x, "a", "b").image
    torch.testing.assert_close(labels.sum(1), torch.ones(2, 4, 4))
    assert G(labels, "b", "a").image.abs().max() <= 1


def test_a_network_without_that_parameter_makes_no_labels() -> None:
    domains = {"a": Domain("photo", "image", 3), "b": Domain("labels", "labels", 5)}
    with pytest.raises(UserError, match="cannot translate into the labels"):
        per_direction(toy.ToyNet)(domains=domains, directions=(("a", "b"),))
