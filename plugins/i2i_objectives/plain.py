"""Objectives that judge every picture alone.

All take raw logits x of any shape (no sigmoid) and return a mean over all elements, 0-d.
"""

import torch.nn.functional as F
from torch import Tensor


class CrossEntropy:
    """Cross-entropy, the generator's term in the form that does not saturate (Goodfellow et al. 2014, eq. 1 and section 3).

    It is registered under two common names, ``bce`` and ``non_saturating``; it is also called "vanilla".
    """

    paired = False

    def real(self, logits: Tensor) -> Tensor:
        """mean(-log sigmoid(x))"""
        return F.softplus(-logits).mean()

    def fake(self, logits: Tensor) -> Tensor:
        """mean(-log(1 - sigmoid(x)))"""
        return F.softplus(logits).mean()

    def generator(self, logits: Tensor) -> Tensor:
        """mean(-log sigmoid(x))"""
        return F.softplus(-logits).mean()


class LeastSquares:
    """Least squares, without the factor 1/2 (Mao et al. 2017, eq. 9)."""

    paired = False
    boundary = 0.5

    def real(self, logits: Tensor) -> Tensor:
        """mean((x - 1)^2)"""
        return (logits - 1).square().mean()

    def fake(self, logits: Tensor) -> Tensor:
        """mean(x^2)"""
        return logits.square().mean()

    def generator(self, logits: Tensor) -> Tensor:
        """mean((x - 1)^2)"""
        return (logits - 1).square().mean()


class Hinge:
    """The hinge loss (Lim & Ye 2017; Miyato et al. 2018, eq. 16 and 17)."""

    paired = False

    def real(self, logits: Tensor) -> Tensor:
        """mean(max(0, 1 - x))"""
        return F.relu(1 - logits).mean()

    def fake(self, logits: Tensor) -> Tensor:
        """mean(max(0, 1 + x))"""
        return F.relu(1 + logits).mean()

    def generator(self, logits: Tensor) -> Tensor:
        """-mean(x)"""
        return -logits.mean()


class Wasserstein:
    """The difference of the means (Arjovsky et al. 2017, eq. 2); it needs a gradient penalty for the Lipschitz bound."""

    paired = False
    boundary = None

    def real(self, logits: Tensor) -> Tensor:
        """-mean(x)"""
        return -logits.mean()

    def fake(self, logits: Tensor) -> Tensor:
        """mean(x)"""
        return logits.mean()

    def generator(self, logits: Tensor) -> Tensor:
        """-mean(x)"""
        return -logits.mean()
