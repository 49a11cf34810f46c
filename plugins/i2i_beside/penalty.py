"""Penalties on the gradient of the discriminator, beside an adversarial loss: R1, R2, on mixes, exact or approximate."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from i2i.building.naming import judged
from i2i.errors import UserError, one_line
from i2i.objectives import Weight, over_judges
from i2i.objectives.beside import adversarial, conditions, scores, translation
from i2i.protocols import Batch, Discriminator, Domain, Generator, Images, Needs, Terms, Verdict
from i2i.randomness import noise_like, undrawn

At = Literal["real", "fake", "mixed"]
NAMES = {"real": "r1", "fake": "r2", "mixed": "mixed"}
"""What the penalty at these pictures is called."""

EXACT, APPROXIMATE, SIGMA = 10.0, 100.0, 0.01
"""The weights in the experiments of Mescheder et al. 2018 and of Lin et al. 2025, and the noise of the latter for images."""


class PenaltyLoss(nn.Module):
    """Makes the discriminator's score of a picture change little around the pictures that it is trained on.

    The score s(x) of a picture is the mean of its logits over the positions, then over the scales. *form*:

    - ``exact``: weight / 2 * mean over the batch of ||ds(x)/dx||^2 (Mescheder et al. 2018, eq. 9). It needs second derivatives.
    - ``approximate``: weight * mean of (s(x) - s(x + sigma n))^2, n standard normal (Lin et al. 2025, "Diffusion Adversarial
      Post-Training for One-Step Video Generation", the approximated R1), both augmented alike. For small *sigma* it is the
      exact penalty of the weight 2 * weight * sigma^2: 0.02 by default.

    *at* says at which pictures: ``real`` (R1), ``fake`` (R2, the translations of this step, not those of an image pool), or
    ``mixed``, on the line between both at a random place for each pair (as Gulrajani et al. 2017, but centred at zero). Its
    terms for the domain k are ``r1_k``, ``r2_k``, ``mixed_k``; those of the approximate form ``approximate_r1_k`` and so on.

    *every*: computed in every k-th step, and there multiplied by k (Karras et al. 2020, section 3.1); also in the first
    step of a run, which is rehearsed. Which steps these are depends on their numbers only.

    With several judges it is the weighted sum of each judge's own. The discriminator sees the condition of the other loss too,
    and the gradient is that with respect to the picture alone.
    """

    order: Literal["generator_first", "discriminator_first"] = "generator_first"
    fresh_fakes = False
    networks: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        domains: Mapping[str, Domain],
        beside: Needs | None = None,
        at: Annotated[
            At | Annotated[list[At], Field(min_length=1)],
            Field(description="The pictures around which it holds: one of them or a list."),
        ] = "real",
        form: Annotated[
            Literal["exact", "approximate"],
            Field(description="By second derivatives, or by differences to noisy pictures."),
        ] = "exact",
        weight: Annotated[Weight | None, Field(description="The weight. Default: 10 if exact, 100 if approximate.")] = None,
        every: Annotated[int, Field(ge=1, description="Compute it in every k-th step, and multiply it by k.")] = 1,
        sigma: Annotated[
            Annotated[float, Field(gt=0)] | None,
            Field(description="The noise of the approximate form; images are in [-1, 1]. Default: 0.01."),
        ] = None,
    ) -> None:
        super().__init__()
        self.beside = adversarial(beside)
        if form == "exact" and sigma is not None:
            raise UserError("'sigma' is the noise of the approximate form. Set 'form: approximate', or leave 'sigma' out.")
        self.at: tuple[At, ...] = (at,) if isinstance(at, str) else tuple(dict.fromkeys(at))
        self.form, self.every, self.due = form, every, True
        self.sigma = SIGMA if sigma is None else sigma
        self.weight = {"exact": EXACT, "approximate": APPROXIMATE}[form] if weight is None else weight
        self.named = "" if form == "exact" else "approximate_"
        self.sources = judged(self.beside)
        self.needs = Needs(self.beside.directions, conditional=self.beside.conditional, judged=self.beside.judged)
        self.notes: tuple[str, ...] = ()
        self.tried: set[str] = set()

    def begin(self, step: int, steps: int) -> None:
        """Find out whether it is computed in this step."""
        self.due = step == 0 or (step + 1) % self.every == 0

    def translate(self, G: Generator, batch: Batch) -> Images:
        """Nothing: it looks at the translations of the other loss."""
        return {}

    def fakes(self, G: Generator, batch: Batch, images: Images) -> Images:
        """Nothing; not called, as ``fresh_fakes`` is false."""
        return {}

    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        """None."""
        return {}

    def discriminator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        """One for each judged domain and each kind of pictures, in the steps in which it is computed."""
        terms: Terms = {}
        if not self.due or not self.weight:
            return terms
        measure = self._exact if self.form == "exact" else self._approximate
        for key, condition in conditions(self.beside, self.sources, batch).items():
            judge = partial(_judge, D, key, condition)
            for at in self.at:
                x = self._pictures(at, key, batch, images)
                terms[f"{self.named}{NAMES[at]}_{key}"] = self.weight * self.every * measure(judge, x, key)
        return terms

    def _pictures(self, at: At, key: str, batch: Batch, images: Images) -> Tensor:
        """(B, C, H, W), without a gradient."""
        if at == "real":
            return batch[key]
        fake, real = translation(images, key, "penalty"), batch[key]
        if at == "fake":
            return fake
        if fake.shape != real.shape:
            raise UserError(
                f"loss 'penalty': 'at: mixed' needs pictures of one size, and those of '{key}' are {_size(real)} px, their "
                f"translations {_size(fake)} px. Set 'at: [real, fake]'."
            )
        share = torch.rand(len(real), 1, 1, 1, device=real.device)
        return share * real + (1 - share) * fake

    def _exact(self, judge: Callable[[Tensor], Verdict], x: Tensor, key: str) -> Tensor:
        x = x.detach().requires_grad_()
        penalty = over_judges(partial(self._steepness, x, key), judge(x))
        self.tried.add(key)
        return penalty

    def _steepness(self, x: Tensor, key: str, verdict: Verdict) -> Tensor:
        """Half the mean square of one judge's gradient. In the rehearsal it tries whether training can go on from there."""
        score, large = scores(verdict), max(scale[-1][0].numel() for scale in verdict) * len(verdict)
        total = (large * score).sum()  # in 16 bits a mean's gradient would underflow
        if key not in self.tried:  # torch's once_differentiable objects only where a gradient that comes in has one itself
            total = total * torch.ones((), device=x.device, requires_grad=True)
        try:
            (slope,) = torch.autograd.grad(total, x, create_graph=True)
            penalty = (slope.float() / large).square().sum((1, 2, 3)).mean() / 2
            if key not in self.tried:
                _differentiate(penalty)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise UserError(
                f"loss 'penalty': the discriminator of '{key}' cannot be differentiated twice, as 'form: exact' does "
                f"({one_line(error)}). Set 'form: approximate', which needs no second derivative."
            ) from None
        if key not in self.tried and mixes(score, x):
            self.notes = (MIXES,)
        return penalty

    def _approximate(self, judge: Callable[[Tensor], Verdict], x: Tensor, key: str) -> Tensor:
        noise = noise_like(x)
        with undrawn():  # so that both are augmented alike
            near = judge(x + self.sigma * noise)
        return over_judges(lambda one, other: (scores(one) - scores(other)).square().mean(), judge(x), near)


def _judge(D: Discriminator, key: str, condition: Tensor | None, x: Tensor) -> Verdict:
    return D(x, key, condition)


MIXES = (
    "penalty: the discriminator's score of a picture depends on the others of the batch (batch norm), so the penalty does not "
    "hold for single pictures; with 'norm: instance' or without a norm it does"
)


def mixes(score: Tensor, x: Tensor) -> bool:
    """Whether the score of the first picture depends on the other pictures of x."""
    if len(x) < 2 or x.is_meta:
        return False
    (slope,) = torch.autograd.grad(score[0], x, retain_graph=True)
    return bool(slope[1:].any())


def _differentiate(penalty: Tensor) -> None:
    """Try the gradient that training will need, by all that the penalty depends on; it is dropped.

    Raises:
        RuntimeError: there is none.
    """
    leaves, seen, ahead = [], set(), [penalty.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            leaves.append(node.variable)
        ahead += [before for before, _ in node.next_functions]
    if not leaves:
        raise RuntimeError("its gradient depends on nothing")
    torch.autograd.grad(penalty, leaves, retain_graph=True, allow_unused=True)


def _size(x: Tensor) -> str:
    return f"{x.shape[-1]}x{x.shape[-2]}"
