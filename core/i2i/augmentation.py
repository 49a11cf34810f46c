"""Differentiable augmentation of what a discriminator sees, for small data sets, always or as much as is needed.

Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training", section 3.2. Real and generated images are
varied alike, and gradients pass to the generator, whose pictures themselves stay as they are. Each image of a batch is varied
by its own random numbers, from torch's default generator of its device. The strengths are the paper's.
"""

from collections.abc import Callable, Collection
from typing import Any, Literal

import torch
from torch import Tensor

from i2i.layers import with_condition

Kind = Literal["color", "translation", "cutout"]
"""``recoloured``, ``shifted``, ``with_hole``."""


def varied(
    image: Tensor,
    condition: Tensor | None,
    kinds: Collection[Kind],
    *,
    colors: bool = True,
    p: Tensor | float | None = None,
) -> tuple[Tensor, Tensor | None]:
    """An image (B, C, H, W) and its condition (B, C', H, W), or None, moved and cut alike; both keep their shapes.

    The kinds are applied in the order color, translation, cutout. Only the image is recoloured, and only if *colors*: it is
    not a label map. Each kind changes each image with probability *p*, and leaves it bit for bit as it is otherwise; without p
    it changes all of them.
    """
    chosen = None if p is None else torch.rand(3, len(image), 1, 1, 1, device=image.device) < p

    def changed(x: Tensor, kind: int, change: Callable[[Tensor], Tensor]) -> Tensor:
        return change(x) if chosen is None else torch.where(chosen[kind], change(x), x)

    if "color" in kinds and colors:
        image = changed(image, 0, recoloured)
    joined = with_condition(image, condition)
    if "translation" in kinds:
        joined = changed(joined, 1, shifted)
    if "cutout" in kinds:
        joined = changed(joined, 2, with_hole)
    channels = image.shape[1]
    return joined[:, -channels:], None if condition is None else joined[:, :-channels]


class Adaptive:
    """Sets the probability p of augmentation by how often the discriminator is right about real pictures.

    Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", section 3: r_t is the mean sign of D's
    logits for real pictures, 0 if it cannot tell, 1 if it knows them all. *every* few steps p rises if their r_t is above
    *target*, and falls if it is below, by *rise* for each step. It begins at 0 and stays in [0, 1]; the published program has
    no upper bound, but beyond 1 nothing would change. All is kept in tensors: no device is waited for.
    """

    def __init__(self, target: float, every: int, rise: float, device: torch.device | None = None) -> None:
        self.target, self.every, self.rise = target, every, rise
        self.state = torch.zeros(4, device=device)
        """p, the last r_t, and since then the sum of what was heard and how often; what a checkpoint must keep."""

    @property
    def p(self) -> Tensor:
        """The probability, 0-d."""
        return self.state[0]

    @property
    def signs(self) -> Tensor:
        """r_t of the last interval, 0-d; 0 before the first."""
        return self.state[1]

    def hear(self, signs: Tensor) -> None:
        """Take the mean sign of a batch, 0-d, into account."""
        self.state[2:] += torch.stack([signs, torch.ones_like(signs)])

    def step_ended(self, step: int, gathered: Callable[[Tensor], Tensor]) -> None:
        """Adjust p after that number of steps. *gathered* sums over the processes. If they heard nothing, or NaN, p stays."""
        if step % self.every:
            return
        total, count = gathered(self.state[2:])
        signs = total / count
        p = (self.p + self.every * self.rise * torch.sign(signs - self.target)).clamp(0, 1)
        found = torch.where(signs.isfinite(), torch.stack([p, signs]), self.state[:2])
        self.state = torch.cat([found, torch.zeros_like(found)])


def recoloured(x: Tensor) -> Tensor:
    """Brightness, saturation and contrast changed, in this order; (B, C, H, W) in [-1, 1], which the result may leave.

    Brightness: x + u, u in [-0.5, 0.5]. Saturation: the distance from the pixel's mean over the channels, times 0 to 2.
    Contrast: the distance from the image's mean, times 0.5 to 1.5.
    """
    brightness, saturation, contrast = torch.rand(3, len(x), 1, 1, 1, device=x.device, dtype=x.dtype)
    x = x + brightness - 0.5
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * 2 * saturation
    mean = x.mean((1, 2, 3), keepdim=True)
    result: Tensor = mean + (x - mean) * (contrast + 0.5)
    return result


def shifted(x: Tensor, share: float = 1 / 8) -> Tensor:
    """Each image moved by a whole number of pixels down or up and right or left, each at most that share of the side.

    (B, C, H, W), any values; what comes in at the edge is 0.
    """
    b, _, h, w = x.shape
    rows, columns = (torch.arange(size, device=x.device) + _whole(b, round(size * share), x.device)[:, None] for size in (h, w))
    inside = _within(rows, h)[:, None, :, None] & _within(columns, w)[:, None, None, :]
    samples = torch.arange(b, device=x.device)[:, None, None]
    taken = x[samples, :, rows.clamp(0, h - 1)[:, :, None], columns.clamp(0, w - 1)[:, None]]  # (B, H, W, C)
    return taken.permute(0, 3, 1, 2) * inside


def with_hole(x: Tensor, share: float = 1 / 2) -> Tensor:
    """A rectangle of each image set to 0, its sides that share of the image's, around a random place and cut off at the edge.

    (B, C, H, W), any values.
    """
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
