"""The data set ``single``: crops of one picture of each side."""

from pathlib import Path

import pytest
import torch

from i2i.errors import UserError
from i2i_data.single import single
from i2i_data.transforms import Transform
from pictures_on_disk import noise, write


def test_every_sample_is_another_crop_of_the_one_picture(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a.png", noise(0, 40, 50)), write(tmp_path / "b.png", noise(1, 30, 30))
    data = single(a=str(a), b=str(b), length=7, transform=Transform(crop=16, flip=False))
    torch.manual_seed(0)
    assert len(data) == 7
    whole = data.sides["a"].load(0).pixels
    crops = [((data[i]["a"] + 1) * 127.5).round().byte() for i in range(7)]
    assert len({crop.numpy().tobytes() for crop in crops}) == 7
    windows = whole.unfold(1, 16, 1).unfold(2, 16, 1).permute(1, 2, 0, 3, 4).flatten(0, 1)
    assert all((windows == crop).flatten(1).all(1).any() for crop in crops)


def test_a_pair_shows_one_place_and_held_out_crops_are_fixed(tmp_path: Path) -> None:
    a, b = (str(write(tmp_path / name, noise(0, 40, 50))) for name in ("a.png", "b.png"))
    data = single(a=a, b=b, paired=True, transform=Transform(crop=16, zoom=(0.5, 2)))
    for i in range(5):
        sample = data[i]
        assert torch.equal(sample["a"], sample["b"])
    held_out = single(a=a, b=b, split="test", transform=Transform(crop=16))
    assert len(held_out) == 1
    assert torch.equal(held_out[0]["a"], held_out[0]["a"])


def test_a_folder_of_many_is_refused(tmp_path: Path) -> None:
    for i in range(2):
        write(tmp_path / f"{i}.png", noise(i))
    with pytest.raises(UserError, match=r"2 pictures; .* 'folders'"):
        single(a=str(tmp_path), b=str(tmp_path / "0.png"))
