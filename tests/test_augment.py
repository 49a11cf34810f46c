"""What the discriminator sees, varied; what the generator learns from it."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import toy
from i2i.augmentation import recoloured, shifted, with_hole
from i2i.errors import UserError
from i2i.protocols import Domain, Verdict
from i2i.training.augment import Augmented

DOMAINS = {"a": Domain("labels", "labels", 3), "b": Domain("photo", "image", 3)}


@given(h=st.integers(1, 20), w=st.integers(1, 20), seed=st.integers(0, 99))
def test_a_shift_moves_pixels_by_at_most_an_eighth(h: int, w: int, seed: int) -> None:
    torch.manual_seed(seed)
    x = torch.arange(1.0, h * w + 1).view(1, 1, h, w).repeat(2, 1, 1, 1)
    y = shifted(x)
    assert y.shape == x.shape
    for image in y:
        places = [(v - 1, r * w + c) for r, row in enumerate(image[0].tolist()) for c, v in enumerate(row) if v]
        moves = {(int(a) // w - b // w, int(a) % w - b % w) for a, b in places}
        assert len(moves) == 1
        ((down, right),) = moves
        assert abs(down) <= round(h / 8)
        assert abs(right) <= round(w / 8)
        assert len(places) == (h - abs(down)) * (w - abs(right))


def test_a_hole_takes_at_most_a_quarter() -> None:
    torch.manual_seed(0)
    y = with_hole(torch.ones(50, 2, 16, 16))
    shares = (y[:, 0] == 0).float().mean((1, 2))
    assert 0 < shares.min() < shares.max() <= 0.25
    assert torch.equal(y[:, 0], y[:, 1])


def test_colours_keep_shapes_and_gradients() -> None:
    torch.manual_seed(0)
    x = torch.rand(4, 3, 8, 8, requires_grad=True)
    y = recoloured(x)
    assert not torch.allclose(y, x)
    y.square().sum().backward()
    assert x.grad is not None
    assert (x.grad.abs().sum((1, 2, 3)) > 0).all()


def test_the_condition_moves_with_the_image_and_labels_keep_their_colours() -> None:
    seen: list[tuple[Tensor, Tensor | None]] = []

    def judge(image: Tensor, domain: str, condition: Tensor | None = None) -> Verdict:
        seen.append((image, condition))
        return [[image.mean(1, keepdim=True)]]

    torch.manual_seed(1)
    x = torch.rand(2, 3, 16, 16) + 1
    D = Augmented(judge, ["translation", "cutout"], DOMAINS)
    D(x, "b", x)
    assert seen[0][1] is not None
    assert torch.equal(seen[0][0], seen[0][1])
    Augmented(judge, ["color"], DOMAINS)(x, "a")
    assert torch.equal(seen[1][0], x)


def test_a_run_is_augmented_in_both_steps(tmp_path: Path) -> None:
    def terms(name: str, *overrides: str) -> dict[str, float]:
        run = toy.trained(tmp_path, "train.steps=1", *overrides, out=name)
        return {key: float(value) for key, value in run.terms.items()}

    usual, varied = terms("usual"), terms("varied", "train.augment=[color, translation, cutout]")
    assert usual["l1"] == varied["l1"]  # the generator's own pictures are as they were
    assert all(usual[name] != varied[name] for name in ("gan", "real", "fake"))


def test_features_of_differently_varied_images_are_not_compared(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="would be augmented differently"):
        toy.trained(tmp_path, "train.augment=[color]", "loss.verdict=features")
