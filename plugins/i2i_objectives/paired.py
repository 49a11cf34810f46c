"""Objectives that compare the real and the generated picture of a sample."""

import torch.nn.functional as F
from torch import Tensor


class Relativistic:
    """The relativistic pairing of R3GAN (Huang et al. 2024, eq. 2), which its authors use with the penalties R1 and R2.

    Each logit of a generated picture is compared with the one at the same place of the real picture of the same sample, so
    that only their difference counts. The logits of both have the same shape, which may be any; the terms are means, 0-d.
    """

    paired = True

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """mean softplus(-(real - fake))"""
        return F.softplus(fake - real).mean()

    def generator(self, fake: Tensor, real: Tensor) -> Tensor:
        """mean softplus(-(fake - real))"""
        return F.softplus(real - fake).mean()
