"""Whether a file computes what the model does, and what is lost by storing its weights in fewer bits."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from i2i.errors import UserError
from i2i.labels import borders
from i2i.protocols import Domain
from i2i_export.plan import Plan, Size, random_inputs
from i2i_export.tracing import reason

Run = Callable[..., Tensor]

TOLERANCE = 1e-4
"""The largest difference from the model that is accepted, for values in [-1, 1], of weights in fp32."""


@dataclass(frozen=True)
class Limits:
    """The most that may be lost: in grey levels of 255, or as the share of pixels of a label map that change their class."""

    largest: float
    mean: float
    changed: float


LIMITS = {"fp16": Limits(6, 1, 0.01), "int8": Limits(32, 2, 0.03)}


@dataclass(frozen=True)
class Loss:
    """Differences from the model, in grey levels (1 / 255 of the range), and the PSNR in dB, infinite if there are none.

    ``changed`` is the share of pixels with another class, for label maps, else 0. ``pictures`` is how many were compared.
    """

    largest: float
    mean: float
    psnr: float
    changed: float
    pictures: int

    def __str__(self) -> str:
        levels = f"at most {self.largest:.2g} grey levels, {self.mean:.2g} on average, PSNR {self.psnr:.1f} dB"
        return f"{self.changed:.2%} of the pixels change their class ({levels})" if self.changed else levels


def check_equal(plan: Plan, run: Run) -> dict[Size, float]:
    """The largest difference from the translator's results on random examples, for each size.

    Raises:
        UserError: the file fails at a size, or the difference is too large.
    """
    return {size: _difference(plan, run, size) for size in plan.sizes()}


def loss_of(plan: Plan, run: Run, inputs: Iterable[tuple[Tensor, ...]]) -> Loss:
    """What the file's results lose, over all of these inputs of the network.

    Raises:
        UserError: the file fails.
    """
    labels = plan.target.kind == "labels"
    scale = 255.0 if labels else 127.5
    largest = total = squares = changed = 0.0
    numbers = pixels = pictures = 0
    for one in inputs:
        expected, made = plan.expected(*one), _run(plan, run, one)
        apart = (made - expected).double().abs() * scale
        largest = max(largest, float(apart.max())) if not apart.isnan().any() else math.inf
        total, squares, numbers = total + float(apart.sum()), squares + float(apart.square().sum()), numbers + apart.numel()
        if labels:
            changed += float((made.argmax(1) != expected.argmax(1)).sum())
        pixels, pictures = pixels + made[:, 0].numel(), pictures + len(made)
    squares /= numbers
    psnr = 10 * math.log10(255**2 / squares) if squares else math.inf
    return Loss(largest, total / numbers, psnr, changed / pixels, pictures)


def check_loss(loss: Loss, weights: str, target: Domain) -> None:
    """Raises UserError if that is more than is accepted for weights of this kind."""
    most = LIMITS[weights]
    images = target.kind == "image"
    fine = loss.largest <= most.largest and loss.mean <= most.mean if images else loss.changed <= most.changed
    if not fine:
        allowed = f"{most.largest:g} and {most.mean:g} grey levels are" if images else f"{most.changed:.0%} is"
        raise UserError(
            f"weights: with {weights} the exported model differs too much from the model: {loss}; {allowed} allowed. Nothing "
            f"was written. Take {'fp16 or ' if weights == 'int8' else ''}fp32 (--weights)."
        )


def likenesses(plan: Plan) -> Iterable[tuple[Tensor, ...]]:
    """Inputs at all tested sizes that resemble pictures: smooth areas, edges and detail, or areas of classes."""
    return (plan.inputs(size, like_pictures) for size in plan.sizes())


def like_pictures(domain: Domain, size: Size) -> Tensor:
    """Random pictures (B, C, H, W), whose amplitudes fall with the frequency as those of photographs do (1 / f, Field 1987).

    Images fill [-1, 1]. For labels each pixel has the class whose picture is brightest there, one-hot.
    """
    b, h, w = size
    generator = torch.Generator().manual_seed(b + h + w)
    count = domain.channels if domain.kind == "image" else domain.label_count
    made, cell = torch.zeros(b, count, h, w), 1
    while cell <= max(h, w):
        rough = torch.randn(b, count, -(-h // cell), -(-w // cell), generator=generator)
        made += cell * F.interpolate(rough, (h, w), mode="bilinear")
        cell *= 2
    if domain.kind == "image":
        low, high = made.amin((2, 3), keepdim=True), made.amax((2, 3), keepdim=True)
        return (made - low) / (high - low).clamp_min(1e-6) * 2 - 1
    ids = made.argmax(1)
    one_hot = F.one_hot(ids, count).permute(0, 3, 1, 2).float()
    return torch.cat([one_hot, borders(ids[:, None])], 1) if domain.instances else one_hot


def prepared_pictures(plan: Plan, samples: Sequence[Tensor]) -> Iterable[tuple[Tensor, ...]]:
    """Samples of the source domain, each (1, C, H, W), cropped to sizes that the network takes; a style resembles pictures."""
    for sample in samples:
        h, w = (side // plan.divisor * plan.divisor for side in sample.shape[-2:])
        if min(h, w) >= plan.smallest:
            _, *style = plan.inputs((1, h, w), like_pictures)
            yield sample[:, :, :h, :w], *style


def _difference(plan: Plan, run: Run, size: Size) -> float:
    inputs = plan.inputs(size, random_inputs)
    here = _here(inputs)
    difference = float((_run(plan, run, inputs) - plan.expected(*inputs)).abs().max())
    if not difference <= TOLERANCE:
        raise UserError(
            f"the exported model differs from the model by {difference:.2g} {here}; {TOLERANCE:.0e} is allowed. Nothing was "
            "written."
        )
    return difference


def _run(plan: Plan, run: Run, inputs: tuple[Tensor, ...]) -> Tensor:
    try:
        with torch.no_grad():
            return run(*inputs)
    except Exception as error:  # of torch's, of the runtime's
        raise UserError(f"the exported model fails {_here(inputs)}: {reason(error)}. Nothing was written.") from error


def _here(inputs: tuple[Tensor, ...]) -> str:
    b, _, h, w = inputs[0].shape
    return f"on a batch of {b}, {h} px high and {w} px wide"
