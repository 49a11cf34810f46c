"""CycleGAN by its behaviour: sizes, the image pool, identity, the number of calls, labels."""

import io
import random
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from i2i.errors import UserError
from i2i.layers import let_call_together
from i2i.protocols import Domain
from i2i_cyclegan.loss import CycleGANLoss
from i2i_cyclegan.networks import ResNet, resnet
from i2i_cyclegan.pool import ImagePool
from i2i_cyclegan.weights import from_published, to_published
from i2i_pix2pix.networks import patchgan
from networks import Counted, all_learn, random_batch

DOMAINS = {"a": Domain("day", "image", 3), "b": Domain("night", "image", 3)}
LABELS = {"a": Domain("photo", "image", 3), "b": Domain("map", "labels", 5)}
PAIRS = (("a", "b"), ("b", "a"))
NORMS = ("instance", "batch", "none")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
    random.seed(0)


def net(**options: Any) -> ResNet:
    return ResNet(1, 3, nn.Tanh(), **{"width": 2, "blocks": 1, **options})


def generator(domains: dict[str, Domain] = DOMAINS, **options: Any) -> nn.Module:
    return resnet(domains=domains, directions=PAIRS, **{"width": 2, "blocks": 1, **options})


def discriminator(domains: dict[str, Domain] = DOMAINS, **options: Any) -> nn.Module:
    return patchgan(domains=domains, conditions={}, **{"width": 2, "layers": 1, "norm": "instance", **options})


def batch(domains: dict[str, Domain] = DOMAINS, size: int = 16) -> dict[str, Tensor]:
    return random_batch(domains, size)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_residual_network_starts_as_its_input_and_learns_to_change_it(channels: int) -> None:
    net, x = ResNet(channels, 3, nn.Tanh(), width=2, blocks=1, residual=True), torch.rand(2, channels, 16, 16) * 2 - 1
    assert torch.equal(net(x), x.expand(-1, 3, -1, -1))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(40):
        loss = (net(x) + x).abs().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss < 0.7 * (2 * x).abs().mean()
    assert all(p.grad is None or bool(p.isfinite().all()) for p in net.parameters())


def test_a_residual_network_needs_pictures_of_as_many_channels() -> None:
    for channels, activation in ((4, nn.Tanh()), (3, nn.Softmax(1))):
        with pytest.raises(UserError, match="'residual' adds to a picture"):
            ResNet(channels, 3, activation, width=2, blocks=1, residual=True)


@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
@pytest.mark.parametrize("downs", [1, 2, 3])
def test_the_smallest_image(downs: int, upsampling: str) -> None:
    network = net(downs=downs, upsampling=upsampling)
    smallest = 2 ** (downs + 1)
    assert network.divisor == 2**downs
    assert network(torch.randn(1, 1, smallest, 2 * smallest)).shape == (1, 3, smallest, 2 * smallest)
    with pytest.raises(UserError, match=rf"{smallest}x{smallest // 2} px .* multiples of {2**downs} and at least {smallest}"):
        network(torch.zeros(1, 1, smallest // 2, smallest))
    with pytest.raises(UserError, match="multiples of"):
        network(torch.zeros(1, 1, smallest + 1, smallest))


def test_resizing_leaves_no_checkerboard() -> None:
    """Constant weights on a constant image: repeated pixels stay constant inside, transposed convolutions do not."""
    spread = {}
    for upsampling in ("transposed", "resize"):
        network = net(upsampling=upsampling, norm="none")
        for parameter in network.parameters():
            nn.init.constant_(parameter, 1e-2)
        with torch.no_grad():
            y = network.up(torch.ones(1, 8, 8, 8))
        spread[upsampling] = float(y[..., 8:24, 8:24].std() / y.mean())
    assert spread["resize"] < 1e-6
    assert spread["transposed"] > 0.1


@given(capacity=st.integers(0, 5), sizes=st.lists(st.integers(1, 4), max_size=12), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_the_pool_gives_back_new_images_or_earlier_ones(capacity: int, sizes: list[int], seed: int) -> None:
    random.seed(seed)
    pool, shown = ImagePool(capacity), 0
    for size in sizes:
        images = torch.arange(shown, shown + size).view(size, 1, 1, 1)
        held = {int(image) for image in pool.buffers()}
        returned = pool(images).flatten().tolist()
        new = set(range(shown, shown + size))
        shown += size
        assert set(returned) <= held | new
        now = {int(image) for image in pool.buffers()}
        assert len(pool) == len(now) == min(capacity, shown)
        assert now <= held | new
        if not capacity:
            assert returned == sorted(new)


@pytest.mark.parametrize("shown", [0, 1, 3, 7])
def test_the_pool_is_part_of_the_state(shown: int) -> None:
    """Empty, partly filled, full; the loss that takes it in may hold another number of images."""
    losses = [CycleGANLoss(domains=DOMAINS, pool=3) for _ in range(2)]
    for image in torch.randn(shown, 1, 3, 8, 8):
        for key in "ab":
            losses[0].pools[key](image)
    losses[1].pools["a"](torch.randn(2, 3, 4, 4))
    buffer = io.BytesIO()
    torch.save(losses[0].state_dict(), buffer)
    buffer.seek(0)
    losses[1].load_state_dict(torch.load(buffer, weights_only=True))
    states = [loss.state_dict() for loss in losses]
    assert len(states[0]) == 2 * min(shown, 3)
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    draws = []
    for loss in losses:
        random.seed(5)
        draws.append([loss.pools["b"](torch.full((1, 3, 8, 8), float(i))) for i in range(9)])
    assert all(map(torch.equal, *draws))


def test_the_pool_keeps_neither_graphs_nor_whole_batches() -> None:
    pool = ImagePool(2)
    images = torch.randn(4, 3, 8, 8, requires_grad=True)
    assert not pool(images * 2).requires_grad
    for image in pool.buffers():
        assert not image.requires_grad
        assert image.untyped_storage().nbytes() == image.nbytes


def step(loss: CycleGANLoss, G: Any, D: Any, data: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    images = loss.translate(G, data)
    made = loss.generator_terms(D, data, images)
    seen = {name: image.detach() for name, image in images.items()}
    return made, loss.discriminator_terms(D, data, seen) if loss.needs.adversarial else {}


def test_nothing_is_computed_twice_and_every_parameter_learns() -> None:
    G, D = Counted(generator()), Counted(discriminator())
    loss = CycleGANLoss(domains=DOMAINS)
    made, judged = step(loss, G, D, batch())
    assert (G.calls, D.calls) == ({"ab": 3, "ba": 3}, {"a": 3, "b": 3})
    assert set(made) == {f"{term}_{key}" for term in ("gan", "cycle", "identity") for key in "ab"}
    assert list(judged) == ["real_b", "fake_b", "real_a", "fake_a"]
    assert loss.notes == ()
    for terms, network in ((made, G.network), (judged, D.network)):
        assert all(term.ndim == 0 for term in terms.values())
        network.zero_grad()
        sum(terms.values()).backward()
        assert all_learn(network.parameters())


@pytest.mark.parametrize("weights", [{}, {"identity": 0}, {"cycle": 0, "cycle_b": 2}, {"cycle": 3, "cycle_b": 0}])
def test_fewer_calls_give_the_same_images(weights: dict[str, float]) -> None:
    G, data, loss = generator(), batch(), CycleGANLoss(domains=DOMAINS, **weights)
    apart = loss.translate(G, data)
    let_call_together(loss, (G,), allowed=True)
    assert loss.together
    torch.testing.assert_close(dict(sorted(loss.translate(G, data).items())), dict(sorted(apart.items())))


def test_fewer_calls_give_the_same_terms() -> None:
    G, D, data, loss = Counted(generator()), Counted(discriminator()), batch(), CycleGANLoss(domains=DOMAINS)
    apart = step(loss, G, D, data)
    let_call_together(loss, (G.network, D.network), allowed=True)
    torch.testing.assert_close(step(loss, G, D, data), apart)
    assert (G.calls, D.calls) == ({"ab": 3 + 2, "ba": 3 + 1}, {"a": 3 + 2, "b": 3 + 2})
    G.calls.clear()
    step(loss, G, D, {"a": data["a"], "b": data["b"][:, :, :8]})
    assert G.calls == {"ab": 3, "ba": 3}


@pytest.mark.parametrize("norm", NORMS)
def test_batch_norm_keeps_the_calls_apart(norm: str) -> None:
    for networks in ((generator(norm=norm), discriminator()), (generator(), discriminator(norm=norm))):
        loss = CycleGANLoss(domains=DOMAINS)
        let_call_together(loss, networks, allowed=True)
        assert loss.together is (norm != "batch")


@pytest.mark.parametrize(
    ("options", "terms", "calls", "judgements"),
    [
        ({"identity": 0}, ("gan", "cycle"), 4, 6),
        ({"identity": 0, "cycle": 0}, ("gan",), 2, 6),
        ({"gan": 0}, ("cycle", "identity"), 6, 0),
    ],
)
def test_terms_of_weight_zero_cost_nothing(
    options: dict[str, Any], terms: tuple[str, ...], calls: int, judgements: int
) -> None:
    G, D, loss = Counted(generator()), Counted(discriminator()), CycleGANLoss(domains=DOMAINS, **options)
    made, _ = step(loss, G, D, batch())
    assert set(made) == {f"{term}_{key}" for term in terms for key in "ab"}
    assert (G.calls.total(), D.calls.total()) == (calls, judgements)
    assert loss.needs.adversarial is (judgements > 0)


def test_the_weights_of_both_cycles() -> None:
    G, data = generator(), batch()
    loss = CycleGANLoss(domains=DOMAINS, gan=0, cycle=4, cycle_b=6, identity=0.5)
    made, _ = step(loss, G, None, data)
    there, back = G(data["a"], "a", "b").image, G(data["b"], "b", "a").image
    expected = {
        "cycle_a": 4 * (G(there, "b", "a").image - data["a"]).abs().mean(),
        "cycle_b": 6 * (G(back, "a", "b").image - data["b"]).abs().mean(),
        "identity_a": 2 * (G(data["a"], "b", "a").image - data["a"]).abs().mean(),
        "identity_b": 3 * (G(data["b"], "a", "b").image - data["b"]).abs().mean(),
    }
    torch.testing.assert_close(made, expected)
    one = CycleGANLoss(domains=DOMAINS, gan=0, cycle=0, cycle_b=6)
    assert set(step(one, G, None, data)[0]) == {"cycle_b", "identity_b"}


@pytest.mark.parametrize(
    ("b", "note"),
    [
        (Domain("sketch", "image", 1), "'day' and 'sketch' differ in their channels (3 and 1)"),
        (Domain("map", "labels", 3), "'day' (image, 3 channels) and 'map' (labels, 3) differ"),
    ],
)
def test_identity_is_left_out_with_a_note_where_the_domains_differ(b: Domain, note: str) -> None:
    domains = {"a": DOMAINS["a"], "b": b}
    loss = CycleGANLoss(domains=domains)
    assert loss.notes == (f"identity is not computed: {note}",)
    made, _ = step(loss, generator(domains), discriminator(domains), batch(domains))
    assert set(made) == {"gan_a", "gan_b", "cycle_a", "cycle_b"}
    assert CycleGANLoss(domains=domains, identity=0).notes == ()


def test_labels_are_compared_by_cross_entropy() -> None:
    G, data = generator(LABELS), batch(LABELS)
    made, _ = step(CycleGANLoss(domains=LABELS, gan=0), G, None, data)
    fake = G(data["b"], "b", "a").image
    rebuilt = G(fake, "a", "b").image
    torch.testing.assert_close(made["cycle_b"], 10 * F.nll_loss(rebuilt.log(), data["b"].argmax(1)))
    sum(made.values()).backward()
    assert all_learn(G.parameters())


def test_what_cannot_be_trained_is_refused() -> None:
    with pytest.raises(UserError, match="two domains, not 3"):
        CycleGANLoss(domains=DOMAINS | {"c": DOMAINS["a"]})
    with pytest.raises(UserError, match="both 0"):
        CycleGANLoss(domains=DOMAINS, gan=0, cycle=0)


@pytest.mark.parametrize("norm", NORMS)
def test_bfloat16_stays_finite(norm: str) -> None:
    G, D, loss = generator(norm=norm), discriminator(norm=norm), CycleGANLoss(domains=DOMAINS, pool=1)
    with torch.autocast("cpu", torch.bfloat16):
        made, judged = step(loss, G, D, batch())
    for terms in (judged, made):
        sum(terms.values()).backward()
    assert all_learn([*G.parameters(), *D.parameters()])


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize(("blocks", "downs", "last"), [(6, 2, 23), (9, 2, 26), (2, 3, 25)])
def test_names_go_both_ways(blocks: int, downs: int, last: int, dropout: bool, norm: str) -> None:
    ours = generator(width=1, blocks=blocks, downs=downs, dropout=dropout, norm=norm).state_dict()
    published = to_published(ours, dropout=dropout)
    assert set(published) == {"a_b", "b_a"}
    block = f"model.{4 + 3 * downs}.conv_block"
    names = {"model.1.weight", f"model.{last}.bias", f"{block}.1.weight", f"{block}.{5 + dropout}.weight"}
    assert names <= set(published["a_b"])
    back = from_published(published)
    assert back.keys() == ours.keys()
    assert all(back[name] is ours[name] for name in ours)


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(UserError, match=r"'fc.weight' is not a name in a 'resnet'"):
        from_published({"a_b": {"fc.weight": torch.zeros(1)}})
