"""The data set ``side_by_side``: halves, order, splits."""

from pathlib import Path

import numpy as np
import pytest
import torch

from i2i.errors import UserError
from i2i_data.side_by_side import side_by_side
from i2i_data.transforms import Transform
from pictures_on_disk import noise, write

PLAIN = Transform(flip=False)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for i in range(3):
        write(tmp_path / "train" / f"{i}.png", np.concatenate([noise(i), noise(i + 50)], 1))
    write(tmp_path / "val" / "0.png", np.concatenate([noise(9), noise(59)], 1))
    return tmp_path


def pixels(image: torch.Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return ((image + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()


def test_the_halves_are_the_sides_in_either_order(root: Path) -> None:
    for order, (a, b) in {"ab": (0, 50), "ba": (50, 0)}.items():
        data = side_by_side(root=str(root), order=order, transform=PLAIN)  # type: ignore[arg-type]
        assert (len(data), data.paired) == (3, True)
        for i in range(3):
            assert np.array_equal(pixels(data[i]["a"]), noise(i + a))
            assert np.array_equal(pixels(data[i]["b"]), noise(i + b))


def test_splits_folders_and_globs(root: Path) -> None:
    assert len(side_by_side(root=str(root), split="val")) == 1
    assert len(side_by_side(root=str(root / "{split}"), split="val")) == 1
    assert len(side_by_side(root=str(root / "train"))) == 3
    assert len(side_by_side(root=str(root / "train" / "[01].png"))) == 2
    with pytest.raises(UserError, match=r"no folder 'test'. It holds: train, val"):
        side_by_side(root=str(root), split="test")


def test_both_halves_get_the_same_crop(root: Path) -> None:
    same = np.concatenate([noise(1), noise(1)], 1)
    write(root / "train" / "0.png", same)
    data = side_by_side(root=str(root), transform=Transform(resize=30, crop=16))
    for _ in range(5):
        sample = data[0]
        assert torch.equal(sample["a"], sample["b"])


def test_an_odd_width_is_refused(root: Path) -> None:
    write(root / "train" / "0.png", noise(0, 20, 25))
    with pytest.raises(UserError, match=r"0\.png: the width 25"):
        side_by_side(root=str(root))[0]
    assert len(side_by_side(root=str(root), corrupt="skip")) == 2
