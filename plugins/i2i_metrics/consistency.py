"""What a model does to its own translations: there and back, and to images that are in the target's domain already."""

from collections.abc import Mapping

from torch import Tensor

from i2i.errors import UserError
from i2i.metrics import PerImage, Seen, needs_images, to_zero_one
from i2i.protocols import Direction, Domain


class Cycle(PerImage):
    """An image against its translation there and back: mean absolute difference in [0, 1].

    For labels it is the share of pixels whose class has changed. A generator that takes styles takes the image's own on its way
    back.
    """

    def __init__(self, *, domains: Mapping[str, Domain], direction: Direction, directions: tuple[Direction, ...]) -> None:
        source, target = direction
        if (target, source) not in directions:
            raise UserError(f"the model does not translate from {domains[target].name} back to {domains[source].name}.")
        self.domain = domains[source]
        super().__init__("cycle", distance="L1 in [0, 1]" if self.domain.kind == "image" else "share of pixels changed")

    def measure(self, seen: Seen) -> Mapping[str, Tensor]:
        back = seen.once("back", seen.back)
        if seen.styled:
            self.protocol = {**self.protocol, "style_back": "the source's own"}
        if self.domain.kind == "labels":
            count = self.domain.label_count
            changed = back[:, :count].argmax(1) != seen.source[:, :count].argmax(1)
            return {"cycle": changed.double().mean((1, 2))}
        return {"cycle": (to_zero_one(back) - to_zero_one(seen.source)).double().abs().mean((1, 2, 3))}


class Identity(PerImage):
    """An image of the target's domain against its translation into that domain: mean absolute difference in [0, 1]."""

    def __init__(self, *, domains: Mapping[str, Domain], direction: Direction) -> None:
        source, target = (domains[key] for key in direction)
        needs_images(target, "the target")
        if (source.kind, source.channels) != (target.kind, target.channels):
            raise UserError(f"'{source.name}' and '{target.name}' differ in kind or channels: one cannot replace the other.")
        super().__init__("identity", distance="L1 in [0, 1]")

    def measure(self, seen: Seen) -> Mapping[str, Tensor]:
        kept = seen.translate(seen.real, *seen.direction, 0)
        return {"identity": (to_zero_one(kept) - to_zero_one(seen.real)).double().abs().mean((1, 2, 3))}
