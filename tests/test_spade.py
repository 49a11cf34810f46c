"""SPADE by its behaviour: sizes, styles, labels on either side, spectral norm, the number of calls, a run."""

import copy
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor, nn

import i2i_cyclegan
import i2i_objectives
import i2i_spade
from i2i.building.nested import total
from i2i.errors import UserError
from i2i.labels import to_network
from i2i.protocols import Direction, Domain
from i2i.recipe import load_recipe
from i2i.registry import Registry, hookimpl
from i2i.training.running import run_recipe
from i2i_spade.discriminator import SpadeDiscriminator
from i2i_spade.generator import SpadeGenerator
from i2i_spade.layers import BatchNorm, SpectralConv2d, notes_on
from i2i_spade.loss import SpadeLoss
from i2i_spade.weights import from_published, to_published
from networks import all_learn

LABELS = {"a": Domain("map", "labels", 6, instances=True), "b": Domain("photo", "image", 3)}
PICTURES = {"a": Domain("day", "image", 3), "b": Domain("night", "image", 1)}
DIRECTIONS: tuple[Direction, ...] = (("a", "b"),)
BOTH: tuple[Direction, ...] = (("a", "b"), ("b", "a"))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def generator(sides: dict[str, Domain] = LABELS, directions: tuple[Direction, ...] = DIRECTIONS, **options: Any) -> Any:
    return SpadeGenerator(domains=sides, directions=directions, width=2, hidden=4, **options)


def discriminator(sides: dict[str, Domain] = LABELS, **options: Any) -> SpadeDiscriminator:
    return SpadeDiscriminator(domains={"b": sides["b"]}, conditions={"b": sides["a"]}, width=4, **options)


def batch(sides: dict[str, Domain] = LABELS, size: tuple[int, int] = (64, 32), count: int = 2) -> dict[str, Tensor]:
    data = {}
    for key, side in sides.items():
        if side.kind == "labels":
            ids = torch.randint(side.label_count, (count, 1 + side.instances, *size))
            data[key] = to_network(ids, side)
        else:
            data[key] = torch.rand(count, side.channels, *size) * 2 - 1
    return data


@pytest.mark.parametrize(("upsampling", "divisor"), [("normal", 32), ("more", 64), ("most", 128)])
def test_sizes(upsampling: str, divisor: int) -> None:
    G = generator(upsampling=upsampling)
    assert G.divisor == divisor
    for size in ((divisor, 2 * divisor), (3 * divisor, divisor)):
        assert G(batch(size=size)["a"], "a", "b").image.shape == (2, 3, *size)
    with pytest.raises(UserError, match=rf"{divisor}x{divisor + 16} px .* multiples of {divisor}"):
        G(torch.zeros(1, 6, divisor + 16, divisor), "a", "b")


def test_images_as_sources_and_labels_as_targets() -> None:
    G, data = generator(PICTURES, BOTH), batch(PICTURES)
    assert G(data["a"], "a", "b").image.shape == (2, 1, 64, 32)
    assert G(data["b"], "b", "a").image.shape == (2, 3, 64, 32)
    sides = {"a": Domain("photo", "image", 3), "b": Domain("map", "labels", 5)}
    made = generator(sides)(batch(sides)["a"], "a", "b").image
    torch.testing.assert_close(made.sum(1), torch.ones(2, 64, 32))
    assert made.min() >= 0
    with pytest.raises(UserError, match="from 'b' to 'a'"):
        generator(sides)(data["a"], "b", "a")


def test_the_source_modulates_every_scale() -> None:
    """One pixel of the source, which the smallest map does not see, changes the image around it."""
    G, x = generator(norm="instance").eval(), batch()["a"]
    other = x.clone()
    other[:, :, 33, 17] = 1 - other[:, :, 33, 17]
    assert not torch.equal(G(x, "a", "b").image, G(other, "a", "b").image)
    blocks = G.networks["a_b"].blocks
    seen: list[tuple[Any, torch.Tensor, torch.Tensor]] = []
    for block in blocks:
        block.register_forward_pre_hook(lambda block, given: seen.append((block, *given)))
    G(x, "a", "b")
    for block, h, source in seen[: len(blocks)]:
        assert not torch.equal(block.forward(h, source), block.forward(h, 1 - source))
    assert len({h.shape[-1] for _, h, _ in seen}) == 6


def test_a_style_image_gives_one_result_and_no_style_gives_many() -> None:
    G, data = generator(vae=True, size=(64, 32)), batch()
    assert (G.accepts, G.exposes) == ({"style"}, {"style_mean", "style_logvar"})
    first, extras = G(data["a"], "a", "b", style=data["b"])
    assert {name: x.shape for name, x in extras.items()} == {"style_mean": (2, 256), "style_logvar": (2, 256)}
    assert not torch.equal(first["b"], G(data["a"], "a", "b", style=data["b"]).image)
    G.eval()
    state = torch.get_rng_state()
    known = G(data["a"], "a", "b", style=data["b"]).image
    assert torch.equal(known, G(data["a"], "a", "b", style=data["b"]).image)
    assert torch.equal(state, torch.get_rng_state())
    drawn = [G(data["a"], "a", "b") for _ in range(2)]
    assert not torch.equal(drawn[0].image, drawn[1].image)
    assert drawn[0].extras == {}


@pytest.mark.parametrize("size", [(64, 32), (32, 96), (128, 128)])
def test_the_vae_translates_other_sizes_than_it_was_trained_on(size: tuple[int, int]) -> None:
    G = generator(vae=True, size=(64, 32))
    assert G(batch(size=size)["a"], "a", "b").image.shape == (2, 3, *size)


def test_what_does_not_fit_together_is_named() -> None:
    with pytest.raises(UserError, match="needs the size of the training images"):
        generator(vae=True)
    with pytest.raises(UserError, match=r"the training images are 40 x 64; with 'vae' .* multiples of 32"):
        generator(vae=True, size=(64, 40))
    with pytest.raises(UserError, match="'width' to 2 or more"):
        SpadeGenerator(domains=LABELS, directions=DIRECTIONS, width=1, upsampling="most")
    data = batch()
    with pytest.raises(UserError, match="option 'vae: true'"):
        generator()(data["a"], "a", "b", style=data["b"])
    with pytest.raises(UserError, match="one target at a time"):
        generator(vae=True, size=(64, 32))(data["a"], "a", "b", "b", style=data["b"])
    with pytest.raises(UserError, match="feature map is a single pixel"):
        generator()(batch(size=(32, 32), count=1)["a"], "a", "b")
    with pytest.raises(UserError, match="instance norm sets to zero"):
        generator(norm="instance")(batch(size=(32, 32))["a"], "a", "b")
    assert generator(norm="instance")(batch(size=(32, 64), count=1)["a"], "a", "b").image.isfinite().all()
    assert generator().eval()(batch(size=(32, 32), count=1)["a"], "a", "b").image.isfinite().all()
    with pytest.raises(UserError, match=r"2x64 px .* at least 3"):
        discriminator()(torch.zeros(1, 3, 64, 2), "b", torch.zeros(1, 6, 64, 2))
    with pytest.raises(UserError, match="two domains, not 3"):
        SpadeLoss(domains=LABELS | {"c": LABELS["b"]})
    with pytest.raises(UserError, match="nothing trains the discriminator"):
        SpadeLoss(domains=LABELS, gan=0)


@pytest.mark.parametrize("norm", ["instance", "batch", "sync_batch", "none"])
@pytest.mark.parametrize(("layers", "scales"), [(1, 1), (2, 3), (4, 2)])
def test_discriminator(norm: str, layers: int, scales: int) -> None:
    D, data = discriminator(norm=norm, layers=layers, scales=scales), batch()
    verdict = D(data["b"], "b", data["a"])
    assert [len(maps) for maps in verdict] == [layers + 1] * scales
    assert all(maps[-1].shape[:2] == (2, 1) for maps in verdict)
    assert not torch.equal(verdict[0][-1], D(data["b"], "b", 1 - data["a"])[0][-1])
    published = to_published(D.state_dict(), "discriminator")
    assert set(from_published(published, "discriminator")) == set(D.state_dict())
    assert ("discriminator_0.model1.0.0.weight_orig" in published["netD"]) == (norm != "none" and layers > 1)


@pytest.mark.parametrize(
    "options", [{"spectral": False, "upsampling": "most"}, {"vae": True, "size": (64, 32)}, {"norm": "batch"}]
)
def test_state_goes_round(options: dict[str, Any]) -> None:
    G, other = generator(**options), generator(**options)
    x, style = batch(size=(128, 128))["a"], {"style": torch.zeros(2, 3, 8, 8)} if "vae" in options else {}
    G(x, "a", "b")
    other.load_state_dict(from_published(to_published(G.state_dict(), "generator"), "generator"))
    expected = G.eval()(x, "a", "b", **style).image
    assert torch.equal(other.eval()(x, "a", "b", **style).image, expected)
    assert torch.equal(copy.deepcopy(G)(x, "a", "b", **style).image, expected)


def test_spectral_norm_is_torchs() -> None:
    """Two passes in training mode before one backward, then evaluation, in double precision against the hook's version."""
    ours = SpectralConv2d(3, 5, 3, padding=1).double()
    theirs = nn.utils.spectral_norm(nn.Conv2d(3, 5, 3, padding=1)).double()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, 6, 7, dtype=torch.double)
    for training in (True, False):
        losses = []
        for layer in (ours, theirs):
            layer.train(training).zero_grad()
            losses.append(layer(x).square().mean() + (layer(2 * x)).pow(3).mean())
            losses[-1].backward()
        torch.testing.assert_close(*losses, rtol=1e-12, atol=0)
        torch.testing.assert_close(ours.weight_orig.grad, theirs.weight_orig.grad, rtol=0, atol=1e-12)
        torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=0, atol=1e-12)
    with torch.no_grad():
        before = ours.train().weight_u.clone()
        ours(x)
    assert not torch.equal(before, ours.weight_u)
    assert list(ours.state_dict()) == list(theirs.state_dict())


def test_spectral_norm_can_be_differentiated_twice() -> None:
    layer = SpectralConv2d(2, 3, 3).double().eval()

    def divided(weight: Tensor) -> Tensor:
        layer._parameters["weight_orig"] = weight
        return layer.normalised_weight()

    def convolved(weight: Tensor, x: Tensor) -> Tensor:
        layer._parameters["weight_orig"] = weight
        y: Tensor = layer(x)
        return y

    weight = layer.weight_orig.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(divided, (weight,))
    assert torch.autograd.gradgradcheck(divided, (weight,))
    for side in (3, 9):  # of the result and of the weight the smaller one is divided: here the result, then the weight
        x = torch.randn(1, 2, side, side, dtype=torch.double, requires_grad=True)
        assert layer._weight_is_smaller(x) is (side == 9)
        assert torch.autograd.gradcheck(convolved, (weight, x))
        assert torch.autograd.gradgradcheck(convolved, (weight, x))


def test_spectral_norm_is_estimated_in_full_precision() -> None:
    layer = SpectralConv2d(16, 16, 3)
    exact = copy.deepcopy(layer).normalised_weight()
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(torch.randn(1, 16, 8, 8))
        again = copy.deepcopy(layer).eval().normalised_weight()
        torch.testing.assert_close(again, exact, rtol=1e-5, atol=0)  # bf16 has a relative 4e-3
    assert y.dtype == torch.bfloat16


class Counted:
    """A bare callable that counts the calls of a network."""

    def __init__(self, network: nn.Module) -> None:
        self.network, self.calls = network, Counter[str]()

    def __call__(self, x: Tensor, key: str, *rest: Any, **given: Any) -> Any:
        self.calls[key] += 1
        return self.network(x, key, *rest, **given)


def steps(loss: SpadeLoss, G: Any, D: Any, data: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    images = loss.translate(G, data)
    yield loss.generator_terms(D, data, images)
    detached = {name: image.detach() for name, image in images.items()}
    with torch.no_grad():
        seen = loss.fakes(G, data, detached) if loss.fresh_fakes else detached
    yield loss.discriminator_terms(D, data, seen)


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("vae", [True, False])
def test_terms_calls_and_gradients(fresh: bool, vae: bool) -> None:
    G, D = Counted(generator(vae=vae, size=(64, 32))), Counted(discriminator())
    loss = SpadeLoss(domains=LABELS, vae=vae, fresh_fakes=fresh)
    assert loss.needs.extras == ({"style_mean", "style_logvar"} if vae else set[str]())
    assert loss.needs.verdict == {"features"}
    assert loss.needs.keywords == ({"style"} if vae else frozenset())
    assert (loss.needs.paired, loss.needs.conditional, loss.order) == (True, True, "generator_first")
    made, judged = steps(loss, G, D, batch())
    assert set(made) == {"gan_b", "features_b", *(["kl_b"] if vae else [])}
    assert set(judged) == {"real_b", "fake_b"}
    for terms in (made, judged):
        assert all(term.ndim == 0 and term.isfinite() for term in terms.values())
        total(terms).backward()
    assert (G.calls, D.calls) == ({"a": 1 + fresh}, {"b": 2})
    assert all(all_learn(net.network.parameters()) for net in (G, D))


def test_terms_that_are_off_cost_nothing() -> None:
    loss = SpadeLoss(domains=LABELS, features=0, conditional=False)
    assert (loss.needs.paired, loss.needs.extras | loss.needs.verdict) == (False, frozenset())
    D = SpadeDiscriminator(domains={"b": LABELS["b"]}, conditions={}, width=4)
    made, _ = steps(loss, generator(), D, batch())
    assert set(made) == {"gan_b"}
    assert not SpadeLoss(domains=LABELS, gan=0, features=0).needs.adversarial


def test_the_real_half_gets_no_gradient_from_feature_matching() -> None:
    data = batch()
    data["b"].requires_grad_()
    loss = SpadeLoss(domains=LABELS)
    loss.generator_terms(discriminator(norm="none"), data, {"fake_b": torch.rand_like(data["b"])})["features_b"].backward()
    assert data["b"].grad is None or not data["b"].grad.any()


@pytest.mark.parametrize("vae", [True, False])
def test_half_precision_stays_finite(vae: bool) -> None:
    G, D = generator(vae=vae, size=(64, 32)), discriminator()
    loss = SpadeLoss(domains=LABELS, vae=vae)
    with torch.autocast("cpu", torch.bfloat16):
        both = list(steps(loss, G, D, batch()))
    for terms in both:
        total(terms).backward()
        assert all(term.isfinite() for term in terms.values())
    assert all(p.grad.isfinite().all() for net in (G, D) for p in net.parameters())


class Rectangles:
    """Maps of three classes with instances, and pictures in the colour of the class."""

    paired = True
    domains = {"a": Domain("map", "labels", 4, instances=True), "b": Domain("photo", "image", 3)}  # noqa: RUF012

    def __init__(self, *, split: str = "train") -> None:
        self.split = split

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        ids = torch.zeros(1, 64, 64, dtype=torch.int64)
        ids[:, 8 * index :, 16:] = 1 + index % 2
        return {"a": torch.cat([ids, ids]), "b": F.one_hot(ids[0], 3).permute(2, 0, 1) * 1.6 - 0.8}


class _Data:
    @hookimpl
    def register_datasets(self) -> dict[str, Any]:
        return {"rectangles": Rectangles}


@pytest.mark.parametrize("vae", ["false", "true"])
def test_a_run_trains_saves_and_draws(tmp_path: Path, vae: str) -> None:
    path = tmp_path / "spade.yaml"
    path.write_text(
        "dataset: {name: rectangles}\n"
        f"generator: {{name: spade, width: 2, hidden: 4, vae: {vae}}}\n"
        "discriminator: {name: spade, width: 4}\n"
        f"loss: {{name: spade, vae: {vae}}}\n"
        "train: {steps: 2, batch_size: 2, seed: 1, ema: 0.9}\n"
        "samples: {every: 2, count: 1}\n"
    )
    registry = Registry(plugins={"data": _Data(), "spade": i2i_spade, "objectives": i2i_objectives})
    run = run_recipe(load_recipe(path, [], registry), tmp_path / "out", registry, resume=False, console=Console(quiet=True))
    assert run.step == 2
    assert set(run.terms) >= {"gan_b", "features_b", "real_b", "fake_b"}
    assert (tmp_path / "out" / "model" / "model.safetensors").exists()


def test_a_batch_of_one_without_variance_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """64 px halved six times are one pixel, whose batch norm needs a second image."""
    path = tmp_path / "spade.yaml"
    path.write_text(
        "dataset: {name: rectangles}\n"
        "generator: {name: spade, width: 2, hidden: 4, upsampling: more}\n"
        "discriminator: {name: spade, width: 4}\n"
        "loss: {name: spade}\n"
        "train: {steps: 1}\n"
    )
    registry = Registry(plugins={"data": _Data(), "spade": i2i_spade, "objectives": i2i_objectives})
    with pytest.raises(UserError, match="batch norm cannot train on one image"):
        run_recipe(load_recipe(path, [], registry), tmp_path / "out", registry, resume=False, console=Console(quiet=True))
    assert not (tmp_path / "out").exists()
    pair = load_recipe(path, ["train.batch_size=2"], registry)
    assert run_recipe(pair, tmp_path / "out", registry, resume=False, console=Console(quiet=True)).step == 1


def test_instances_cannot_be_generated(tmp_path: Path) -> None:
    path = tmp_path / "cycle.yaml"
    path.write_text(
        "dataset: {name: rectangles}\n"
        "generator: {name: resnet, width: 2, blocks: 1}\n"
        "discriminator: {name: spade, width: 4}\n"
        "loss: {name: cyclegan}\n"
        "train: {steps: 1}\n"
    )
    registry = Registry(plugins={"data": _Data(), "spade": i2i_spade, "cyclegan": i2i_cyclegan, "objectives": i2i_objectives})
    with pytest.raises(UserError, match="into 'map', whose instance borders no network can make"):
        run_recipe(load_recipe(path, [], registry), tmp_path / "out", registry, resume=False, console=Console(quiet=True))


def test_the_norm_of_several_gpus_is_torchs() -> None:
    """DDP refuses torch's layer on CPUs, so ours is another class, which has all that the method of torch's asks for."""
    ours, plain = (BatchNorm(3, sync=sync, affine=True) for sync in (True, False))
    assert not isinstance(ours, nn.SyncBatchNorm)
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(nn.SyncBatchNorm.forward(ours, x), plain(x))  # type: ignore[arg-type]
    assert torch.equal(ours.running_mean, plain.running_mean)
    assert notes_on("sync_batch") == ()  # one process
