"""Flicker of moving pictures, measured and damped."""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d

KEPT = 0.15
"""The share of a new frame where the input does not change."""
STILL, MOVING = 2.0, 10.0
"""Changes of the input, of 255: up to the first a place counts as still, from the second on as moving."""
CUT = 20.0
"""A mean change above this is a cut to another scene."""

Frame = NDArray[np.float32]


class Flicker:
    """How much results change from frame to frame beyond their inputs: the mean of ``max(|y'-y| - |x'-x|, 0)``.

    x and x' are successive inputs, y and y' their results, in levels of 255, means over the channels; the mean is over all
    pixels and pairs of frames. It is 0 for the inputs themselves, and for any function of a pixel's value that does not raise
    the contrast. It is a measure of our own that needs no optical flow, unlike the warping error of Lai et al., "Learning Blind
    Video Temporal Consistency" (ECCV 2018): what a model does to things that move, such as more contrast, counts as flicker
    too, so compare only figures of one video.
    """

    def __init__(self) -> None:
        self._last: tuple[Frame, Frame] | None = None
        self._total, self._count = 0.0, 0

    def add(self, given: Image.Image, made: Image.Image) -> None:
        """The next frame and its result, of equal size."""
        now = levels(given), levels(made)
        if self._last is not None:
            changes = [np.abs(a - b).mean(0) for a, b in zip(now, self._last, strict=True)]
            self._total += float(np.maximum(changes[1] - changes[0], 0).mean())
            self._count += 1
        self._last = now

    @property
    def value(self) -> float:
        """Of 255; 0 for a single frame."""
        return self._total / max(self._count, 1)


class Steady:
    """Damps flicker where the input hardly changes, by a recursive filter: ``out = a * made + (1 - a) * last out``.

    Motion-adaptive recursive filters are old: Dubois and Sabri, "Noise Reduction in Image Sequences Using Motion-Compensated
    Temporal Filtering" (IEEE Transactions on Communications 32, 1984). ``a`` is KEPT where the input is still and 1 where it
    moves. The input goes through the same filter, and what decides is its difference from that: the mean over 3 x 3 pixels, the
    largest within 3 pixels. So slow changes add up and are noticed, and what is carried over always belongs to an input that
    differs by less than MOVING levels: a moving edge of more contrast than that leaves no trail.
    """

    def __init__(self) -> None:
        self._carried: tuple[Tensor, Tensor] | None = None

    def __call__(self, given: Image.Image, made: Image.Image) -> Image.Image:
        x, y = torch.from_numpy(levels(given)), torch.from_numpy(levels(made))
        if self._carried is None or (x - self._carried[0]).abs().mean() > CUT:
            self._carried = x, y
            return made
        change = avg_pool2d((x - self._carried[0]).abs().amax(0, keepdim=True), 3, 1, 1, count_include_pad=False)
        moving = ((max_pool2d(change, 7, 1, 3) - STILL) / (MOVING - STILL)).clamp(0, 1)
        share = KEPT + (1 - KEPT) * moving
        self._carried = torch.lerp(self._carried[0], x, share), torch.lerp(self._carried[1], y, share)
        pixels = self._carried[1].round().to(torch.uint8).permute(1, 2, 0).numpy()
        return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels, made.mode)


def levels(picture: Image.Image) -> Frame:
    """(C, H, W), 0 to 255."""
    pixels = np.asarray(picture, np.float32)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
