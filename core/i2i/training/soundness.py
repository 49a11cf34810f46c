"""Whether a run is sound: numbers that explode stay finite for long, and a checkpoint of them is worth nothing.

The rule: all numbers are finite, no loss is above ``LOSSES`` times the largest that it was at the run's first step and at sound
checkpoints, and the norm of no player's weights above ``WEIGHTS`` times the largest that it was there. Below 1 they may rise to
that many times 1.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from i2i.training.state import Run

LOSSES, WEIGHTS = 100, 10
RULE = (
    f"a checkpoint is healthy, and counts for checkpoint.keep_last, if no loss is above {LOSSES} times, and no norm of a "
    f"player's weights above {WEIGHTS} times, its largest value so far (or 1)"
)


class Soundness:
    """Judges a run where it is saved. *largest* holds the run's largest numbers so far, also before it was resumed."""

    def __init__(self, run: "Run", largest: dict[str, float]) -> None:
        self.largest = largest or _numbers({_name(player): norm for player, norm in weight_norms(run).items()})
        self.first: dict[str, Tensor] = {}

    def stepped(self, run: "Run") -> None:
        """Remember a run's first losses, on the device."""
        if not self.first:
            self.first = dict(run.terms)

    def wrong(self, run: "Run") -> list[str]:
        """What is wrong now, in words; if nothing is, ``largest`` takes in the numbers. Waits for the device."""
        weights = {_name(player): norm for player, norm in weight_norms(run).items()}
        first, now = _numbers(self.first), _numbers({**run.terms, **weights})
        largest = self.largest = {**first, **self.largest}
        wrong = []
        for name, value in now.items():
            bound = (WEIGHTS if name in weights else LOSSES) * max(1.0, largest.get(name, value))
            if not value <= bound:
                wrong.append(f"{name} is {value:.3g} (at most {bound:.3g})")
        if not wrong:
            self.largest = {name: max(value, largest.get(name, 0.0)) for name, value in now.items()}
        return wrong


def weight_norms(run: "Run") -> dict[str, Tensor]:
    """The norm of the weights that each player trains, on the device."""
    weights = {player: [p.detach() for p in own.parameters.values()] for player, own in run.players.items()}
    return {player: torch.stack(torch._foreach_norm(own)).float().norm() for player, own in weights.items()}


def _name(player: str) -> str:
    return f"the norm of the {player}'s weights"


def _numbers(values: dict[str, Tensor]) -> dict[str, float]:
    """Their absolute values as numbers: one copy from the device for all."""
    if not values:
        return {}
    return dict(zip(values, torch.stack([value.float() for value in values.values()]).abs().tolist(), strict=True))
