"""A list of losses computes what each of them computes alone, whatever the networks draw, and no more than it must."""

import importlib
import random
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

import toy
from i2i.building.combined import Losses, _Shared, _verdict
from i2i.protocols import Batch, Domain, Generator, Images, Judged, Needs, Terms, Translation
from i2i.training.loop import detach
from i2i_cyclegan.loss import CycleGANLoss
from i2i_pix2pix.loss import Pix2PixLoss
from i2i_spade.loss import SpadeLoss
from i2i_timm.perceptual import PerceptualLoss
from i2i_unit.loss import UnitLoss

HERE = Path(__file__).parent
DOMAINS = {"a": Domain("day", "image", 3), "b": Domain("night", "image", 3)}
BATCH = {key: torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(i)) for i, key in enumerate("ab")}
Make = Callable[..., Any]


class World:
    """A generator and a discriminator that have all that a loss may ask for, and draw where they are told to.

    The extras depend on the targets, as those of a generator with a network for each direction do.
    """

    def __init__(self, *, noisy: bool, unsure: bool) -> None:
        self.noisy, self.unsure = noisy, unsure
        self.translations = self.verdicts = 0
        draws = torch.Generator().manual_seed(7)
        ways = [source + target for source in "ab" for target in "ab"]
        self.ways = {way: torch.randn(3, 3, 1, 1, generator=draws).requires_grad_() for way in ways}
        self.judge = torch.randn(4, 3, 1, 1, generator=draws).requires_grad_()

    def G(self, x: Tensor, source: str, *targets: str, **given: Tensor) -> Translation:  # noqa: N802
        self.translations += 1
        h = F.avg_pool2d(x, 2) * (2 + sum(map(ord, targets)) / 100)
        extras = {f"encoded_{level}": h * level for level in range(3)}
        extras |= {
            "code": h.mean((2, 3)),
            "mean": h,
            "style_mean": h.mean((2, 3)),
            "style_logvar": h.std((2, 3)),
            "latent": h + 1,
        }
        x = given.get("style", x) + (F.interpolate(given["latent"], scale_factor=2) if "latent" in given else 0)
        images = {target: F.conv2d(x, self.ways[source + target]).tanh() for target in targets}
        if self.noisy:
            images = {target: image + 0.1 * torch.randn_like(image) for target, image in images.items()}
        return Translation(images, extras)

    def D(self, image: Tensor, domain: str, condition: Tensor | None = None) -> Judged:  # noqa: N802
        self.verdicts += 1
        maps = F.conv2d(image if condition is None else image + condition, self.judge).tanh()
        maps = F.dropout(maps, 0.5) if self.unsure else maps
        scales = [[maps * ord(domain) / 100, maps.mean(1, keepdim=True)]] * 2
        return Judged(scales, {"classes": maps.mean((2, 3)) * ord(domain)})


@pytest.fixture(scope="module")
def makers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Make]]:
    """Every shipped loss and the third-party ones, small; of each only those that show the discriminator one image."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("cut", "seasons"):
            patch.syspath_prepend(HERE / "third_party" / name)
        cut, seasons = (importlib.import_module(f"i2i_{name}.loss") for name in ("cut", "seasons"))
        path = tmp_path_factory.mktemp("weights") / "resnet.safetensors"
        save_file(timm.create_model("test_resnet").state_dict(), path)
        features = {"backbone": "test_resnet", "layers": [0], "weights": str(path), "weight": 2.0}
        yield {
            "cyclegan": lambda **beside: CycleGANLoss(domains=DOMAINS, pool=2),
            "unit": lambda **beside: UnitLoss(domains=DOMAINS),
            "unit, no reconstruction": lambda **beside: UnitLoss(domains=DOMAINS, reconstruction=0, cycle=0, fresh_fakes=False),
            "spade": lambda **beside: SpadeLoss(domains=DOMAINS, conditional=False),
            "spade, vae": lambda **beside: SpadeLoss(domains=DOMAINS, conditional=False, vae=True),
            "pix2pix": lambda **beside: Pix2PixLoss(domains=DOMAINS, gan=0),
            "perceptual": lambda **beside: PerceptualLoss(domains=DOMAINS, **features, **beside),
            "cut": lambda **beside: cut.CutLoss(domains=DOMAINS, patches=4, size=4),
            "seasons": lambda **beside: seasons.Seasons(domains=DOMAINS),
            "penalised": lambda **beside: toy.ToyLoss(domains=DOMAINS, conditional=False, penalty=10.0),
        }


def built(makers: Mapping[str, Make], names: list[str]) -> list[tuple[str, Any]]:
    torch.manual_seed(0)
    losses: list[tuple[str, Any]] = []
    for name in names:
        losses.append((name, makers[name](beside=losses[0][1].needs if losses else None)))
    return losses


def step(loss: Any, world: World, take: Callable[[int, Callable[[], Any]], Any]) -> list[Any]:
    """The phases of a step, each through *take*, which is told its number."""
    images = take(0, lambda: loss.translate(world.G, BATCH))
    made = take(1, lambda: loss.generator_terms(world.D, BATCH, images))
    if not loss.needs.adversarial:
        return [made, {}]
    if loss.fresh_fakes:
        with torch.no_grad():
            images = take(2, lambda: loss.fakes(world.G, BATCH, images))
    return [made, take(3, lambda: loss.discriminator_terms(world.D, BATCH, detach(images)))]


class Draws:
    """Lets each loss alone draw, in each phase, what it draws in the list: after those before it."""

    def __init__(self) -> None:
        self.states: dict[int, Any] = {}

    def start(self, phase: int) -> None:
        torch.manual_seed(phase)
        random.seed(phase)

    def take(self, phase: int, compute: Callable[[], Any]) -> Any:
        if phase in self.states:
            torch.set_rng_state(self.states[phase][0])
            random.setstate(self.states[phase][1])
        else:
            self.start(phase)
        made = compute()
        self.states[phase] = (torch.get_rng_state(), random.getstate())
        return made

    def afresh(self, phase: int, compute: Callable[[], Any]) -> Any:
        self.start(phase)
        return compute()


def assert_alone_and_listed_agree(losses: list[tuple[str, Any]], world: World) -> None:
    draws = Draws()
    alone = [step(loss, world, draws.take) for _, loss in deepcopy(losses)]
    calls, world.translations = world.translations, 0
    joined = Losses(losses)
    listed = step(joined, world, draws.afresh)
    for phase in range(2):
        expected = joined._named({i: terms[phase] for i, terms in enumerate(alone)})
        assert listed[phase].keys() == expected.keys()
        for name, term in expected.items():
            assert torch.equal(listed[phase][name], term), name
    assert world.translations <= calls


NAMES = (
    "cyclegan", "unit", "unit, no reconstruction", "spade", "spade, vae", "pix2pix", "perceptual", "cut", "seasons",
    "penalised",
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=3), noisy=st.booleans(), unsure=st.booleans())
def test_every_loss_computes_in_a_list_what_it_computes_alone(
    makers: dict[str, Make], names: list[str], noisy: bool, unsure: bool
) -> None:
    assert_alone_and_listed_agree(built(makers, names), World(noisy=noisy, unsure=unsure))


def test_the_losses_are_all_there(makers: dict[str, Make]) -> None:
    assert set(makers) == set(NAMES)


class Asking(nn.Module):
    """Asks for whatever it was told to; its terms are all that it got."""

    networks: tuple[str, ...] = ()
    order = "generator_first"
    fresh_fakes = False

    def __init__(self, calls: list[tuple[str, str, bool, str]]) -> None:
        super().__init__()
        self.calls = calls
        self.needs = Needs(tuple((s, t) for s in "ab" for t in "ab"), adversarial=False)

    def translate(self, G: Generator, batch: Batch) -> Images:
        """Also puts what it made among its own images, and draws into a style that it has given before."""
        style, images = torch.rand(2, 3, 8, 8), {}
        for i, (source, targets, graph, styled) in enumerate(self.calls):
            style = style.uniform_() if styled == "new" else style
            with torch.set_grad_enabled(graph):
                made = G(batch[source], source, *targets, **({"style": style, "latent": style[..., :4, :4]} if styled else {}))
            images |= {f"{i}.{name}": part for name, part in {**made.images, **made.extras}.items()}
            made.images["more"] = style
            made.extras.clear()
        return images

    def generator_terms(self, D: Any, batch: Batch, images: Images) -> Terms:
        graphs = {f"{name}.graph": torch.tensor(image.requires_grad) for name, image in images.items()}
        return {**{name: image.sum() for name, image in images.items()}, **graphs}


CALLS = st.lists(
    st.tuples(
        st.sampled_from("ab"),  # the source
        st.sampled_from(["", "a", "b", "ab", "ba"]),  # the targets
        st.booleans(),  # with a graph
        st.sampled_from(["", "old", "new"]),  # the style
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=100, deadline=None)
@given(calls=st.lists(CALLS, min_size=1, max_size=3), noisy=st.booleans())
def test_any_calls_give_in_a_list_what_they_give_alone(calls: list[Any], noisy: bool) -> None:
    losses = [(f"asking {i}", Asking(own)) for i, own in enumerate(calls)]
    assert_alone_and_listed_agree(losses, World(noisy=noisy, unsure=False))


@pytest.mark.parametrize(
    ("names", "noisy", "translations", "verdicts"),
    [
        (["cyclegan", "perceptual"], False, 6, 6),  # what CycleGAN computes alone
        (["spade", "perceptual", "pix2pix"], False, 2, 2),  # and SPADE; one of its calls is a new one for the discriminator
        (["cyclegan", "perceptual"], True, 10, 6),  # each has draws of its own
        (["cut", "cut"], False, 4, 4),
    ],
)
def test_what_is_the_same_is_computed_once(
    makers: dict[str, Make], names: list[str], noisy: bool, translations: int, verdicts: int
) -> None:
    world = World(noisy=noisy, unsure=False)
    step(Losses(built(makers, names)), world, lambda _, compute: compute())
    assert (world.translations, world.verdicts) == (translations, verdicts)


def test_no_condition_is_the_same_call_however_it_is_said() -> None:
    world = World(noisy=False, unsure=False)
    shared = _Shared(world.D, _verdict)
    one, other = shared(BATCH["a"], "a"), shared(BATCH["a"], "a", None)
    assert world.verdicts == 1
    assert one.extras["classes"] is other.extras["classes"]
    one[0].clear()
    one.extras.clear()  # each has containers of its own
    assert other[0]
    assert other.extras
    shared(BATCH["a"], "a", BATCH["b"])
    assert world.verdicts == 2
