"""The sliced Wasserstein distance of patches: how alike two sets of pictures look, without a network.

Patches are taken at several scales (a Laplacian pyramid, Burt & Adelson 1983) and projected onto random directions, in which
the distance of the two sets is that of their sorted values (Rabin et al. 2011; on pictures: Karras et al. 2018, section 5).
One picture gives many patches, so few pictures suffice.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from einops import rearrange
from pydantic import Field
from torch import Tensor

from i2i.errors import UserError
from i2i.metrics import Better, Figure, Seen, State
from i2i.protocols import Direction, Domain
from i2i.randomness import mix
from i2i_metrics.sets import Sample

_NUMBERS = 2**20
"""Between those of two pictures' patches."""


class SlicedWasserstein:
    """``swd``: the distance in each scale, in standard deviations of the real patches; the mean over ``scales``.

    Unlike Karras et al., who normalise the colours of either set on its own, both are measured by the real ones, so that a
    wrong colour counts. Labels are compared one-hot. At most ``keep`` patches of each side are looked at.
    """

    paired = False
    least = 1
    better: Better = "lower"
    names = ("swd",)

    def __init__(
        self,
        *,
        domains: Mapping[str, Domain],
        direction: Direction,
        seed: int,
        patch: Annotated[int, Field(ge=2, description="The side of a patch, in pixels.")] = 7,
        patches: Annotated[int, Field(ge=1, le=_NUMBERS, description="The number of patches of each picture and scale.")] = 64,
        scales: Annotated[int, Field(ge=1, description="The number of scales, each half the one before.")] = 3,
        slices: Annotated[int, Field(ge=1, description="The number of random directions.")] = 128,
        keep: Annotated[int, Field(ge=2, description="The largest number of patches of each side.")] = 10_000,
    ) -> None:
        self.target, self.seed, self.patch, self.patches, self.scales = domains[direction[1]], seed, patch, patches, scales
        channels = self.target.label_count if self.target.kind == "labels" else self.target.channels
        draw = torch.Generator().manual_seed(mix(seed))
        ways = torch.randn(scales, channels * patch**2, slices, generator=draw, dtype=torch.float64)
        self.ways = F.normalize(ways, dim=1)  # (scales, channels * patch * patch, slices), of length 1
        self.made, self.real = Sample(keep, seed), Sample(keep, seed)
        self.protocol: Mapping[str, Any] = {
            "patch": patch,
            "patches": patches,
            "scales": scales,
            "slices": slices,
            "in": "standard deviations of the real patches",
            "keep": keep,
        }

    def update(self, seen: Seen) -> None:
        for sample, images in ((self.made, seen.made), (self.real, seen.real)):
            numbers = torch.tensor(list(seen.indices))[:, None] * _NUMBERS + torch.arange(self.patches)
            sample.offer(numbers.flatten(), self._projected(self._channels(images), seen.indices))

    def _channels(self, images: Tensor) -> Tensor:
        """(B, C, H, W) float32 on the CPU; labels one-hot, without the borders of instances."""
        images = images.detach().float().cpu()
        if self.target.kind == "image":
            return images.clamp(-1, 1)
        ids = images[:, : self.target.label_count].argmax(1)
        return F.one_hot(ids, self.target.label_count).movedim(-1, 1).float()

    def _projected(self, images: Tensor, indices: Sequence[int]) -> Tensor:
        """(B * patches, scales * slices): patches at random places of each scale, in the random directions."""
        smallest = min(images.shape[-2:]) >> (self.scales - 1)
        if smallest < self.patch:
            raise UserError(
                f"at {self.scales} scales pictures must have at least {self.patch << (self.scales - 1)} pixels a side; "
                f"these are {images.shape[-1]} x {images.shape[-2]}. Choose fewer 'scales' or a smaller 'patch'."
            )
        found = []
        for scale, level in enumerate(pyramid(images, self.scales)):
            windows = level.unfold(2, self.patch, 1).unfold(3, self.patch, 1)  # (B, C, rows, columns, patch, patch)
            taken = [self._drawn(window, mix(self.seed, index, scale)) for window, index in zip(windows, indices, strict=True)]
            found.append(torch.cat(taken).double() @ self.ways[scale])
        return torch.cat(found, 1)

    def _drawn(self, windows: Tensor, seed: int) -> Tensor:
        """(C, rows, columns, patch, patch) to (patches, C * patch * patch)."""
        draw = torch.Generator().manual_seed(seed)
        rows, columns = (torch.randint(count, (self.patches,), generator=draw) for count in windows.shape[1:3])
        return windows[:, rows, columns].movedim(1, 0).flatten(1)

    def state(self) -> State:
        return {"made": self.made.state(), "real": self.real.state()}

    def merge(self, states: Sequence[State]) -> None:
        self.made.merge([state["made"] for state in states])
        self.real.merge([state["real"] for state in states])

    def figures(self) -> list[Figure]:
        if not self.real.seen:
            raise UserError("'swd' was given no picture.")
        rows = "n (scales slices) -> scales n slices"
        value = sliced(*(rearrange(side.features, rows, scales=self.scales) for side in (self.made, self.real))).mean()
        return [Figure("swd", float(value), self.better, self.protocol)]


def pyramid(images: Tensor, scales: int) -> list[Tensor]:
    """What each scale adds to the next smaller one; the last is the smallest picture itself. Of (B, C, H, W)."""
    found = []
    for _ in range(scales - 1):
        smaller = F.avg_pool2d(images, 2)
        found.append(images - F.interpolate(smaller, images.shape[-2:], mode="bilinear"))
        images = smaller
    return [*found, images]


def sliced(made: Tensor, real: Tensor) -> Tensor:
    """(…, N, slices) twice to (…): the mean distance of sorted values, in standard deviations of the real ones.

    That of plain pictures counts as one of 255 grey levels, because it is 0.
    """
    apart = (made.sort(-2).values - real.sort(-2).values).abs().mean((-2, -1))
    return apart / real.std(-2, correction=0).mean(-1).clamp(min=1 / 127.5)
