"""UNIT by its behaviour: sizes, noise, the number of calls, labels, and the exact rewrite of the upsampling."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i.errors import UserError
from i2i.layers import let_call_together
from i2i.objectives import reconstruction
from i2i.protocols import Direction, Domain
from i2i_unit.layers import UpsamplingConv
from i2i_unit.loss import UnitLoss
from i2i_unit.networks import MultiscaleDiscriminator, UnitGenerator
from networks import all_learn, random_batch

DOMAINS = {"a": Domain("day", "image", 3), "b": Domain("night", "image", 1)}
LABELS = {"a": Domain("photo", "image", 3), "b": Domain("map", "labels", 5)}
EVERY: tuple[Direction, ...] = (("a", "a"), ("a", "b"), ("b", "a"), ("b", "b"))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def generator(domains: dict[str, Domain] = DOMAINS, directions: tuple[Direction, ...] = EVERY) -> UnitGenerator:
    return UnitGenerator(domains=domains, directions=directions, width=4, blocks=1)


def discriminator(domains: dict[str, Domain] = DOMAINS, **options: Any) -> MultiscaleDiscriminator:
    return MultiscaleDiscriminator(domains=domains, conditions={}, width=4, layers=2, scales=2, **options)


def batch(domains: dict[str, Domain] = DOMAINS, size: int = 16) -> dict[str, Tensor]:
    return random_batch(domains, size)


class Counted:
    """A bare callable that counts the calls of a network, and for G the images asked for."""

    def __init__(self, network: nn.Module) -> None:
        self.network, self.calls, self.encodings, self.decodings = network, Counter[str](), 0, 0

    def __call__(self, x: Tensor, key: str, *targets: str, **given: Any) -> Any:
        self.calls[key] += 1
        self.encodings += "latent" not in given
        self.decodings += len(targets)
        return self.network(x, key, *targets, **given)


@pytest.mark.parametrize(("height", "width"), [(16, 18), (17, 16), (4, 16)])
def test_sizes_that_do_not_fit_are_named(height: int, width: int) -> None:
    with pytest.raises(UserError, match=rf"{width}x{height} px .* multiples of 4 and at least 8"):
        generator()(torch.zeros(1, 3, height, width), "a", "b")


def test_smallest_sizes_work() -> None:
    assert generator()(torch.randn(1, 3, 8, 12), "a", "b").image.shape == (1, 1, 8, 12)
    D = MultiscaleDiscriminator(domains=DOMAINS, conditions={}, width=1)
    assert [maps[-1].shape for maps in D(torch.randn(1, 3, 61, 61), "a")] == [(1, 1, n, n) for n in (3, 1, 1)]
    with pytest.raises(UserError, match=r"60x64 px .* at least 61"):
        D(torch.randn(1, 3, 64, 60), "a")


def test_evaluation_has_no_noise_and_training_has() -> None:
    G, x = generator(), batch()["a"]
    first, second = G(x, "a", "b").image, G(x, "a", "b").image
    assert not torch.equal(first, second)
    G.eval()
    state = torch.get_rng_state()
    assert torch.equal(G(x, "a", "b").image, G(x, "a", "b").image)
    assert torch.equal(state, torch.get_rng_state())


def test_one_noise_sample_serves_every_target(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Tensor] = []
    draw = torch.randn_like
    monkeypatch.setattr(torch, "randn_like", lambda h: drawn.append(h) or draw(h))
    generator()(batch()["a"], "a", "a", "b")
    assert len(drawn) == 1


def test_a_latent_takes_the_place_of_the_encoding() -> None:
    G, x = generator().eval(), batch()["a"]
    made, extras = G(x, "a", "b")
    again = G(torch.full_like(x, torch.nan), "a", "b", latent=extras["latent"])
    assert torch.equal(again.image, made["b"])


def test_only_what_the_directions_need_is_built() -> None:
    G = generator(directions=(("a", "b"),))
    assert {tuple(name.split(".")[1:3]) for name in G.state_dict()} == {("a", "enc"), ("b", "dec")}
    with pytest.raises(UserError, match="'a' is a target in none"):
        G(batch()["a"], "a", "a")


def test_a_condition_is_judged_beside_the_image() -> None:
    D = MultiscaleDiscriminator(domains={"b": DOMAINS["b"]}, conditions={"b": DOMAINS["a"]}, width=4, layers=2)
    data = batch()
    verdict = D(data["b"], "b", data["a"])
    assert [len(maps) for maps in verdict] == [3, 3, 3]
    other = D(data["b"], "b", -data["a"])
    assert not torch.equal(verdict[0][-1], other[0][-1])


def steps(loss: UnitLoss, G: Counted, D: Counted, data: dict[str, Tensor]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    images = loss.translate(G, data)
    detached = {name: image.detach() for name, image in images.items()}
    with torch.no_grad():
        seen = loss.fakes(G, data, detached) if loss.fresh_fakes else detached
    yield "D", loss.discriminator_terms(D, data, seen)
    yield "G", loss.generator_terms(D, data, images)


@pytest.mark.parametrize(("fresh", "decodings"), [(True, 8), (False, 6)])
def test_nothing_is_computed_twice(fresh: bool, decodings: int) -> None:
    G, D = Counted(generator()), Counted(discriminator())
    loss = UnitLoss(domains=DOMAINS, fresh_fakes=fresh)
    let_call_together(loss, (G.network, D.network), allowed=True)
    for phase, terms in steps(loss, G, D, batch()):
        names = ("real", "fake") if phase == "D" else ("gan", "reconstruction", "kl", "cycle", "cycle_kl")
        assert set(terms) == {f"{name}_{k}" for name in names for k in "ab"}
        assert all(term.ndim == 0 and term.isfinite() for term in terms.values())
        sum(terms.values()).backward()
    assert (G.encodings, G.decodings) == (4, decodings)
    assert D.calls == {"a": 2, "b": 2}
    assert all(p.grad is not None for p in G.network.parameters())


def test_the_fakes_of_the_discriminator_have_new_noise() -> None:
    G, data = generator(), batch()
    loss = UnitLoss(domains=DOMAINS)
    images = loss.translate(G, data)
    fresh = loss.fakes(G, data, images)
    assert set(fresh) == {"fake_a", "fake_b"}
    assert not torch.equal(fresh["fake_b"], images["fake_b"])


def test_terms_of_weight_zero_cost_nothing() -> None:
    loss = UnitLoss(domains=DOMAINS, reconstruction=0, kl=0, cycle=0, cycle_kl=0)
    assert loss.needs.directions == (("a", "b"), ("b", "a"))
    assert loss.needs.extras == frozenset()
    G, D = Counted(generator()), Counted(discriminator())
    (_, _), (_, terms) = steps(loss, G, D, batch())
    assert set(terms) == {"gan_a", "gan_b"}
    assert (G.encodings, G.decodings) == (2, 4)
    assert not UnitLoss(domains=DOMAINS, gan=0).needs.adversarial


def test_one_call_for_two_judgements_gives_the_same_terms() -> None:
    D, data, loss = Counted(discriminator(norm="instance")), batch(), UnitLoss(domains=DOMAINS)
    images = {"fake_a": torch.rand_like(data["a"]), "fake_b": torch.rand_like(data["b"])}
    apart = loss.discriminator_terms(D, data, images)
    let_call_together(loss, (generator(), D.network), allowed=True)
    torch.testing.assert_close(loss.discriminator_terms(D, data, images), apart)
    assert D.calls == {"a": 3, "b": 3}
    loss.discriminator_terms(D, {**data, "b": F.pad(data["b"], (4, 4))}, images)
    assert D.calls == {"a": 4, "b": 5}


def test_labels_are_probabilities_compared_by_cross_entropy() -> None:
    G, data = generator(LABELS), batch(LABELS)
    made = G(data["a"], "a", "a", "b").images
    torch.testing.assert_close(made["b"].sum(1), torch.ones(2, 16, 16))
    assert made["b"].min() >= 0
    assert made["a"].min() < 0
    expected = F.nll_loss(made["b"].log(), data["b"].argmax(1))
    torch.testing.assert_close(reconstruction(made["b"], data["b"], LABELS["b"]), expected)
    for _, terms in steps(UnitLoss(domains=LABELS), Counted(G), Counted(discriminator(LABELS)), data):
        sum(terms.values()).backward()
    assert all_learn(G.parameters())


def test_three_domains_are_refused() -> None:
    with pytest.raises(UserError, match="two domains, not 3"):
        UnitLoss(domains=DOMAINS | {"c": DOMAINS["a"]})


@pytest.mark.parametrize("size", [(2, 2), (2, 5), (7, 4)])
def test_the_upsampling_is_exact(size: tuple[int, int]) -> None:
    """Against its definition, with gradients, in double precision."""
    layer = UpsamplingConv(3, 2).double()
    x = torch.randn(2, 3, *size, dtype=torch.double, requires_grad=True)
    plain = F.conv2d(F.pad(F.interpolate(x, scale_factor=2.0), (2, 2, 2, 2), mode="reflect"), layer.weight, layer.bias)
    ours = layer(x)
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-12)
    inputs = (x, layer.weight, layer.bias)
    weights = torch.randn_like(plain)
    for mine, theirs in zip(
        torch.autograd.grad((ours * weights).sum(), inputs),
        torch.autograd.grad((plain * weights).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)
    assert set(layer.state_dict()) == {"weight", "bias"}


def test_with_a_brightness_start_light_stays_light_and_colour_does_not_matter() -> None:
    ramp = torch.linspace(-1, 1, 9).view(9, 1, 1, 1)
    for seed in range(8):
        torch.manual_seed(seed)
        G = UnitGenerator(
            domains=DOMAINS, directions=EVERY, width=16, downs=0, blocks=2, norm="layer", brightness_start=True
        ).eval()
        for source in "ab":
            x = ramp.expand(-1, DOMAINS[source].channels, 16, 16)
            made = {target: image.mean((1, 2, 3)) for target, image in G(x, source, "a", "b").images.items()}
            torch.testing.assert_close(made["a"], made["b"])
            assert (made["a"].diff() > 0).all()
            assert made["a"][4].abs() < 1e-6  # middle grey stays
    tinted = torch.rand(1, 3, 16, 16)
    grey = tinted.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    torch.testing.assert_close(G(tinted, "a", "b").image, G(grey, "a", "b").image)


def test_the_noise_has_the_deviation_that_was_asked_for() -> None:
    x = torch.rand(2, DOMAINS["a"].channels, 32, 32)
    for noise in (0.0, 0.1, 1.0):
        G = UnitGenerator(domains=DOMAINS, directions=EVERY, width=4, downs=1, blocks=0, noise=noise)
        with torch.no_grad():
            mean = G.train()(x, "a").extras["mean"]
            decoder = G.vaes.get_submodule("a.dec")
            seen: list[Tensor] = []
            decoder.forward = lambda h, seen=seen: seen.append(h) or h
            G(x, "a", "a")
        assert float((seen[0] - mean).std()) == pytest.approx(noise, rel=0.05)


def test_with_a_brightness_start_the_residual_blocks_pass_everything_on_and_learn_at_once() -> None:
    G = UnitGenerator(domains=DOMAINS, directions=EVERY, width=4, downs=0, blocks=2, norm="layer", brightness_start=True)
    x = torch.rand(1, 3, 32, 32)
    mean = G.eval()(x, "a").extras["mean"]
    layers = G.vaes.get_submodule("a.enc.model")
    assert torch.equal(mean, layers[0](x))
    G(x, "a", "b").image.square().sum().backward()
    gains = [module.last_gain for module in G.vaes.get_submodule("b.dec").modules() if hasattr(module, "last_gain")]
    assert gains
    assert all(gain.grad is not None and gain.grad.abs().sum() > 0 for gain in gains)  # they leave 0 at the first step


@pytest.mark.parametrize(
    ("domains", "given"),
    [(DOMAINS, {"downs": 0}), (DOMAINS, {"norm": "layer", "downs": 1}), (LABELS, {"norm": "layer", "downs": 0})],
)
def test_where_a_brightness_start_makes_no_sense_it_is_refused(domains: dict[str, Domain], given: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="'brightness_start' is for pictures, and needs 'norm: layer' and 'downs: 0'"):
        UnitGenerator(domains=domains, directions=EVERY, brightness_start=True, **given)


def test_without_downsampling_any_size_from_four_pixels_on_works() -> None:
    G = UnitGenerator(domains=DOMAINS, directions=EVERY, width=4, downs=0, blocks=1).eval()
    assert G.divisor == 1
    made = G(torch.rand(1, DOMAINS["a"].channels, 5, 7), "a", "b").image
    assert made.shape == (1, DOMAINS["b"].channels, 5, 7)
