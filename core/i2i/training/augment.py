"""Augmentation of what the discriminator sees, real and generated alike, for small data sets.

Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training", section 3.2: gradients pass through it to the
generator, whose pictures are not augmented themselves.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from i2i.layers import with_condition
from i2i.protocols import Domain, Verdict


class Augmented:
    """A discriminator that sees every image, and its condition with it, moved, cut and recoloured at random.

    The strengths are the paper's: brightness within 0.5 (of a range of 2), saturation 0 to 2, contrast 0.5 to 1.5;
    a shift by up to 1/8 of each side, filled with 0; a hole of half the sides, filled with 0. Label maps keep their colours.
    """

    def __init__(self, D: Callable[..., Verdict], kinds: Sequence[str], domains: Mapping[str, Domain]) -> None:
        self.D, self.kinds, self.domains = D, tuple(kinds), domains

    def __call__(self, image: Tensor, domain: str, condition: Tensor | None = None) -> Verdict:
        """Judge image (B, C, H, W); one draw for each image of the batch."""
        if "color" in self.kinds and self.domains[domain].kind == "image":
            image = recoloured(image)
        joined = with_condition(image, condition)
        if "translation" in self.kinds:
            joined = shifted(joined)
        if "cutout" in self.kinds:
            joined = with_hole(joined)
        channels = image.shape[1]
        return self.D(joined[:, -channels:], domain, None if condition is None else joined[:, :-channels])


def augmented(kinds: Sequence[str], domains: Mapping[str, Domain], judge: Any) -> Any:
    """The discriminator that the loss calls: it augments its inputs if there are *kinds* of augmentation."""
    return Augmented(judge, kinds, domains) if judge is not None and kinds else judge


def recoloured(x: Tensor) -> Tensor:
    """Brightness, saturation, contrast, in this order; (B, C, H, W)."""
    brightness, saturation, contrast = torch.rand(3, len(x), 1, 1, 1, device=x.device, dtype=x.dtype)
    x = x + brightness - 0.5
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * 2 * saturation
    mean = x.mean((1, 2, 3), keepdim=True)
    varied: Tensor = mean + (x - mean) * (contrast + 0.5)
    return varied


def shifted(x: Tensor, share: float = 1 / 8) -> Tensor:
    """Each image moved by its own number of pixels, up to a share of the side; (B, C, H, W)."""
    b, _, h, w = x.shape
    rows, columns = (torch.arange(size, device=x.device) + _whole(b, round(size * share), x.device)[:, None] for size in (h, w))
    inside = _within(rows, h)[:, None, :, None] & _within(columns, w)[:, None, None, :]
    samples = torch.arange(b, device=x.device)[:, None, None]
    taken = x[samples, :, rows.clamp(0, h - 1)[:, :, None], columns.clamp(0, w - 1)[:, None]]  # (B, H, W, C)
    return taken.permute(0, 3, 1, 2) * inside


def with_hole(x: Tensor, share: float = 1 / 2) -> Tensor:
    """A rectangle of each image set to 0, around a random place and cut off at the edge; (B, C, H, W)."""
    b, _, h, w = x.shape
    masks = []
    for size in (h, w):
        middle = torch.randint(0, size + 1, (b, 1), device=x.device)
        masks.append((torch.arange(size, device=x.device) - middle).abs() * 2 < size * share)
    hole = masks[0][:, None, :, None] & masks[1][:, None, None, :]
    return x * ~hole


def _whole(count: int, limit: int, device: Any) -> Tensor:
    """Random whole numbers from -limit to limit."""
    return torch.randint(-limit, limit + 1, (count,), device=device)


def _within(places: Tensor, size: int) -> Tensor:
    return (places >= 0) & (places < size)
