"""Augmentation of what the discriminator sees, real and generated alike (``i2i.augmentation``)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from i2i.augmentation import Kind, varied
from i2i.protocols import Domain, Verdict


class Augmented:
    """A discriminator that sees every image, and its condition with it, varied at random. Label maps keep their colours."""

    def __init__(self, D: Callable[..., Verdict], kinds: Sequence[Kind], domains: Mapping[str, Domain]) -> None:
        self.D, self.kinds, self.domains = D, tuple(kinds), domains

    def __call__(self, image: Tensor, domain: str, condition: Tensor | None = None) -> Verdict:
        """Judge image (B, C, H, W); one draw for each image of the batch."""
        image, condition = varied(image, condition, self.kinds, colors=self.domains[domain].kind == "image")
        return self.D(image, domain, condition)


def augmented(kinds: Sequence[Kind], domains: Mapping[str, Domain], judge: Any) -> Any:
    """The discriminator that the loss calls: it augments its inputs if there are *kinds* of augmentation."""
    return Augmented(judge, kinds, domains) if judge is not None and kinds else judge
