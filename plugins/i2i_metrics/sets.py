"""Shared by the metrics of sets: features of crops or whole pictures, and a sample of them of limited size."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from pydantic import Field
from torch import Tensor

from i2i.errors import UserError
from i2i.metrics import Seen, State, needs_images
from i2i.protocols import Direction, Domain
from i2i.randomness import mix
from i2i_metrics.extractors import INCEPTION, extractor

Pixels = Annotated[int, Field(ge=1)]
Network = Annotated[
    str, Field(description="The network that makes features: efficientnet_lite0 to 2, thin_resnet50, inception, or timm's.")
]
Layer = Annotated[str | None, Field(description="Take the spatial mean of this layer. Default: the pooled features.")]
Crop = Annotated[Pixels | None, Field(description="Cut pictures into squares of this side.")]
Stride = Annotated[Pixels | None, Field(description="The distance between crops. Default: crop.")]
Resize = Annotated[Pixels | None, Field(description="Scale to a square of this side.")]
Filter = Annotated[Literal["bilinear", "bicubic", "area"], Field(description="The filter of resize.")]
_AT_ONCE, _CROPS = 64, 2**20


def number_of(identity: int) -> int:
    """The number of the sample, from what identifies a picture or a crop of it."""
    return identity // _CROPS


class SetMetric:
    """Compares the features of all translations with those of all real images.

    Pictures are given to the extractor as they are, or first cut into crops of ``crop`` pixels every ``stride`` (default:
    ``crop``), then resized to ``resize`` pixels square with an antialiased ``filter``.
    """

    paired = False
    made: Any
    real: Any
    """What is kept of the translations and of the real images: each has ``state()`` and ``merge(states)``."""

    def __init__(
        self,
        names: Sequence[str],
        domains: Mapping[str, Domain],
        direction: Direction,
        given: "Preparation",
        least: int = 2,
    ) -> None:
        target = domains[direction[1]]
        needs_images(target, "the target")
        if target.channels not in (1, 3):
            raise UserError(f"an extractor takes 1 or 3 channels, and '{target.name}' has {target.channels}.")
        self.given, self.extractor = given, extractor(given.extractor, given.layer)
        plain = given.extractor == INCEPTION and given.crop is None and given.resize is None
        self.names = tuple(name if plain else f"{name}[{self.extractor.name}]" for name in names)
        self.needed, self.least = least, least if given.crop is None else 1
        self.protocol: Mapping[str, Any] = {**self.extractor.protocol(), **given.protocol(self.extractor.resizes)}

    def features(self, seen: Seen) -> tuple[Tensor, Tensor, Tensor]:
        """The features of translations and of real images, (N, d) each, float64 on the CPU, and N numbers that identify them.

        N is the batch, or the number of its crops, which must be the same on both sides.
        """
        made = seen.once((self.given, "made"), lambda: self._of(seen.made, seen.indices))
        real = seen.once((self.given, "real"), lambda: self._of(seen.real, seen.indices))
        if len(made[1]) != len(real[1]):
            raise UserError("translations and real images give different numbers of crops; they must have the same size.")
        return made[0], real[0], made[1]

    def _of(self, images: Tensor, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        pictures, numbers = self.given.prepare(images.float(), indices)
        h, w = pictures.shape[-2:]
        if min(h, w) < self.extractor.smallest:
            raise UserError(
                f"the extractor '{self.extractor.name}' takes images of at least {self.extractor.smallest} pixels a side; "
                f"these are {w} x {h}. Enlarge them with 'resize', or take a larger 'crop'."
            )
        network = self.extractor.to(pictures.device)
        with torch.inference_mode():
            parts = [network(part.clamp(-1, 1)).cpu().double() for part in torch.chunk(pictures, -(-len(pictures) // _AT_ONCE))]
        return torch.cat(parts).clone(), numbers

    def state(self) -> State:
        return {"made": self.made.state(), "real": self.real.state()}

    def merge(self, states: Sequence[State]) -> None:
        self.made.merge([state["made"] for state in states])
        self.real.merge([state["real"] for state in states])

    def enough(self, count: int) -> None:
        """Refuse too few samples.

        Raises:
            UserError: saying how many there must be.
        """
        if count < self.needed:
            raise UserError(f"'{self.names[0]}' needs at least {self.needed} pictures or crops, and there are {count}.")


class Preparation:
    """The extractor, and how pictures are prepared for it."""

    def __init__(
        self, extractor: str, layer: str | None, crop: int | None, stride: int | None, resize: int | None, filter: Filter
    ) -> None:
        self.extractor, self.layer, self.crop, self.resize, self.filter = extractor, layer, crop, resize, filter
        if stride is not None and crop is None:
            raise UserError("'stride' is the distance between crops: give 'crop' as well.")
        self.stride = stride or crop
        self._key = (extractor, layer, crop, self.stride, resize, filter)

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Preparation) and self._key == other._key

    def protocol(self, own: str | None) -> dict[str, Any]:
        """What the protocol of a figure says about it; *own* is the extractor's own resizing."""
        crop = None if self.crop is None else f"{self.crop} every {self.stride}"
        resize = None if self.resize is None else f"{self.resize}, {self.filter}, antialiased"
        return {"extractor_crop": crop, "resize": " then ".join(part for part in (resize, own) if part) or None}

    def prepare(self, images: Tensor, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) to pictures (N, C, h, w) and their numbers (N,)."""
        numbers = torch.tensor(list(indices), dtype=torch.int64) * _CROPS
        if self.crop is not None and self.stride is not None:
            h, w = images.shape[-2:]
            if min(h, w) < self.crop:
                raise UserError(f"crop: {self.crop} is larger than the pictures, {w} x {h}.")
            windows = images.unfold(2, self.crop, self.stride).unfold(3, self.crop, self.stride)
            each = windows.shape[2] * windows.shape[3]
            images = rearrange(windows, "b c i j y x -> (b i j) c y x")
            numbers = (numbers[:, None] + torch.arange(each)).flatten()
        if self.resize is not None:
            anti = self.filter != "area"
            images = F.interpolate(images, (self.resize, self.resize), mode=self.filter, antialias=anti)
        return images, numbers


class Sample:
    """At most *keep* of the features offered: those with the smallest hashed numbers, in any order and process."""

    def __init__(self, keep: int, seed: int) -> None:
        self.keep, self.seed, self.seen = keep, seed, 0
        self.ranks: list[tuple[int, int]] = []  # (hash, number) of each row of the features
        self.rows = torch.zeros(0, 0, dtype=torch.float64)

    def offer(self, numbers: Tensor, features: Tensor) -> None:
        """Take in (N, d) features with their numbers (N,)."""
        self._add([(mix(self.seed, number), number) for number in numbers.tolist()], features, len(numbers))

    def _add(self, ranks: list[tuple[int, int]], features: Tensor, seen: int) -> None:
        self.seen += seen
        self.ranks = [*self.ranks, *ranks]
        self.rows = torch.cat((self.rows.reshape(-1, features.shape[1]), features))
        if len(self.ranks) > self.keep:
            kept = sorted(range(len(self.ranks)), key=self.ranks.__getitem__)[: self.keep]
            self.ranks, self.rows = [self.ranks[place] for place in kept], self.rows[kept]

    @property
    def numbers(self) -> list[int]:
        """The numbers of the sample, in their order."""
        return sorted(number for _, number in self.ranks)

    @property
    def features(self) -> Tensor:
        """The sample (n, d) in the order of the numbers."""
        return self.rows[sorted(range(len(self.ranks)), key=lambda place: self.ranks[place][1])]

    def state(self) -> State:
        return {"seen": self.seen, "ranks": self.ranks, "rows": self.rows}

    def merge(self, states: Sequence[State]) -> None:
        self.seen, self.ranks, self.rows = 0, [], self.rows[:0]
        for state in states:
            if state["ranks"]:
                self._add(state["ranks"], state["rows"], state["seen"])


class SampledSetMetric(SetMetric):
    """A set-wise metric that looks at a sample of each side's features."""

    def start(self, keep: int, seed: int) -> None:
        """Begin with two empty samples."""
        self.made, self.real = Sample(keep, seed), Sample(keep, seed)
        self.protocol = {**self.protocol, "keep": keep}

    def update(self, seen: Seen) -> None:
        made, real, numbers = self.features(seen)
        self.made.offer(numbers, made)
        self.real.offer(numbers, real)
