"""Gradients of gradients with torch.compile, which supports only first-order gradients."""

from collections.abc import Callable

import torch
from torch import Tensor

from i2i.protocols import Verdict


class WithoutCompiler:
    """A compiled discriminator that runs uncompiled if the gradient by its input is needed, as for a penalty.

    While it learns, that is for every image with a gradient, as the images it judges are detached; otherwise for images that
    do not come from a generator (leaves of the graph). torch.compile refuses such gradients, or treats them as constants.
    """

    def __init__(self, D: Callable[..., Verdict], *, learns: bool) -> None:
        self.D, self.learns = D, learns

    def __call__(self, image: Tensor, domain: str, condition: Tensor | None = None) -> Verdict:
        given = (image,) if condition is None else (image, condition)
        if torch.is_grad_enabled() and any(x.requires_grad and (self.learns or x.is_leaf) for x in given):
            with torch.compiler.set_stance("force_eager"):
                return self.D(image, domain, condition)
        return self.D(image, domain, condition)
