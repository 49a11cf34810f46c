"""Building blocks of losses: adversarial objectives, the gradient penalty and the reconstruction distance.

The adversarial functions take raw logits x of any shape (no sigmoid) and return a mean over all elements, 0-d.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, Tag, create_model
from pydantic import Discriminator as Told
from torch import Tensor

from i2i.errors import UserError
from i2i.protocols import Discriminator, Domain, Judged, Verdict

Objective = Annotated[
    Literal["bce", "non_saturating", "lsgan", "hinge", "wgan"], Field(description="The adversarial objective.")
]
"""``bce`` and ``non_saturating`` are two common names of the same objective; ``bce`` is also called "vanilla"."""

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
_Number = Annotated[float, Field(ge=0)]
_RAMP: Any = {
    "from": (_Number, Field(description="The weight at the start.")),
    "to": (_Number, Field(description="The weight at the end.")),
    "until": (
        Annotated[float, Field(gt=0, le=1)],
        Field(1.0, description="The fraction of the run until the end is reached."),
    ),
}
Ramp = create_model("Ramp", __config__=_STRICT, __doc__="A weight that changes linearly.", **_RAMP)
"""What a recipe gives for a weight that changes: ``{from: 1, to: 0, until: 0.5}``."""

if TYPE_CHECKING:
    Weight = float
    """The weight of a term, at least 0: an option of a loss, which must read it as ``self.NAME`` at each step.

    A recipe may give ``{from: 1, to: 0, until: 0.5}`` instead of a number. Then the loss is built with the larger of the two,
    so its needs cover the whole run, and before each step the core sets the attribute with the name of the option.
    """
else:
    Weight = Annotated[
        Annotated[_Number, Tag("(number)")] | Annotated[Ramp, Tag("(ramp)")],
        Told(lambda value: "(ramp)" if isinstance(value, dict | BaseModel) else "(number)"),
    ]


def of_the_start(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with which a loss is built: for a weight that changes, its largest value."""
    ends = {name: dict(value) for name, value in options.items() if isinstance(value, Ramp)}
    return {**options, **{name: max(ramp["from"], ramp["to"]) for name, ramp in ends.items()}}


def let_change(made: Any, options: Mapping[str, Any]) -> None:
    """Give a loss that was built with *options* a method ``begin`` that sets its weights, and then calls its own ``begin``.

    Raises:
        UserError: the loss has no number in the attribute of a weight that changes.
    """
    ramps = {name: dict(value) for name, value in options.items() if isinstance(value, Ramp)}
    for name in ramps:
        if not hasattr(made, "needs") or type(getattr(made, name, None)) not in (int, float):
            raise UserError(f"'{name}' cannot change during training: it is not kept as 'self.{name}'. Give one number.")
    own = getattr(made, "begin", None)

    def begin(step: int, steps: int) -> None:
        for name, ramp in ramps.items():
            share = min(1.0, step / (ramp["until"] * steps))
            setattr(made, name, ramp["from"] + (ramp["to"] - ramp["from"]) * share)
        if own is not None:
            own(step, steps)

    if ramps:
        made.begin = begin


def two_domains(domains: Mapping[str, Domain]) -> tuple[str, str]:
    """The keys of the two domains.

    Raises:
        UserError: there are more or fewer than two.
    """
    if len(domains) != 2:
        raise UserError(f"it works between two domains, not {len(domains)}: {', '.join(domains)}")
    a, b = domains
    return a, b


def real_loss(objective: Objective, logits: Tensor) -> Tensor:
    """What the discriminator minimises on real images.

    - bce, non_saturating: mean(-log sigmoid(x)). Goodfellow et al. 2014, eq. 1.
    - lsgan: mean((x - 1)^2), without the factor 1/2. Mao et al. 2017, eq. 9.
    - hinge: mean(max(0, 1 - x)). Lim & Ye 2017; Miyato et al. 2018, eq. 16.
    - wgan: -mean(x). Arjovsky et al. 2017, eq. 2; add ``gradient_penalty`` for the Lipschitz bound.
    """
    if objective == "lsgan":
        return (logits - 1).square().mean()
    if objective == "hinge":
        return F.relu(1 - logits).mean()
    if objective == "wgan":
        return -logits.mean()
    return F.softplus(-logits).mean()


def fake_loss(objective: Objective, logits: Tensor) -> Tensor:
    """What the discriminator minimises on generated images: the counterpart of ``real_loss``, same sources.

    - bce, non_saturating: mean(-log(1 - sigmoid(x)))
    - lsgan: mean(x^2)
    - hinge: mean(max(0, 1 + x))
    - wgan: mean(x)
    """
    if objective == "lsgan":
        return logits.square().mean()
    if objective == "hinge":
        return F.relu(1 + logits).mean()
    if objective == "wgan":
        return logits.mean()
    return F.softplus(logits).mean()


def generator_loss(objective: Objective, logits: Tensor) -> Tensor:
    """What the generator minimises on the logits of its own images.

    - bce, non_saturating: mean(-log sigmoid(x)), the non-saturating form. Goodfellow et al. 2014, section 3.
    - lsgan: mean((x - 1)^2). Mao et al. 2017, eq. 9.
    - hinge, wgan: -mean(x). Miyato et al. 2018, eq. 17; Arjovsky et al. 2017.
    """
    if objective == "hinge":
        return -logits.mean()
    return real_loss(objective, logits)


def over_scales(
    loss: Callable[[Objective, Tensor], Tensor],
    objective: Objective,
    verdict: Verdict,
    reduction: Literal["sum", "mean"],
) -> Tensor:
    """Apply one of the losses above to the logits of every scale. Published programs take the sum or the mean."""
    losses = torch.stack([loss(objective, scale[-1]) for scale in verdict])
    return losses.sum() if reduction == "sum" else losses.mean()


def both_judged(D: Discriminator, domain: str, one: Tensor, other: Tensor, *, together: bool) -> tuple[Judged, Judged]:
    """D's verdicts on two batches, in one call if *together* is true and the images have the same shape."""
    if not together or one.shape[1:] != other.shape[1:]:
        return D(one, domain), D(other, domain)
    return parted(D(torch.cat((one, other)), domain), len(one))


def parted(verdict: Verdict, count: int) -> tuple[Judged, Judged]:
    """The verdicts on the first *count* images of a batch and on the others, each with its extras (B, …)."""
    extras: Mapping[str, Tensor] = getattr(verdict, "extras", {})

    def part(own: slice) -> Judged:
        return Judged([[x[own] for x in scale] for scale in verdict], {name: x[own] for name, x in extras.items()})

    return part(slice(count)), part(slice(count, None))


def input_gradients(judge: Callable[[Tensor], Verdict], x: Tensor) -> Tensor:
    """The gradient of the summed logits of all scales with respect to x (B, C, H, W), as (B, C*H*W), differentiable."""
    x = x.detach().requires_grad_()
    total = torch.stack([scale[-1].sum() for scale in judge(x)]).sum()
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
    norm has a derivative at g = 0. real, fake: (B, C, H, W). *judge* is D with its domain (and condition) filled in.
    """
    if kind == "mixed":
        alpha = torch.rand(len(real), 1, device=real.device, dtype=real.dtype).view(-1, 1, 1, 1)
        x = alpha * real + (1 - alpha) * fake
    else:
        x = real if kind == "real" else fake
    norm = (input_gradients(judge, x) + eps).norm(2, dim=1)
    penalty: Tensor = weight * (norm - constant).square().mean()
    return penalty


def reconstruction(prediction: Tensor, target: Tensor, domain: Domain) -> Tensor:
    """The distance between a prediction and its target: a mean over samples and pixels, 0-d.

    Image domains: mean absolute difference of (B, C, H, W) in [-1, 1]. Label domains: the cross-entropy
    -sum_c target_c log prediction_c, where prediction holds probabilities (softmax over C) and target is one-hot or
    probabilities. Probabilities are clamped to at least 1e-30, so the loss and its gradient stay finite.
    """
    if domain.kind == "labels":
        log = prediction.float().clamp_min(1e-30).log()
        return -(target * log).sum(1).mean()
    return F.l1_loss(prediction, target)
