"""Ordinary networks as components."""

import inspect
import re

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


class Mapped(nn.Module):
    """Ten times the image's channels, with their mean over pixels."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.out_channels = out_channels

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return 10 * x[:, : self.out_channels], {"cam": x.mean((2, 3)) + self.out_channels}


def test_a_generator_s_extras_are_called_by_their_target_where_there_are_several() -> None:
    domains = {"a": Domain("photo", "image", 3), "b": Domain("two", "image", 2), "c": Domain("one", "image", 1)}
    factory = per_direction(Mapped, exposes=["cam"])
    assert factory.exposes == {"cam"}  # type: ignore[attr-defined]
    G = factory(domains=domains, directions=(("a", "b"), ("a", "c"), ("b", "c")))
    assert G.exposes == {"cam"}
    x = torch.zeros(1, 3, 4, 4)
    one, several, none = G(x, "a", "c"), G(x, "a", "c", "b"), G(x, "a")
    assert {name: float(extra[0, 0]) for name, extra in one.extras.items()} == {"cam": 1}
    assert {name: float(extra[0, 0]) for name, extra in several.extras.items()} == {"cam": 1, "c.cam": 1, "b.cam": 2}
    assert (none.images, {name: float(extra[0, 0]) for name, extra in none.extras.items()}) == ({}, {"cam": 2})
    assert several.images["b"].shape == (1, 2, 4, 4)


@pytest.mark.parametrize("features", [False, True])
def test_a_judge_s_extras_come_with_its_verdict(features: bool) -> None:
    class Attentive(nn.Module):
        def __init__(self, in_channels: int) -> None:
            super().__init__()

        def forward(self, x: torch.Tensor) -> tuple[list[torch.Tensor] | torch.Tensor, dict[str, torch.Tensor]]:
            return [x, x + 1] if features else x + 1, {"cam": x.mean((2, 3))}

    factory = per_domain(Attentive, features=features, exposes=("cam",))
    D = factory(domains=DOMAINS, conditions={})
    assert D.exposes == factory.exposes == ({"cam", "features"} if features else {"cam"})  # type: ignore[attr-defined]
    verdict = D(torch.zeros(1, 3, 4, 4), "b")
    assert [len(scale) for scale in verdict] == [1 + features]
    assert float(verdict[0][-1].mean()) == 1
    assert verdict.extras["cam"].shape == (1, 3)


@pytest.mark.parametrize(
    ("exposes", "message"),
    [
        ((), "these extras: 'cam'; its adapter's 'exposes' names: none. Return (image, {name: tensor})"),
        (("map", "cam"), "these extras: 'cam'; its adapter's 'exposes' names: 'cam', 'map'."),
    ],
)
def test_extras_that_are_not_those_exposed(exposes: tuple[str, ...], message: str) -> None:
    G = per_direction(Mapped, exposes=exposes)(domains=DOMAINS, directions=(("b", "a"),))
    with pytest.raises(UserError, match=re.escape(message)):
        G(torch.zeros(1, 3, 4, 4), "b", "a")


def test_exposes_are_names_and_not_one_string() -> None:
    with pytest.raises(UserError, match=re.escape("exposes=('cam',)")):
        per_domain(toy.ToyJudge, exposes="cam")
