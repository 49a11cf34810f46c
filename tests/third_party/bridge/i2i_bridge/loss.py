"""The bridge's loss: the generator must predict the target from any point of the bridge."""

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from i2i.objectives import two_domains
from i2i.protocols import Batch, Discriminator, Domain, Generator, Images, Needs, Terms
from i2i.randomness import noise_like
from i2i_bridge.generator import check_ends, variance


class BridgeLoss(nn.Module):
    """L1 between the target and its prediction at a time drawn for each sample (Li et al. 2023, algorithm 1)."""

    order: Literal["generator_first", "discriminator_first"] = "generator_first"
    fresh_fakes = False
    networks: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        domains: Mapping[str, Domain],
        noise: Annotated[float, Field(ge=0, le=1, description="The same as the generator's 'noise'.")] = 0.5,
    ) -> None:
        super().__init__()
        self.way, self.noise = two_domains(domains), noise
        check_ends(domains, [self.way])
        self.needs = Needs((self.way,), paired=True, adversarial=False, keywords=frozenset({"state", "time"}))

    def translate(self, G: Generator, batch: Batch) -> Images:
        source, target = (batch[key] for key in self.way)
        time = torch.rand(len(source), 1, 1, 1, device=source.device)
        state = (1 - time) * target + time * source + variance(time, self.noise).sqrt() * noise_like(source)
        return {"seen": G(source, *self.way, state=state, time=time).image}

    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        return {"bridge": F.l1_loss(images["seen"], batch[self.way[1]])}
