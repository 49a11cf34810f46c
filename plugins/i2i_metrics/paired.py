"""Metrics of pairs: each translation is compared with its truth, pixel by pixel.

Images are scaled to [0, 1] in floating point and not rounded to 8 bits; every figure is the mean of the pictures' values.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from i2i.errors import UserError
from i2i.metrics import PerImage, Seen, needs_images, paired_images
from i2i.protocols import Direction, Domain
from i2i_metrics.packages import needed, versions


class Paired(PerImage):
    """One figure from two sets of images (B, C, H, W) in [0, 1]; ``smallest`` is the least height and width."""

    paired = True
    name = ""
    smallest = 1
    package: str | None = None

    def __init__(self, *, domains: Mapping[str, Domain], direction: Direction) -> None:
        needs_images(domains[direction[1]], "the target")
        libraries = {"versions": versions(self.package)} if self.package else {}
        super().__init__(self.name, range="[0, 1], float", **libraries)

    def measure(self, seen: Seen) -> Mapping[str, Tensor]:
        made, truth = paired_images(seen)
        h, w = made.shape[-2:]
        if min(h, w) < self.smallest:
            raise UserError(f"'{self.name}' needs pictures of at least {self.smallest} pixels a side; these are {w} x {h}.")
        return {self.name: self.compare(made, truth)}

    def compare(self, made: Tensor, truth: Tensor) -> Tensor:
        """One value for each pair, (B,)."""
        raise NotImplementedError


class Psnr(Paired):
    """Peak signal-to-noise ratio in dB, 10 log10(1 / MSE), of each picture; two equal pictures have infinitely many."""

    name = "psnr"
    better = "higher"

    def compare(self, made: Tensor, truth: Tensor) -> Tensor:
        return -10 * torch.log10((made - truth).double().square().mean((1, 2, 3)))


class L1(Paired):
    """Mean absolute difference; 1 lies between black and white."""

    name = "l1"

    def compare(self, made: Tensor, truth: Tensor) -> Tensor:
        return (made - truth).double().abs().mean((1, 2, 3))


class Ssim(Paired):
    """Structural similarity (Wang et al. 2004): Gaussian window of 11 pixels, sigma 1.5, K1 = 0.01, K2 = 0.03.

    The mean is over the places where the window lies within the picture, as in the authors' program and scikit-image;
    torchmetrics' own mean has 5 more pixels on each side, from a mirrored border.
    """

    name = "ssim"
    better = "higher"
    smallest = 11
    package = "torchmetrics"

    def __init__(self, *, domains: Mapping[str, Domain], direction: Direction) -> None:
        self.image = needed("torchmetrics.functional.image", "torchmetrics")
        super().__init__(domains=domains, direction=direction)

    def compare(self, made: Tensor, truth: Tensor) -> Tensor:
        compute = self.image.structural_similarity_index_measure
        _, places = compute(made, truth, reduction="none", data_range=1.0, return_full_image=True)
        inner: Tensor = places[..., 5:-5, 5:-5]
        return inner.mean((1, 2, 3))


class MsSsim(Ssim):
    """Structural similarity over five scales (Wang et al. 2003), with the window of ``ssim``, borders mirrored."""

    name = "ms_ssim"
    smallest = 176  # the window of 11 must fit into the picture halved four times

    def compare(self, made: Tensor, truth: Tensor) -> Tensor:
        compute = self.image.multiscale_structural_similarity_index_measure
        values: Tensor = compute(made, truth, reduction="none", data_range=1.0, normalize="relu")
        return values.reshape(-1)
