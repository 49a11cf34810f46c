"""The network that predicts the target from a point of the bridge, and the sampler that follows the bridge."""

from collections.abc import Iterable, Mapping
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from i2i.errors import UserError
from i2i.layers import Count
from i2i.protocols import Domain, Translation
from i2i.randomness import noise_like


class Denoiser(nn.Module):
    """Predicts state - target (B, C, H, W) from the state (B, C, H, W), the source and the time (B, 1, 1, 1)."""

    def __init__(self, channels: int, source: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels + source + 1, width, 3, padding=1)
        self.down = nn.Conv2d(width, 2 * width, 4, 2, 1)
        self.middle = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.up = nn.ConvTranspose2d(2 * width, width, 4, 2, 1)
        self.last = nn.Conv2d(2 * width, channels, 3, padding=1)

    def forward(self, state: Tensor, source: Tensor, time: Tensor) -> Tensor:
        wide = F.silu(self.first(torch.cat((state, source, time.expand_as(state[:, :1])), 1)))
        deep = F.silu(self.middle(F.silu(self.down(wide))))
        way: Tensor = self.last(torch.cat((wide, F.silu(self.up(deep))), 1))
        return way


class Bridge(nn.Module):
    """Goes from the source image to the target in *steps*; *noise* is the largest variance on the way, 0 with *ode*.

    A call with ``state`` and ``time`` predicts the target from that point in one evaluation.
    """

    exposes: frozenset[str] = frozenset()
    accepts = frozenset({"state", "time"})
    at_use = frozenset({"steps", "ode"})
    small = {"width": 4, "steps": 1}  # noqa: RUF012 - never changed
    divisor = 2

    def __init__(
        self,
        *,
        domains: Mapping[str, Domain],
        directions: Iterable[tuple[str, str]],
        width: Annotated[Count, Field(description="Channels at the full size.")] = 32,
        steps: Annotated[int, Field(ge=1, le=1000, description="Network evaluations from source to target.")] = 8,
        ode: Annotated[bool, Field(description="Sample without noise.")] = False,
        noise: Annotated[float, Field(ge=0, le=1, description="The largest variance on the bridge.")] = 0.5,
    ) -> None:
        super().__init__()
        check_ends(domains, directions)
        self.noise, self.ode = noise, ode
        self.register_buffer("times", torch.linspace(1, 0, steps + 1), persistent=False)
        channels = {(s, t): (domains[t].channels, domains[s].channels) for s, t in directions}
        self.networks = nn.ModuleDict({f"{s}_{t}": Denoiser(*both, width) for (s, t), both in channels.items()})

    def forward(
        self, x: Tensor, source: str, *targets: str, state: Tensor | None = None, time: Tensor | None = None
    ) -> Translation:
        """Translate x (B, C, H, W)."""
        looks = {target: self.networks[f"{source}_{target}"] for target in targets}
        if state is not None and time is not None:
            return Translation({target: state - look(state, x, time) for target, look in looks.items()})
        return Translation({target: self._walk(x, look) for target, look in looks.items()})

    def _walk(self, x: Tensor, look: nn.Module) -> Tensor:
        """From time 1 to 0; each step follows the bridge between the source and the target as predicted (section 3.2)."""
        state = x
        for now, then in zip(self.times[:-1], self.times[1:], strict=True):
            seen = (state - look(state, x, now.view(1, 1, 1, 1))).clamp(-1, 1)
            state = (1 - then) * seen + then * x
            if not self.ode:
                state = state + variance(then, self.noise).sqrt() * noise_like(x)
        return state


def variance(time: Tensor, most: float) -> Tensor:
    """The bridge's variance at a time in [0, 1]: 0 at its ends, *most* in the middle (equation 4, with s = 2 most)."""
    return 4 * most * (time - time.square())


def check_ends(domains: Mapping[str, Domain], ways: Iterable[tuple[str, str]]) -> None:
    if any(domains[s].channels != domains[t].channels or domains[t].kind == "labels" for s, t in ways):
        raise UserError("a bridge translates images into images, and both domains must have the same number of channels.")
