"""Every registered component passes the conformance kit; and the kit finds what it is there to find."""

from collections.abc import Callable, Mapping
from importlib.metadata import distribution
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import toy
from i2i.adapters import per_direction, per_domain
from i2i.protocols import Batch, Discriminator, Domain, Generator, Images, Needs, Terms, Translation
from i2i.recipe.options import SUPPLIED
from i2i.registry import Entry, default_registry
from i2i.testing import Subject, check_dataset, check_discriminator, check_generator, check_loss, check_plugin, run_checks
from pictures_on_disk import noise, two_folders, write
from test_hub import cells, write_table

BACKBONE = "test_convnext"
CROP = {"resize": 16, "crop": 16}
SMALL: dict[str, dict[str, Any]] = {
    "generator unit": {"width": 4, "blocks": 1},
    "generator timm_unet": {"backbone": BACKBONE, "width": 4},
    "discriminator patchgan": {"width": 4},
    "discriminator pixel": {"width": 4},
    "discriminator multiscale": {"width": 4},
    "discriminator spade": {"width": 4},
    "discriminator timm": {"backbone": BACKBONE, "weights": "WEIGHTS", "levels": [0, 2], "width": 4},
    "loss perceptual": {"backbone": BACKBONE, "layers": [0, 1], "weights": "WEIGHTS"},
    "loss self_similarity": {"backbone": BACKBONE, "levels": [0, 1], "weights": "WEIGHTS"},
    "dataset earth": {"crop": 32},
    "dataset emoji": {"size": 16, "split": "val"},
    "dataset folders": {"root": "FILES/folders", "transform": CROP},
    "dataset side_by_side": {"root": "FILES/beside", "transform": CROP},
    "dataset labels": {"maps": "FILES/maps", "images": "FILES/photos", "classes": 3, "transform": CROP},
    "dataset single": {"a": "FILES/maps/0.png", "b": "FILES/photos/0.png", "transform": {"crop": 16}},
    "dataset hub": {"source": "FILES/table", "transform": CROP},
}
"""Options that keep a component small; one that is not listed is small by default."""

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("generator spade", {"width": 2, "hidden": 4, "vae": True, "style_size": 4}),
    ("generator unit", {"width": 4, "blocks": 1, "norm": "layer"}),
    ("generator unit", {"width": 4, "blocks": 1, "norm": "layer", "downs": 0, "brightness_start": True}),
    ("generator timm_unet", {"backbone": BACKBONE, "width": 4, "norm": "instance", "weights": "WEIGHTS"}),
    (
        "discriminator timm",
        {"backbone": BACKBONE, "weights": "WEIGHTS", "levels": [1, 2], "width": 4, "mixing": False, "halving": False},
    ),
    ("loss spade", {"vae": True, "conditional": False, "features": 0}),
    ("loss unit", {"cycle": 0, "fresh_fakes": False}),
    ("loss cyclegan", {"pool": 2, "identity": 0}),
    ("loss pix2pix", {"gan": 0}),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of a small backbone, and pictures for every data set."""
    root = tmp_path_factory.mktemp("files")
    torch.manual_seed(0)
    save_file(timm.create_model(BACKBONE).state_dict(), root / "weights.safetensors")
    two_folders(root / "folders")
    for i in range(3):
        write(root / "beside" / "train" / f"{i}.png", noise(i, 20, 48))
        write(root / "maps" / f"{i}.png", noise(i, channels=1) % 3)
        write(root / "photos" / f"{i}.png", noise(i + 9))
    write_table(root / "table" / "train.parquet", {"imageA": cells(0, 3), "imageB": cells(9, 3)})
    return root


def placed(value: Any, files: Path) -> Any:
    """Options with the places of the files in them."""
    if isinstance(value, str):
        return value.replace("WEIGHTS", str(files / "weights.safetensors")).replace("FILES", str(files))
    return {key: placed(inner, files) for key, inner in value.items()} if isinstance(value, dict) else value


def entries() -> list[Entry]:
    """All components of this repository's plugins."""
    own = {point.name for point in distribution("i2i-framework").entry_points.select(group="i2i")}
    return [entry for entry in default_registry().entries() if entry.plugin in own and entry.kind in SUPPLIED]


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: f"{entry.kind}-{entry.name}")
def test_every_component_conforms(entry: Entry, files: Path) -> None:
    conforms(entry, SMALL.get(f"{entry.kind} {entry.name}", {}), files)


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=lambda value: value if isinstance(value, str) else "")
def test_variants_conform(name: str, options: dict[str, Any], files: Path) -> None:
    conforms(default_registry().get(*name.split(" ")), options, files)


def conforms(entry: Entry, options: dict[str, Any], files: Path) -> None:
    subject = Subject(entry.kind, entry.name, entry.factory, placed(options, files))
    assert [str(result.error) for result in run_checks(subject) if result.error is not None] == []


def test_the_table_names_no_component_that_is_gone() -> None:
    assert set(SMALL) <= {f"{entry.kind} {entry.name}" for entry in entries()}


@pytest.mark.slow
def test_a_network_can_be_compiled_and_exported() -> None:
    check_generator("resnet", slow=True)


class Net(nn.Module):
    """A network in order; the classes below each break one promise."""

    divisor = 1

    def __init__(self, in_channels: int, out_channels: int, activation: nn.Module, *, width: int = 4) -> None:
        super().__init__()
        self.inner = nn.Conv2d(in_channels, width, 3, padding=1)
        self.last = nn.Conv2d(width, out_channels, 1)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.activation(self.last(self.inner(x).relu()))
        return made


class Unbounded(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.inner(x)) + 2  # type: ignore[no-any-return]


class Shrinking(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[..., 1:]


class Unused(Net):
    def __init__(self, in_channels: int, out_channels: int, activation: nn.Module, *, width: int = 4) -> None:
        super().__init__(in_channels, out_channels, activation, width=width)
        self.spare = nn.Linear(2, 2)


class Overflowing(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (float("nan") if torch.is_autocast_enabled("cpu") else 1)


class Hidden(Net):
    def __init__(self, in_channels: int, out_channels: int, activation: nn.Module, *, width: int = 4) -> None:
        super().__init__(in_channels, out_channels, activation, width=width)
        self.bias = torch.rand(())

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.bias


class Misnamed(Net):
    parts = {"style": ("encoder",)}  # noqa: RUF012


class Needless(Net):
    parts = {"mood": ("inner",)}  # noqa: RUF012


class Needed(nn.Module):
    """Takes a style, and cannot do without what it calls needed for styles only."""

    accepts, exposes, divisor = frozenset({"style"}), frozenset[str](), 1
    parts = {"style": ("encoder",)}  # noqa: RUF012

    def __init__(self, *, domains: Mapping[str, Domain], directions: Any) -> None:
        super().__init__()
        self.inner = per_direction(Net)(domains=domains, directions=directions)
        self.encoder = nn.Linear(1, 1)

    def forward(self, x: Tensor, source: str, *targets: str, style: Tensor | None = None) -> Translation:
        weight = self.encoder.weight if style is not None else self.encoder.weight.detach()
        return Translation({key: image * weight / weight for key, image in self.inner(x, source, *targets).images.items()})


def untyped(*, domains: Any, directions: Any, width=4) -> nn.Module:  # type: ignore[no-untyped-def]
    return per_direction(Net)(domains=domains, directions=directions, width=width)


class Greedy(nn.Module):
    """Returns an extra that it does not expose."""

    exposes = frozenset({"mean"})
    divisor = 1

    def __init__(self, *, domains: Mapping[str, Domain], directions: Any) -> None:
        super().__init__()
        self.inner = per_direction(Net)(domains=domains, directions=directions)

    def forward(self, x: Tensor, source: str, *targets: str) -> Translation:
        return Translation(self.inner(x, source, *targets).images, {"spare": x})


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (per_direction(Unbounded), "channels of labels must be probabilities: end with a softmax"),
        (per_direction(Shrinking), r"shapes: a→b: the image has shape .*, expected"),
        (per_direction(Unused), "'networks.a_b.spare.weight' and 3 more get no gradient"),
        (per_direction(Overflowing), "in bfloat16 the output is NaN or infinite"),
        (per_direction(Hidden), "state: a copy with its state dict gives another image"),
        (untyped, "the option 'width' has no type"),
        (Greedy, r"returns extras that it does not expose: \['spare'\]"),
        (per_direction(Misnamed), "its 'parts' name 'networks.a_b.encoder', which it does not have"),
        (per_direction(Needless), "its 'parts' have the key 'mood', which it neither accepts nor exposes"),
        (Needed, "parts: without its 'parts' encoder it fails .*: these attributes are None then"),
        (lambda *, domains, directions: 3, "must return an nn.Module, not int"),
    ],
)
def test_a_generator_that_breaks_a_promise_is_told(factory: Callable[..., Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_generator(factory)


class NoFeatures(toy.ToyJudge):
    def forward(self, x: Tensor) -> list[Tensor]:
        return super().forward(x)[1:]


class Blind(toy.ToyJudge):
    def forward(self, x: Tensor) -> list[Tensor]:
        return super().forward(x.detach())


@pytest.mark.parametrize(
    ("network", "message"), [(NoFeatures, "a scale has no feature map"), (Blind, "no gradient reaches the image")]
)
def test_a_discriminator_that_breaks_a_promise_is_told(network: Any, message: str) -> None:
    check_discriminator(per_domain(toy.ToyJudge, features=True))
    with pytest.raises(AssertionError, match=message):
        check_discriminator(per_domain(network, features=True))


class Loss(toy.ToyLoss):
    """Honest; the ones below lie. The toy's head suits images of three channels."""

    def __init__(self, *, domains: Mapping[str, Domain]) -> None:
        super().__init__(domains=domains)


class Unpaired(Loss):
    def __init__(self, *, domains: Mapping[str, Domain]) -> None:
        super().__init__(domains=domains)
        self.needs = Needs((("a", "b"),), paired=False, conditional=True)


class Elsewhere(Loss):
    def translate(self, G: Generator, batch: Batch) -> Images:
        return {"fake": G(batch["a"], "a", "b").image, "back": G(batch["b"], "b", "a").image}


class Peeking(Loss):
    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        maps = D(images["fake"], "b", batch["a"])[0]
        return {"maps": maps[-2].mean(), **super().generator_terms(D, batch, images)}


class Secretive(Loss):
    def translate(self, G: Generator, batch: Batch) -> Images:
        made = G(batch["a"], "a", "b")
        return {"fake": made.image, "mean": made.extras["mean"]}


class Unconditional(Loss):
    def _condition(self, batch: Batch) -> Tensor | None:
        return None


class Quiet(Loss):
    def __init__(self, *, domains: Mapping[str, Domain]) -> None:
        super().__init__(domains=domains)
        self.needs = Needs((("a", "b"),), paired=True, adversarial=False)

    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        return {"gan": D(images["fake"], "b")[0][-1].mean()}


class Untrained(Loss):
    networks = ()


class Forgetful(Loss):
    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        self.count = getattr(self, "count", 0) + 1
        return {name: term * self.count for name, term in super().generator_terms(D, batch, images).items()}


PHOTOS = {"a": Domain("a", "image", 3), "b": Domain("b", "image", 3)}


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (Unpaired, "declare paired=True"),
        (Elsewhere, "it translates b→a, which is not in needs.directions"),
        (Peeking, "fails with plain functions"),
        (Secretive, r"fails with plain functions .*KeyError: 'mean'"),
        (Unconditional, "pass the source image to D"),
        (Quiet, "'NoneType' object is not callable"),
        (Untrained, "'head.weight' is not trained"),
        (Forgetful, "keep all state in the state dict"),
    ],
)
def test_a_loss_that_lies_is_told(loss: Callable[..., Any], message: str) -> None:
    check_loss(Loss, domains=PHOTOS)
    with pytest.raises(AssertionError, match=message):
        check_loss(loss, domains=PHOTOS)


class Drifting(toy.Stripes):
    calls = count()

    def __init__(self) -> None:
        super().__init__()

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return dict.fromkeys(self.domains, torch.full((3, 4, 4), 1 / (1 + next(self.calls))))


def test_a_data_set_that_breaks_a_promise_is_told() -> None:
    check_dataset(toy.Stripes)
    with pytest.raises(AssertionError, match="changes under one seed"):
        check_dataset(Drifting)


def test_a_plugin_s_failures_are_all_named() -> None:
    with pytest.raises(
        AssertionError, match="generator 'fails', shapes: for a 3 channels, b 3 channels, its factory fails: RuntimeError: the"
    ):
        check_plugin("toys", registry=toy.registry())
