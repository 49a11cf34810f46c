"""The perceptual loss and the frozen networks that it looks through."""

import copy
import time
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.vgg import VGG
from torch import Tensor, nn

from i2i.errors import UserError
from i2i.protocols import Domain, Needs, Translation
from i2i_timm.backbones import Features, freeze
from i2i_timm.perceptual import PUBLISHED_LAYERS, PUBLISHED_WEIGHTS, PerceptualLoss

RGB, GREY, LABELS = Domain("photo", "image", 3), Domain("sketch", "image", 1), Domain("land", "labels", 5)
BOTH = Needs((("a", "b"), ("b", "a")))
SMALL = "i2i_test_vgg"


default_cfgs = generate_default_cfgs({SMALL: {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4)}})


@register_model
def i2i_test_vgg(pretrained: bool = False, **options: Any) -> Any:
    """A VGG of two stages."""
    return build_model_with_cfg(
        VGG,
        "vgg11",
        pretrained,
        model_cfg=[8, "M", 16, "M"],
        feature_cfg={"flatten_sequential": True},
        mlp_ratio=0.01,
        **options,
    )


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small VGG of timm's with random weights, as a local file."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "vgg.safetensors"
    save_file(timm.create_model(SMALL).state_dict(), path)
    return str(path)


def loss(weights: str, domains: Any = None, **options: Any) -> PerceptualLoss:
    domains = domains or {"a": RGB, "b": RGB}
    return PerceptualLoss(domains=domains, backbone=SMALL, layers=["features.1", "features.4"], weights=weights, **options)


def halve(x: Tensor, source: str, *targets: str) -> Translation:
    return Translation({target: x.mean(1, keepdim=True).expand(-1, 3, -1, -1) / 2 for target in targets})


def test_the_published_layers_are_vgg19_s_first_activation_of_each_stage() -> None:
    """Counted on the network itself: the activation after the first convolution, and after each pooling's first."""
    with torch.device("meta"):
        layers = list(timm.create_model("vgg19").features)
    firsts, fresh = [], True
    for i, layer in enumerate(layers):
        fresh = fresh or isinstance(layer, nn.MaxPool2d)
        if fresh and isinstance(layer, nn.ReLU):
            firsts.append(f"features.{i}")
            fresh = False
    assert firsts == list(PUBLISHED_LAYERS)
    assert len(PUBLISHED_WEIGHTS) == len(PUBLISHED_LAYERS)


def test_the_distance_is_the_weighted_l1_of_the_features_by_hand(weights: str) -> None:
    made = loss(weights, weight=2.0, layer_weights=[0.5, 3.0], against="truth")
    x, y = torch.rand(2, 2, 3, 32, 32) * 2 - 1
    network = timm.create_model(SMALL, checkpoint_path=weights).eval()
    mean, std = (torch.tensor(network.pretrained_cfg[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    expected = 0.0
    for depth, w in ((2, 0.5), (5, 3.0)):
        fx, fy = (network.features[:depth](((image + 1) / 2 - mean) / std) for image in (x, y))
        expected += 2.0 * w * (fx - fy).abs().mean()
    terms = made.generator_terms(lambda *_: [], {"a": x, "b": y}, {"fake_b": x})
    torch.testing.assert_close(terms["perceptual_b"], expected)


def test_levels_and_names_see_the_same_network(weights: str) -> None:
    by_level = Features(SMALL, [0], weights)
    x = torch.rand(1, 3, 32, 32)
    (level,) = by_level(x)
    names = [f"features.{i}" for i in range(6)]
    assert any(level.shape == f.shape and torch.allclose(level, f) for f in Features(SMALL, names, weights)(x))


def test_a_network_that_is_no_chain(tmp_path: Path) -> None:
    path = tmp_path / "resnet.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), path)
    deep, first = Features("test_resnet", ["layer2", "conv1"], str(path))(torch.rand(1, 3, 32, 32))
    assert deep.shape[-1] < first.shape[-1] <= 32


def test_a_chain_behind_a_stem_is_not_run_alone(tmp_path: Path) -> None:
    path = tmp_path / "efficientnet.safetensors"
    save_file(timm.create_model("test_efficientnet").state_dict(), path)
    (map_,) = Features("test_efficientnet", ["blocks.1"], str(path))(torch.rand(1, 3, 32, 32))
    assert map_.shape[-1] < 32


def test_its_weights_are_neither_trained_nor_saved_but_move(weights: str) -> None:
    made = loss(weights)
    assert not list(made.parameters())
    assert not made.state_dict()
    made.load_state_dict({})
    assert made.double().features(torch.rand(1, 3, 32, 32).double())[0].dtype == torch.float64
    assert not copy.deepcopy(made).train().features.training


def test_gradients_reach_the_image_and_not_the_reference(weights: str) -> None:
    x, y = (torch.rand(1, 3, 32, 32).requires_grad_() for _ in range(2))
    made = loss(weights, against="truth")
    made.generator_terms(lambda *_: [], {"a": x, "b": y}, {"fake_b": x})["perceptual_b"].backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    assert y.grad is None


@pytest.mark.parametrize(
    ("beside", "against", "terms", "calls"),
    [
        (None, "truth", {"perceptual_b"}, 1),
        (Needs((("a", "b"),), paired=True), "truth", {"perceptual_b"}, 1),
        (BOTH, "cycle", {"perceptual_a", "perceptual_b"}, 4),
        (Needs((("a", "b"),)), "source", {"perceptual_b"}, 1),
    ],
)
def test_what_is_compared_follows_the_loss_before_it(
    weights: str, beside: Needs | None, against: str, terms: set[str], calls: int
) -> None:
    made = loss(weights, beside=beside)
    count = 0

    def translate(*args: Any) -> Translation:
        nonlocal count
        count += 1
        return halve(*args)

    batch = {key: torch.rand(1, 3, 32, 32) for key in "ab"}
    images = made.translate(translate, batch)
    assert (made.against, count) == (against, calls)
    assert set(made.generator_terms(lambda *_: [], batch, images)) == terms
    assert made.needs.paired is (against == "truth")


def test_labels_are_left_out_with_a_note(weights: str) -> None:
    made = loss(weights, {"a": LABELS, "b": RGB}, beside=BOTH)
    assert made.ways == [("b", "a")]
    assert made.notes == ("perceptual: a to b is not compared, as only images of 1 or 3 channels are",)
    assert set(made.needs.directions) == {("a", "b"), ("b", "a")}


def test_grey_images_are_seen_as_rgb(weights: str) -> None:
    features, x = loss(weights, {"a": RGB, "b": GREY}).features, torch.rand(1, 1, 32, 32)
    for grey, rgb in zip(features(x), features(x.expand(-1, 3, -1, -1)), strict=True):
        assert torch.equal(grey, rgb)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "vgg91"}, r"timm has no backbone 'vgg91'. Did you mean 'vgg1"),
        ({"layers": ["features.999"]}, r"has no layer 'features.999'. Did you mean 'features"),
        ({"layers": [1, 99]}, "has no feature level 99. Levels count from 0"),
        ({"layers": []}, "at least one"),
        ({"layer_weights": [1.0]}, "2 layers and 1 layer_weights"),
        ({"weights": "missing.safetensors"}, r"there is no file missing.safetensors. Give a file"),
        ({"weights": "bundled"}, "no package is known that bundles weights of 'i2i_test_vgg'"),
        ({"backbone": "test_resnet", "layers": [0]}, "do not fit the backbone 'test_resnet'"),
        ({"backbone": "test_resnet", "layers": None}, "name the 'layers'"),
        ({"against": "cycle"}, "needs a loss with both directions"),
        ({"domains": {"a": RGB, "b": LABELS}}, "no image of 1 or 3 channels"),
    ],
)
def test_bad_options_are_named(weights: str, options: dict[str, Any], message: str) -> None:
    given = {"domains": {"a": RGB, "b": RGB}, "backbone": SMALL, "layers": ["features.1", "features.4"], "weights": weights}
    with pytest.raises(UserError, match=message):
        PerceptualLoss(**{**given, **options})


def test_a_file_that_is_no_weights_is_refused(tmp_path: Path) -> None:
    for name in ("x.pth", "x.safetensors"):
        (tmp_path / name).write_bytes(b"no tensors")
        with pytest.raises(UserError, match="cannot be read as tensors"):
            Features(SMALL, [0], str(tmp_path / name))


def test_without_a_network_it_fails_fast_and_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("i2i.hub.getproxies", dict)
    monkeypatch.setattr("i2i.hub.socket.create_connection", unreachable)
    start = time.monotonic()
    with pytest.raises(
        UserError, match=r"weights of the backbone 'vgg19' .*cannot be reached.* Give a file with 'weights: PATH'"
    ):
        PerceptualLoss(domains={"a": RGB, "b": RGB})
    assert time.monotonic() - start < 20


def test_the_hub_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="HF_HUB_OFFLINE forbids it"):
        PerceptualLoss(domains={"a": RGB, "b": RGB})


def test_freezing_keeps_the_function() -> None:
    layer = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    x = torch.rand(1, 3, 8, 8)
    before = layer(x)
    freeze(layer)
    assert torch.equal(layer(x), before)
    state = dict(layer.state_dict())  # as it comes from a file: without torch's notes about versions
    assert not state
    layer.load_state_dict(state)
    assert torch.equal(layer(x), before)
