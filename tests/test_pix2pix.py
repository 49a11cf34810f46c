"""pix2pix by its behaviour: sizes, the policy of inference, batch norm, the number of calls, labels."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from i2i.errors import UserError
from i2i.layers import output_activation
from i2i.protocols import Domain
from i2i_pix2pix.layers import BatchNorm
from i2i_pix2pix.loss import Pix2PixLoss
from i2i_pix2pix.networks import PatchGAN, PixelGAN, UNet, patchgan, pixel, unet
from i2i_pix2pix.weights import from_published, to_published
from networks import Counted, all_learn, random_batch

DOMAINS = {"a": Domain("plan", "image", 1), "b": Domain("photo", "image", 3)}
LABELS = {"a": Domain("photo", "image", 3), "b": Domain("map", "labels", 5)}
NORMS = ("batch", "instance", "none")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def net(**options: Any) -> UNet:
    return UNet(1, 3, nn.Tanh(), **{"width": 2, "downs": 3, **options})


def generator(domains: dict[str, Domain] = DOMAINS, **options: Any) -> nn.Module:
    return unet(domains=domains, directions=(("a", "b"),), **{"width": 2, "downs": 3, **options})


def discriminator(domains: dict[str, Domain] = DOMAINS, **options: Any) -> nn.Module:
    return patchgan(domains={"b": domains["b"]}, conditions={"b": domains["a"]}, **{"width": 2, "layers": 1, **options})


def batch(domains: dict[str, Domain] = DOMAINS, size: int = 16) -> dict[str, Tensor]:
    return random_batch(domains, size)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("downs", [2, 3, 4, 5, 6, 8])
def test_any_depth_takes_its_smallest_image(downs: int, norm: str) -> None:
    """One image whose innermost map is 1x1, in training: batch norm has a variance everywhere."""
    size = 2**downs
    network = net(downs=downs, norm=norm).train()
    y = network(torch.randn(1, 1, size, size))
    assert y.shape == (1, 3, size, size)
    assert network.divisor == size
    y.square().mean().backward()
    assert all_learn(network.parameters())


def test_the_levels_are_those_of_the_paper() -> None:
    network = UNet(1, 3, nn.Tanh(), width=1, downs=8)
    assert [down.conv.out_channels for down in network.encoder] == [1, 2, 4, 8, 8, 8, 8, 8]
    assert [up.conv.in_channels for up in network.decoder] == [2, 4, 8, 16, 16, 16, 16, 8]
    dropping = [i for i, up in enumerate(network.decoder) if not isinstance(up.dropout, nn.Identity)]
    assert dropping == [4, 5, 6]
    biases = {name for name, _ in network.named_parameters() if name.endswith("conv.bias")}
    assert biases == {"decoder.0.conv.bias"}


@pytest.mark.parametrize(("height", "width"), [(16, 20), (4, 16), (17, 16)])
def test_sizes_that_do_not_fit_are_named(height: int, width: int) -> None:
    with pytest.raises(UserError, match=rf"'unet': .* {width}x{height} px .* multiples of 8"):
        net()(torch.zeros(1, 1, height, width))


@given(layers=st.integers(1, 5), more=st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_the_smallest_image_of_a_patchgan(layers: int, more: int) -> None:
    network = PatchGAN(1, width=1, layers=layers, norm="none")
    smallest = 3 * 2**layers
    maps = network(torch.zeros(1, 1, smallest, smallest + more))
    assert len(maps) == layers + 2
    assert maps[-1].shape[:3] == (1, 1, 1)
    with pytest.raises(UserError, match=rf"{smallest + more}x{smallest - 1} px .* at least {smallest}"):
        network(torch.zeros(1, 1, smallest - 1, smallest + more))


@pytest.mark.parametrize(
    ("network", "norm", "biased"),
    [
        (PatchGAN, "batch", [True, False, False, False, True]),
        (PatchGAN, "none", [True, False, False, False, True]),
        (PatchGAN, "instance", [True] * 5),
        (PixelGAN, "batch", [True, False, False]),
        (PixelGAN, "instance", [True] * 3),
    ],
)
def test_which_convolutions_have_a_bias(network: type[nn.Module], norm: str, biased: list[bool]) -> None:
    convolutions = [m for m in network(3, norm=norm, width=1).modules() if isinstance(m, nn.Conv2d)]
    assert [m.bias is not None for m in convolutions] == biased


def test_a_condition_is_judged_beside_the_image_and_features_come_with_it() -> None:
    data = batch()
    for D, maps in (
        (discriminator(), 3),
        (pixel(domains={"b": DOMAINS["b"]}, conditions={"b": DOMAINS["a"]}, width=2), 3),
    ):
        assert D.exposes == {"features"}
        (verdict,) = D(data["b"], "b", data["a"])
        assert len(verdict) == maps
        assert verdict[-1].shape[1] == 1
        assert not torch.equal(verdict[-1], D(data["b"], "b", -data["a"])[0][-1])


def test_batch_norm_without_a_variance_is_refused() -> None:
    layer = BatchNorm(3)
    with pytest.raises(UserError, match=r"batch norm has no variance .* larger batch"):
        layer(torch.zeros(1, 3, 1, 1))
    assert layer(torch.zeros(2, 3, 1, 1)).shape == (2, 3, 1, 1)
    assert layer.eval()(torch.zeros(1, 3, 1, 1)).shape == (1, 3, 1, 1)
    with pytest.raises(UserError, match="no variance"):
        BatchNorm(3, own_statistics=True).eval()(torch.zeros(1, 3, 1, 1))


def test_inference_as_published_keeps_dropout_and_the_statistics_of_the_batch() -> None:
    network, x = net(downs=6).train(), torch.randn(2, 1, 64, 64)
    network(x)
    network.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    first, second = network(x), network(x)
    assert not torch.equal(first, second)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    torch.manual_seed(1)
    evaluated = network(x)
    network.train()
    torch.manual_seed(1)
    torch.testing.assert_close(evaluated, network(x))


def test_ordinary_inference_is_deterministic_and_independent_of_the_batch() -> None:
    network, x = net(downs=6, inference="eval").train(), torch.randn(2, 1, 64, 64)
    network(x)
    network.eval()
    state = torch.get_rng_state()
    assert torch.equal(network(x), network(x))
    assert torch.equal(state, torch.get_rng_state())
    torch.testing.assert_close(network(x)[:1], network(x[:1]))
    still = net(downs=6, dropout=False).eval()
    assert torch.equal(still(x), still(x))


def step(loss: Pix2PixLoss, G: Counted, D: Any, data: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    images = loss.translate(G, data)
    judged = loss.discriminator_terms(D, data, {k: v.detach() for k, v in images.items()}) if loss.needs.adversarial else {}
    return loss.generator_terms(D, data, images), judged


@pytest.mark.parametrize("domains", [DOMAINS, LABELS], ids=["images", "labels"])
def test_nothing_is_computed_twice_and_every_parameter_learns(domains: dict[str, Domain]) -> None:
    G, D, loss = Counted(generator(domains)), Counted(discriminator(domains)), Pix2PixLoss(domains=domains)
    made, judged = step(loss, G, D, batch(domains))
    assert (G.calls, D.calls) == ({"ab": 1}, {"b": 3})
    assert (set(made), list(judged)) == ({"gan_b", "l1_b"}, ["real_b", "fake_b"])
    for terms, network in ((judged, D.network), (made, G.network)):
        assert all(term.ndim == 0 for term in terms.values())
        network.zero_grad()
        sum(terms.values()).backward()
        assert all_learn(network.parameters())


def test_the_terms_are_weighted_and_halved() -> None:
    G, D, data = generator(dropout=False, norm="none"), discriminator(norm="none"), batch()
    loss = Pix2PixLoss(domains=DOMAINS, gan=2, l1=3, objective="lsgan")
    made, judged = step(loss, Counted(G), D, data)
    fake = G(data["a"], "a", "b").image
    logits = {name: D(x, "b", data["a"])[0][-1] for name, x in (("fake", fake), ("real", data["b"]))}
    torch.testing.assert_close(judged["fake_b"], logits["fake"].square().mean() / 2)
    torch.testing.assert_close(judged["real_b"], (logits["real"] - 1).square().mean() / 2)
    torch.testing.assert_close(made["gan_b"], 2 * (logits["fake"] - 1).square().mean())
    torch.testing.assert_close(made["l1_b"], 3 * (fake - data["b"]).abs().mean())


def test_terms_of_weight_zero_cost_nothing() -> None:
    loss = Pix2PixLoss(domains=DOMAINS, gan=0)
    assert not loss.needs.adversarial
    made, _ = step(loss, Counted(generator()), None, batch())
    assert set(made) == {"l1_b"}
    made, _ = step(Pix2PixLoss(domains=DOMAINS, l1=0), Counted(generator()), discriminator(), batch())
    assert set(made) == {"gan_b"}
    with pytest.raises(UserError, match="both 0"):
        Pix2PixLoss(domains=DOMAINS, gan=0, l1=0)
    with pytest.raises(UserError, match="two domains, not 3"):
        Pix2PixLoss(domains=DOMAINS | {"c": DOMAINS["a"]})


def test_labels_are_translated_by_softmax() -> None:
    made = generator(LABELS)(batch(LABELS)["a"], "a", "b").image
    torch.testing.assert_close(made.sum(1), torch.ones(2, 16, 16))
    assert isinstance(output_activation(LABELS["b"]), nn.Softmax)


@pytest.mark.parametrize("norm", NORMS)
def test_bfloat16_stays_finite(norm: str) -> None:
    G, D, loss = generator(norm=norm), discriminator(norm=norm), Pix2PixLoss(domains=DOMAINS)
    with torch.autocast("cpu", torch.bfloat16):
        made, judged = step(loss, Counted(G), D, batch())
    for terms in (judged, made):
        sum(terms.values()).backward()
    parameters = [*G.parameters(), *D.parameters()]
    assert all_learn(parameters)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("downs", [2, 5, 7])
def test_names_of_every_unet_go_both_ways(downs: int, norm: str) -> None:
    ours = generator(downs=downs, norm=norm, width=1).state_dict()
    published = to_published(ours, "unet")
    inner = ".".join(["model.model.1", *["model.3"] * (downs - 2), "model"])
    assert {"model.model.0.weight", "model.model.3.bias", f"{inner}.1.weight", f"{inner}.3.weight"} <= set(published["a_b"])
    back = from_published(published, "unet")
    assert back.keys() == ours.keys()
    assert all(back[name] is ours[name] for name in ours)


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(UserError, match=r"'model.26.weight' is not a name in a 'patchgan'"):
        from_published({"b": {"model.26.weight": torch.zeros(1)}}, "patchgan")
