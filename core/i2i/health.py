"""Notices when a GAN goes wrong: stops at losses that are NaN or infinite, and warns, once each, of what looks bad."""

from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from i2i.data import SeededDataset
from i2i.errors import UserError
from i2i.registry import hookimpl
from i2i.samples import Sampling
from i2i.soundness import weight_norms

if TYPE_CHECKING:
    from i2i.state import Run

WON, PATIENCE = 0.01, 30
"""A discriminator has won when the sum of its terms stays below the first, for so many looks at them."""
ALIKE, CONSTANT, DIFFERENT = 0.01, 0.004, 0.05
"""Mean absolute differences in [-1, 1]: outputs alike, one constant picture (half a grey level), inputs that do differ."""


class Health:
    """Watches every step without waiting for the device, and looks closer every ``log.every`` steps and before saving."""

    def __init__(self, note: Callable[[str], None], sampling: Sampling | None) -> None:
        self.note, self.sampling = note, sampling
        self.said: set[str] = set()
        self.bad: Tensor | None = None  # which terms were not finite at the first bad step, and that step
        self.won = 0

    @hookimpl(tryfirst=True)
    def step_ended(self, run: "Run") -> None:
        self._remember(run)
        recipe = run.recipe
        saves = run.step % recipe.checkpoint.every == 0 or run.step == recipe.train.steps
        if recipe.train.non_finite == "skip":
            self._tell_of_skipped(run)
        elif saves or run.step % recipe.log.every == 0:
            self._stop_if_not_finite(run)
        if saves:
            _check_weights(run)
        if run.step % recipe.log.every == 0:
            self._look_at_players(run)

    @hookimpl(tryfirst=True)
    def run_ended(self, run: "Run") -> None:
        """A run that is stopped is saved at a step that nothing has looked at yet."""
        if self.bad is None:
            return
        if run.recipe.train.non_finite != "skip":
            self._stop_if_not_finite(run)
        _check_weights(run)

    @hookimpl(trylast=True)
    def grid_saved(self, run: "Run") -> None:
        for (source, target), (given, made) in (self.sampling.latest if self.sampling else {}).items():
            name = f"{run.parts.domains[source].name} to {run.parts.domains[target].name}"
            if run.step and float((made - made.mean((2, 3), keepdim=True)).abs().mean()) < CONSTANT:
                self._warn(f"constant {name}", f"{name}: every picture is of one colour.")
            elif run.step and _spread(made) < ALIKE and _spread(given) > DIFFERENT:
                self._warn(f"alike {name}", f"{name}: the pictures are alike whatever the input; the generator ignores it.")

    def _remember(self, run: "Run") -> None:
        """Keep the terms of the first step at which one was not finite, on the device."""
        wrong = ~torch.isfinite(torch.stack([term.detach().float() for term in run.terms.values()]))
        now = torch.cat([wrong.float(), wrong.new_full((1,), run.step, dtype=torch.float32)])
        before = torch.zeros_like(now) if self.bad is None else self.bad
        self.bad = torch.where(before[:-1].any(), before, torch.where(wrong.any(), now, before))

    def _stop_if_not_finite(self, run: "Run") -> None:
        assert self.bad is not None
        *wrong, step = self.bad.tolist()
        names = [name for name, bad in zip(run.terms, wrong, strict=True) if bad]
        if names:
            raise UserError(
                f"step {int(step)}: {', '.join(names)} is not finite; training stopped ({drawn_at(run, int(step))}). The last "
                "checkpoint is from before it. Resume with a lower learning rate (train.generator.lr, "
                "train.discriminator.lr), with train.clip: 1, or with train.non_finite: skip."
            )

    def _tell_of_skipped(self, run: "Run") -> None:
        if run.skipped:
            self._warn(
                "skipped",
                f"step {run.step}: an update was skipped, as its gradients were not finite ({drawn_at(run, run.step)}). "
                "metrics.jsonl counts them under 'skipped'.",
            )

    def _look_at_players(self, run: "Run") -> None:
        judged = [term for name, term in run.terms.items() if name not in run.generator_terms]
        if judged and run.recipe.train.precision != "fp16":
            self.won = self.won + 1 if abs(float(torch.stack(judged).sum())) < WON else 0
            if self.won == PATIENCE:
                self._warn(
                    "won",
                    f"the discriminator's loss has stayed near zero for {PATIENCE * run.recipe.log.every} steps: it has won "
                    "and teaches the generator little. Lower train.discriminator.lr, or make it smaller.",
                )
        for player, optimizer in run.optimizers.items():
            if run.step < run.recipe.train.steps and not any(group["lr"] for group in optimizer.param_groups):
                self._warn(f"rate {player}", f"step {run.step}: the learning rate of the {player} is 0; it learns nothing.")

    def _warn(self, key: str, text: str) -> None:
        if key not in self.said:
            self.said.add(key)
            self.note(f"warning: {text}")


def _check_weights(run: "Run") -> None:
    """Finite terms may have had gradients that were not: what they spoilt must not be saved."""
    for name, norm in weight_norms(run).items():
        if not bool(norm.isfinite()):
            raise UserError(
                f"step {run.step}: the {name}'s weights are not finite, though its terms were: gradients were not. Training "
                "stopped at the last checkpoint. Resume with train.clip: 1 or train.non_finite: skip."
            )


def drawn_at(run: "Run", step: int) -> str:
    """The samples of this process's batches at a step, by the data set's names for them if it has any."""
    data, settings = run.parts.dataset, run.recipe.train
    seeded = SeededDataset(data, settings.seed)
    drawn = islice(run.order(step - 1), settings.accumulate)
    return "samples " + ", ".join(seeded.name(draw) for batch in drawn for draw in batch)


def _spread(images: Tensor) -> float:
    """The mean absolute difference of (B, C, H, W) from their mean picture; 1 for a single picture."""
    return float((images - images.mean(0)).abs().mean()) if len(images) > 1 else 1.0
