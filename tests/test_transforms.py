"""Transforms: one random state for both sides, exact label ids, published presets, held-out pictures that stay the same."""

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor
from torchvision.tv_tensors import Image, Mask  # type: ignore[import-untyped]

from i2i.errors import UserError
from i2i_data.transforms import PUBLISHED, Transform, draw, mirrored, transformed

sizes = st.integers(1, 40)


def places(h: int, w: int) -> Tensor:
    """Every pixel holds its own number: (1, H, W), int64."""
    return torch.arange(h * w).reshape(1, h, w)


def test_the_default_is_the_published_one() -> None:
    assert (PUBLISHED.resize, PUBLISHED.short_side, PUBLISHED.crop, PUBLISHED.flip) == (286, None, 256, True)
    assert (PUBLISHED.rotate, PUBLISHED.jitter, PUBLISHED.cutout, PUBLISHED.zoom) == (0, 0, 0, None)
    (sample,) = transformed([Image(torch.zeros(3, 300, 200, dtype=torch.uint8))], PUBLISHED, True, "x")
    assert sample.shape == (3, 256, 256)


@given(h=sizes, w=sizes, crop=st.integers(1, 30), seed=st.integers(0, 99), rotate=st.sampled_from([0, 30, 180]))
def test_both_sides_get_the_same_geometry(h: int, w: int, crop: int, seed: int, rotate: float) -> None:
    torch.manual_seed(seed)
    transform = Transform(resize=(30, 31), crop=crop, rotate=rotate, zoom=(1, 1.5))
    first, second = transformed([Mask(places(h, w)), Mask(places(h, w) + 7)], transform, True, "x")
    assert torch.equal(first + 7, second)


@given(h=sizes, w=sizes, seed=st.integers(0, 99))
def test_label_ids_are_never_mixed(h: int, w: int, seed: int) -> None:
    torch.manual_seed(seed)
    ids = torch.randint(0, 2, (2, h, w)) * torch.tensor([18, 26001]).view(2, 1, 1)
    transform = Transform(short_side=17, crop=13, rotate=90, jitter=1, cutout=0.5)
    (out,) = transformed([Mask(ids)], transform, True, "x")
    assert out.dtype == torch.int64
    assert out.shape == (2, 13, 13)
    assert set(out[0].unique().tolist()) <= set(ids[0].unique().tolist())
    assert set(out[1].unique().tolist()) <= set(ids[1].unique().tolist())


@given(seed=st.integers(0, 200))
def test_an_image_and_its_label_map_stay_aligned(seed: int) -> None:
    torch.manual_seed(seed)
    ids = torch.zeros(1, 24, 24, dtype=torch.int64)
    ids[:, 5:14, 8:20] = 1
    image = (ids * 255).byte().expand(3, -1, -1)
    shown, labels = transformed([Image(image), Mask(ids)], Transform(resize=48, crop=40, rotate=20), True, "x")
    differs = (shown[:1] > 0) != (labels > 0)
    assert differs.float().mean() < 0.06  # along the border alone


@given(h=st.integers(1, 9), w=st.integers(1, 9), rows=st.integers(0, 30), columns=st.integers(0, 30))
def test_mirroring_makes_nothing_up(h: int, w: int, rows: int, columns: int) -> None:
    out = mirrored(Mask(places(h, w)), rows, columns)
    assert out.shape == (1, h + 2 * rows, w + 2 * columns)
    assert torch.equal(out[:, rows : rows + h, columns : columns + w].as_subclass(Tensor), places(h, w))
    if rows >= 1 < h:
        assert torch.equal(out[0, rows - 1], out[0, rows + 1])


def test_half_the_samples_are_flipped_and_flips_can_be_turned_off() -> None:
    torch.manual_seed(0)
    image = Mask(places(2, 2))
    flips = sum(int(transformed([image], Transform(), True, "x")[0][0, 0, 0]) for _ in range(400))
    assert 150 < flips < 250
    assert all(transformed([image], Transform(flip=False), True, "x")[0][0, 0, 0] == 0 for _ in range(20))


def test_every_crop_is_as_likely() -> None:
    torch.manual_seed(0)
    firsts = [int(transformed([Mask(places(3, 4))], Transform(crop=2, flip=False), True, "x")[0][0, 0, 0]) for _ in range(1200)]
    counts = torch.tensor(firsts).bincount(minlength=12).view(3, 4)[:2, :3]
    assert counts.sum() == 1200
    assert counts.min() > 150


@settings(deadline=None)
@given(seed=st.integers(0, 50), strength=st.floats(0, 1), cutout=st.floats(0, 0.9))
def test_images_stay_in_range(seed: int, strength: float, cutout: float) -> None:
    torch.manual_seed(seed)
    transform = Transform(resize=20, rotate=45, jitter=strength, cutout=cutout)
    for image in (torch.rand(3, 9, 12), torch.randint(0, 256, (1, 9, 12), dtype=torch.uint8)):
        (out,) = transformed([Image(image)], transform, True, "x")
        assert out.dtype == torch.float32
        assert -1 <= out.min() <= out.max() <= 1


def test_jitter_changes_colours_alike_on_both_sides() -> None:
    torch.manual_seed(0)
    image = torch.randint(0, 256, (3, 8, 8), dtype=torch.uint8)
    first, second = transformed([Image(image), Image(image)], Transform(jitter=0.5, flip=False), True, "x")
    assert torch.equal(first, second)
    assert not torch.equal(first, image.float() / 127.5 - 1)


def test_cutout_is_one_grey_square() -> None:
    (out,) = transformed([Image(torch.full((3, 20, 30), 255, dtype=torch.uint8))], Transform(cutout=0.25), True, "x")
    assert (out == 0).sum() == 3 * 5 * 5
    assert (out == 1).sum() == 3 * (600 - 25)


@pytest.mark.parametrize(
    ("transform", "shape"),
    [
        (Transform(resize=40, crop=32), (32, 32)),
        (Transform(resize=(40, 60), crop=(32, 48)), (32, 48)),
        (Transform(short_side=40, crop=32), (32, 32)),
        (Transform(short_side=10), (10, 20)),
        (Transform(resize=(16, 32)), (16, 32)),
        (Transform(crop=10, rotate=90, jitter=1, cutout=0.5), (10, 10)),
    ],
)
def test_held_out_pictures_never_change(transform: Transform, shape: tuple[int, int]) -> None:
    image = Image(torch.randint(0, 256, (3, 20, 40), dtype=torch.uint8))
    outs = [transformed([image], transform, False, "x")[0] for _ in range(5)]
    assert outs[0].shape == (3, *shape)
    assert all(torch.equal(outs[0], out) for out in outs)


def test_held_out_pictures_are_shown_whole_where_the_crop_allows() -> None:
    ids = places(8, 8)
    assert set(transformed([Mask(ids)], Transform(resize=16, crop=8), False, "x")[0].unique().tolist()) == set(range(64))
    wide = transformed([Mask(places(8, 16))], Transform(short_side=12, crop=8), False, "x")[0]
    assert torch.equal(wide, places(8, 16)[:, :, 4:12])


def test_a_crop_that_does_not_fit_names_the_picture() -> None:
    for train in (True, False):
        with pytest.raises(UserError, match=r"photo.png: a crop of 64 x 64 .* 20 x 40 pixels"):
            transformed([Mask(places(20, 40))], Transform(crop=64), train, "photo.png")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resize": 5, "short_side": 5}, "exclude each other"),
        ({"resize": 200, "crop": 256}, r"256 x 256 is larger than the size 200 x 200"),
        ({"zoom": (2, 1)}, "low, high"),
        ({"rezise": 286}, "rezise"),
        ({"rotate": 200}, "rotate"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Transform(**options)  # type: ignore[arg-type]


@settings(deadline=None, max_examples=30)
@given(h=st.integers(40, 400), w=st.integers(40, 400), seed=st.integers(0, 50))
def test_the_published_transform_is_pillows_within_two_grey_levels(h: int, w: int, seed: int) -> None:
    """Of greys between 64 and 191: where cubics overshoot black or white, it matters whether rows or columns come first."""
    torch.manual_seed(seed)
    pixels = torch.randint(64, 192, (3, h, w), dtype=torch.uint8)
    before = torch.get_rng_state()
    drawn = draw(PUBLISHED, (h, w), "x")
    torch.set_rng_state(before)
    (ours,) = transformed([Image(pixels)], PUBLISHED, True, "x")
    picture = PIL.Image.fromarray(pixels.permute(1, 2, 0).numpy()).resize((286, 286), PIL.Image.Resampling.BICUBIC)
    picture = picture.crop((drawn.left, drawn.top, drawn.left + 256, drawn.top + 256))
    if drawn.flip:
        picture = picture.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT)
    published = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 127.5 - 1
    assert (ours - published).abs().max() < 2.01 / 127.5
