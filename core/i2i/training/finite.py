"""Nothing that is NaN or infinite is saved: a run ends at the first step whose losses or weights are not finite."""

import torch
from torch import Tensor

from i2i.errors import UserError
from i2i.training.soundness import weight_norms
from i2i.training.state import Run


class Guard:
    """Remembers every step's losses without waiting for the device; looks at them where the run is logged or saved."""

    def __init__(self) -> None:
        self.bad: dict[tuple[str, ...], Tensor] = {}
        """For the terms that a step may have: which were not finite at the first bad step, and that step."""

    def step_ended(self, run: Run) -> None:
        """Take in a step.

        Raises:
            UserError: it is logged or saved, and a loss or a weight is NaN or infinite.
        """
        self._remember(run)
        saves = run.step % run.recipe.checkpoint.every == 0 or run.step == run.recipe.train.steps
        if saves or run.step % run.recipe.log.every == 0:
            self._check_terms(run)
        if saves:
            _check_weights(run)

    def run_ended(self, run: Run) -> None:
        """A run that is stopped is saved at a step that nothing has looked at yet.

        Raises:
            UserError: a loss or a weight is NaN or infinite.
        """
        if self.bad:
            self._check_terms(run)
            _check_weights(run)

    def _remember(self, run: Run) -> None:
        """Keep the terms of the first step at which one was not finite, on the device."""
        wrong = ~torch.isfinite(torch.stack([term.detach().float() for term in run.terms.values()]))
        now = torch.cat([wrong.float(), wrong.new_full((1,), run.step, dtype=torch.float32)])
        before = self.bad.setdefault(tuple(run.terms), torch.zeros_like(now))
        self.bad[tuple(run.terms)] = torch.where(before[:-1].any(), before, torch.where(wrong.any(), now, before))

    def _check_terms(self, run: Run) -> None:
        if run.recipe.train.non_finite == "skip":
            return
        found = [(terms, *bad.tolist()) for terms, bad in self.bad.items()]
        for terms, *wrong, step in sorted((bad for bad in found if any(bad[1:-1])), key=lambda bad: bad[-1]):
            names = [name for name, bad in zip(terms, wrong, strict=True) if bad]
            raise UserError(
                f"step {int(step)}: NaN or infinite loss in {', '.join(names)}; training stopped ({run.drawn_at(int(step))}). "
                "What was saved is from before this step. Go on with a lower learning rate (train.generator.lr, "
                "train.discriminator.lr), with train.clip: 1, or with train.non_finite: skip."
            )


def _check_weights(run: Run) -> None:
    """Finite terms can have gradients that are not finite; the weights that these spoil must not be saved."""
    for name, norm in weight_norms(run).items():
        if not bool(norm.isfinite()):
            raise UserError(
                f"step {run.step}: the {name}'s weights are NaN or infinite: the losses were finite, but not their gradients. "
                "Training stopped at the last checkpoint. Resume with train.clip: 1 or train.non_finite: skip."
            )
