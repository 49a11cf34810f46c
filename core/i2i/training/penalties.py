"""Gradients of gradients with torch.compile, which supports only first-order gradients."""

from collections.abc import Callable

import torch
from torch import Tensor

from i2i.protocols import Verdict


class WithoutCompiler:
    """A compiled discriminator that runs as it was written where the gradient by its input is wanted, as a penalty's is.

    While it learns, that is every image with a gradient, as what it judges comes detached; else those that are no result of a
    generator (leaves of the graph). torch.compile refuses such gradients, or takes them for constants.
    """

    def __init__(self, D: Callable[..., Verdict], *, learns: bool) -> None:
        self.D, self.learns = D, learns

    def __call__(self, image: Tensor, domain: str, condition: Tensor | None = None) -> Verdict:
        given = (image,) if condition is None else (image, condition)
        if torch.is_grad_enabled() and any(x.requires_grad and (self.learns or x.is_leaf) for x in given):
            with torch.compiler.set_stance("force_eager"):
                return self.D(image, domain, condition)
        return self.D(image, domain, condition)
