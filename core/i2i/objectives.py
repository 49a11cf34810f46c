"""What losses are made of: adversarial objectives, the gradient penalty and the reconstruction distance.

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
"""``bce`` and ``non_saturating`` are two names in use for the same objective; ``bce`` is also called "vanilla"."""

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
_Number = Annotated[float, Field(ge=0)]
_RAMP: Any = {
    "from": (_Number, Field(description="The weight at the start.")),
    "to": (_Number, Field(description="The weight at the end.")),
    "until": (Annotated[float, Field(gt=0, le=1)], Field(1.0, description="The share of the run after which that is reached.")),
}
Ramp = create_model("Ramp", __config__=_STRICT, __doc__="A weight that changes along a straight line.", **_RAMP)

if TYPE_CHECKING:
    Weight = float
else:
    Weight = Annotated[
        Annotated[_Number, Tag("(number)")] | Annotated[Ramp, Tag("(ramp)")],
        Told(lambda value: "(ramp)" if isinstance(value, dict | BaseModel) else "(number)"),
    ]
"""What a term is multiplied by, at least 0: an option of a loss. It reads ``self.NAME`` at each step.

A recipe may give ``{from: 1, to: 0, until: 0.5}`` in place of a number. Then the loss is built with the larger one of both, so
that its needs are those of the whole run, and the core sets the attribute of the option's name before each step.
"""


def of_the_start(options: Mapping[str, Any]) -> dict[str, Any]:
    """A loss's options as it is built with them: of a weight that will change, the largest value."""
    ends = {name: dict(value) for name, value in options.items() if isinstance(value, Ramp)}
    return {**options, **{name: max(ramp["from"], ramp["to"]) for name, ramp in ends.items()}}


def let_change(made: Any, options: Mapping[str, Any]) -> None:
    """Give a loss that was built with *options* a method ``begin`` that sets its weights, before one of its own.

    Raises:
        UserError: it keeps no number under the name of a weight that is to change.
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
    """The keys of both domains.

    Raises:
        UserError: there are not two.
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
    - wgan: -mean(x). Arjovsky et al. 2017, eq. 2; the Lipschitz bound needs ``gradient_penalty`` beside it.
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

    - bce, non_saturating: mean(-log sigmoid(x)), the form that does not saturate. Goodfellow et al. 2014, section 3.
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
    """Apply one of the losses above to the logits of every scale: published programs do either."""
    losses = torch.stack([loss(objective, scale[-1]) for scale in verdict])
    return losses.sum() if reduction == "sum" else losses.mean()


def both_judged(D: Discriminator, domain: str, one: Tensor, other: Tensor, *, together: bool) -> tuple[Judged, Judged]:
    """D's verdicts on two batches of images, in one call if they may go *together* and are alike but for their number."""
    if not together or one.shape[1:] != other.shape[1:]:
        return D(one, domain), D(other, domain)
    return parted(D(torch.cat((one, other)), domain), len(one))


def parted(verdict: Verdict, count: int) -> tuple[Judged, Judged]:
    """The verdict on the first *count* images of a batch, and that on the others, with the extras (B, …) of each."""
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
    ``real`` and ``fake`` take the gradient at those images instead. *eps* is added to every element of g, so that the
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
    """How far a prediction is from the image it should be: a mean over samples and pixels, 0-d.

    Image domains: mean absolute difference of (B, C, H, W) in [-1, 1]. Label domains: the cross-entropy
    -sum_c target_c log prediction_c, where prediction holds probabilities (softmax over C) and target is one-hot or
    probabilities. Probabilities are bounded below by 1e-30, so that the loss and its gradient stay finite.
    """
    if domain.kind == "labels":
        log = prediction.float().clamp_min(1e-30).log()
        return -(target * log).sum(1).mean()
    return F.l1_loss(prediction, target)
