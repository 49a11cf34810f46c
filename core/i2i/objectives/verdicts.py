"""What losses make of verdicts: parts of a batch, sums over several discriminators, and penalties on gradients."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from i2i.protocols import Discriminator, Judged, JudgedBySeveral, Verdict


def over_judges(term: Callable[..., Tensor], *verdicts: Verdict) -> Tensor:
    """A *term*, 0-d, of the verdicts of one discriminator; of several, the sum of each one's by their weights."""
    judges = [getattr(verdict, "judges", ()) for verdict in verdicts]
    if not any(judges):
        return term(*verdicts)
    return torch.stack([each[0][0] * term(*(own for _, own in each)) for each in zip(*judges, strict=True)]).sum()


def real_signs(objective: Any, real: Verdict, fake: Verdict) -> Tensor:
    """How sure D is of real pictures, 0-d: 1 if it takes all for real, -1 if none; a mean over judges and over scales.

    It is the mean sign of D(real) - m (Karras et al. 2020, r_t, where m = 0), without a gradient. m is the objective's
    ``boundary``; where that is None because only differences count, the mean of D(fake); if the objective is paired, D(fake) of
    the same sample.
    """
    if isinstance(real, JudgedBySeveral) and isinstance(fake, JudgedBySeveral):
        both = zip(real.judges, fake.judges, strict=True)
        return torch.stack([real_signs(objective, one, other) for (_, one), (_, other) in both]).mean()
    boundary = getattr(objective, "boundary", 0.0)
    found = []
    for logits, others in ((one[-1].detach(), other[-1].detach()) for one, other in zip(real, fake, strict=True)):
        limit = others if objective.paired else others.mean() if boundary is None else boundary
        found.append((logits - limit).sign().float().mean())
    return torch.stack(found).mean()


def both_judged(D: Discriminator, domain: str, one: Tensor, other: Tensor, *, together: bool) -> tuple[Judged, Judged]:
    """D's verdicts on two batches, in one call if *together* is true and the images have the same shape."""
    if not together or one.shape[1:] != other.shape[1:]:
        return D(one, domain), D(other, domain)
    return parted(D(torch.cat((one, other)), domain), len(one))


def parted(verdict: Verdict, count: int) -> tuple[Judged, Judged]:
    """The verdicts on the first *count* images of a batch and on the others, each with its extras (B, …), or its judges."""
    if judges := getattr(verdict, "judges", ()):
        halves = [(weight, parted(own, count)) for weight, own in judges]
        first, others = ([(weight, half[i]) for weight, half in halves] for i in (0, 1))
        return JudgedBySeveral(first), JudgedBySeveral(others)
    extras: Mapping[str, Tensor] = getattr(verdict, "extras", {})

    def part(own: slice) -> Judged:
        return Judged([[x[own] for x in scale] for scale in verdict], {name: x[own] for name, x in extras.items()})

    return part(slice(count)), part(slice(count, None))


def of_input_gradients(penalty: Callable[[Tensor], Tensor], judge: Callable[[Tensor], Verdict], x: Tensor) -> Tensor:
    """A *penalty*, 0-d, of the ``input_gradients`` at x (B, C, H, W); of several discriminators, the sum by their weights."""
    x = x.detach().requires_grad_()
    return over_judges(lambda verdict: penalty(_gradients(verdict, x)), judge(x))


def input_gradients(judge: Callable[[Tensor], Verdict], x: Tensor) -> Tensor:
    """The gradient of the summed logits of all scales with respect to x (B, C, H, W), as (B, C*H*W), differentiable.

    For one discriminator; ``of_input_gradients`` is for several too.
    """
    x = x.detach().requires_grad_()
    return _gradients(judge(x), x)


def _gradients(verdict: Verdict, x: Tensor) -> Tensor:
    total = torch.stack([scale[-1].sum() for scale in verdict]).sum()
    (gradients,) = torch.autograd.grad(total, x, create_graph=True)
    return gradients.flatten(1)


def gradient_penalty(
    judge: Callable[[Tensor], Verdict],
    real: Tensor,
    fake: Tensor,
    *,
    kind: Literal["mixed", "real", "fake"] = "mixed",
    constant: float = 1.0,
    weight: float = 10.0,
    eps: float = 1e-16,
) -> Tensor:
    """weight * mean over the batch of (||g + eps||_2 - constant)^2, g the gradient of D at x.

    Gulrajani et al. 2017, eq. 3: x = alpha * real + (1 - alpha) * fake, one uniform alpha for each sample (``mixed``);
    ``real`` and ``fake`` take the gradient at those images instead. *eps* is added to every element of g, so the
    norm has a derivative at g = 0. real, fake: (B, C, H, W). *judge* is D with its domain (and condition) filled in. Of several
    discriminators, each one's penalty counts by its weight.
    """
    if kind == "mixed":
        alpha = torch.rand(len(real), 1, device=real.device, dtype=real.dtype).view(-1, 1, 1, 1)
        x = alpha * real + (1 - alpha) * fake
    else:
        x = real if kind == "real" else fake
    return weight * of_input_gradients(lambda g: ((g + eps).norm(2, dim=1) - constant).square().mean(), judge, x)
