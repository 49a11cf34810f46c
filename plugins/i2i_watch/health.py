"""Warns once about each problem of a GAN. If values are NaN or infinite, the core stops the run (``training/finite.py``)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from i2i.hooks import hookimpl
from i2i.protocols import Direction
from i2i.training.state import Run

WON, PATIENCE = 0.01, 30
"""A discriminator has won if the sum of its terms stays below the first number for the second number of logged steps."""
ALIKE, CONSTANT, DIFFERENT = 0.01, 0.004, 0.05
"""Mean absolute differences in [-1, 1]: outputs alike, one constant picture (half a grey level), inputs that do differ."""


class Health:
    """Looks at the players every ``log.every`` steps, and at the pictures of every grid."""

    def __init__(self) -> None:
        self.said: set[str] = set()
        self.won = 0

    @hookimpl
    def step_ended(self, run: Run) -> None:
        if run.skipped and "skipped" not in self.said:
            self._tell_of_skipped(run)
        if run.step % run.recipe.log.every == 0:
            self._look_at_players(run)

    @hookimpl
    def grid_saved(self, run: Run, pictures: Mapping[Direction, tuple[Tensor, Tensor]]) -> None:
        for (source, target), (given, made) in pictures.items():
            name = f"{run.parts.domains[source].name} to {run.parts.domains[target].name}"
            if run.step and float((made - made.mean((2, 3), keepdim=True)).abs().mean()) < CONSTANT:
                self._warn(run, f"constant {name}", f"{name}: every picture has a single colour.")
            elif run.step and _spread(made) < ALIKE and _spread(given) > DIFFERENT:
                self._warn(
                    run, f"alike {name}", f"{name}: the pictures are alike for every input: the generator ignores its input."
                )

    def _tell_of_skipped(self, run: Run) -> None:
        self._warn(
            run,
            "skipped",
            f"step {run.step}: an update was skipped, as its gradients were not finite ({run.drawn_at(run.step)}). "
            "metrics.jsonl counts them under 'skipped'.",
        )

    def _look_at_players(self, run: Run) -> None:
        judged = [term for name, term in run.terms.items() if name not in run.generator_terms]
        if judged and run.recipe.train.precision != "fp16":
            self.won = self.won + 1 if abs(float(torch.stack(judged).sum())) < WON else 0
            if self.won == PATIENCE:
                self._warn(
                    run,
                    "won",
                    f"the discriminator's loss has stayed near zero for {PATIENCE * run.recipe.log.every} steps: it has won "
                    "and teaches the generator little. Lower train.discriminator.lr, or make it smaller.",
                )
        for player, optimizer in run.optimizers.items():
            if run.step < run.recipe.train.steps and not any(group["lr"] for group in optimizer.param_groups):
                self._warn(
                    run, f"rate {player}", f"step {run.step}: the learning rate of the {player} is 0; it learns nothing."
                )

    def _warn(self, run: Run, key: str, text: str) -> None:
        if key not in self.said:
            self.said.add(key)
            run.note(f"warning: {text}")


def _spread(images: Tensor) -> float:
    """The mean absolute difference of (B, C, H, W) from their mean picture; 1 for a single picture."""
    return float((images - images.mean(0)).abs().mean()) if len(images) > 1 else 1.0
