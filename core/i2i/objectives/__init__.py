"""Building blocks of losses: the adversarial terms, the gradient penalty and the reconstruction distance."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, Tag, create_model, model_serializer, model_validator
from pydantic import Discriminator as Told
from torch import Tensor, nn

from i2i import protocols
from i2i.errors import UserError
from i2i.objectives.verdicts import (
    both_judged,
    gradient_penalty,
    input_gradients,
    of_input_gradients,
    over_judges,
    parted,
    real_signs,
)
from i2i.protocols import Domain, Terms, Verdict
from i2i.registry import Registry, default_registry

__all__ = [
    "Adversarial",
    "Chosen",
    "Objective",
    "Ramp",
    "Weight",
    "both_judged",
    "built",
    "gradient_penalty",
    "input_gradients",
    "let_change",
    "objective_of",
    "of_input_gradients",
    "of_the_start",
    "over_judges",
    "pairing_objective",
    "parted",
    "reconstruction",
    "two_domains",
]


class Chosen(BaseModel):
    """An objective in a recipe: its ``name``, or ``{name: NAME, **options}``; without ``options`` it is saved as text."""

    model_config = ConfigDict(extra="allow", ser_json_inf_nan="constants")

    name: str

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})

    @model_validator(mode="before")
    @classmethod
    def _named(cls, data: Any) -> Any:
        if not isinstance(data, str | Mapping):
            raise ValueError("must be the name of an objective, or {name: …} with its options")
        return {"name": data} if isinstance(data, str) else data

    @model_serializer
    def _short(self) -> Any:
        if isinstance(self, str):  # a factory's default, which pydantic does not check
            return self
        return {"name": self.name, **self.options} if self.options else self.name


if TYPE_CHECKING:
    Objective = str | protocols.Objective | protocols.PairedObjective
    """The type of an option that names an adversarial objective, which a loss hands to ``Adversarial``.

    Recipes give its name, or a mapping with its options; the core calls the loss's factory with the object. A factory that is
    called in Python takes an object or a name.
    """
else:
    _TOLD = "The adversarial objective: its name, or {name: NAME} with its options."
    Objective = Annotated[Chosen, Field(description=_TOLD, json_schema_extra={"component": "objective"})]


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


def objective_of(given: Any, registry: Registry | None = None) -> Any:
    """The objective: *given* itself, or the one of that name (and options), by default of the installed plugins.

    Raises:
        UserError: there is no such objective, it cannot be built, or it is not what ``i2i.protocols`` describes.
    """
    if not isinstance(given, str | Mapping | Chosen):
        return _checked(given, f"the objective {type(given).__name__}")
    chosen = given if isinstance(given, Chosen) else Chosen.model_validate(given)
    entry = (registry or default_registry()).get("objective", chosen.name)
    who = f"objective '{chosen.name}' of the plugin '{entry.plugin}'"
    try:
        made = entry.factory(**built(chosen.options, registry))
    except UserError as error:
        raise UserError(f"objective '{chosen.name}': {error}") from error
    except Exception as error:
        raise UserError(f"{who} could not be built: {type(error).__name__}: {error}") from error
    return _checked(made, who)


def built(options: Mapping[str, Any], registry: Registry | None = None) -> dict[str, Any]:
    """Options of a factory with each objective that a recipe chose as the object."""
    return {name: objective_of(value, registry) if isinstance(value, Chosen) else value for name, value in options.items()}


def _checked(made: Any, who: str) -> Any:
    paired = getattr(made, "paired", None)
    if not isinstance(paired, bool):
        raise UserError(f"{who} is no objective: it has no attribute 'paired', True or False, as 'i2i.protocols' describes.")
    methods = ("discriminator", "generator") if paired else ("real", "fake", "generator")
    if lacking := [name for name in methods if not callable(getattr(made, name, None))]:
        raise UserError(f"{who} has no method '{lacking[0]}', which 'i2i.protocols' describes.")
    return made


class Adversarial(nn.Module):
    """Makes verdicts into the adversarial terms of both players, by an *objective*; a loss weights and names them.

    ``objective`` is the object. The scales of a verdict count by ``reduction``: published programs take the sum or the mean;
    several judges count by their weights. If the objective is ``paired``, it compares the pictures of a sample, so that the
    loss's ``Needs`` must be paired.

    ``heard``, where it is set, is called with the mean sign of each step's real pictures, which adaptive augmentation goes by.
    """

    heard: Callable[[Tensor], None] | None = None

    def __init__(self, objective: Objective, reduction: Literal["sum", "mean"] = "mean") -> None:
        super().__init__()
        self.objective = objective_of(objective)
        self.reduction = reduction

    @property
    def paired(self) -> bool:
        return bool(self.objective.paired)

    def generator(self, fake: Verdict, real: Callable[[], Verdict] | None = None) -> Tensor:
        """The generator's term, 0-d, of the verdict on its pictures.

        *real* judges the real pictures of the same samples, as D judged the others. It is called only if the objective is
        paired; no gradient goes through its result.

        Raises:
            UserError: the objective is paired, and there is no *real*.
        """
        if not self.paired:
            return self._over(self.objective.generator, fake)
        if real is None:
            raise UserError("it has no real pictures to compare with, as this objective does. Choose another objective.")
        return self._over(lambda logits, truth: self.objective.generator(logits, truth.detach()), fake, real())

    def discriminator(self, real: Verdict, fake: Verdict) -> Terms:
        """The discriminator's terms, 0-d: ``real`` and ``fake``, or ``pair`` if the objective is paired."""
        if self.heard is not None:
            self.heard(real_signs(self.objective, real, fake))
        if self.paired:
            return {"pair": self._over(self.objective.discriminator, real, fake)}
        return {"real": self._over(self.objective.real, real), "fake": self._over(self.objective.fake, fake)}

    def _over(self, term: Callable[..., Tensor], *verdicts: Verdict) -> Tensor:
        """A term of the logits of each scale, and their sum or mean over the scales; of judges, the sum by their weights."""
        return over_judges(partial(self._over_scales, term), *verdicts)

    def _over_scales(self, term: Callable[..., Tensor], *verdicts: Verdict) -> Tensor:
        terms = [term(*(scale[-1] for scale in scales)) for scales in zip(*verdicts, strict=True)]
        if odd := [found for found in terms if found.ndim]:
            raise UserError(f"the objective gives the shape {tuple(odd[0].shape)}, and must give a scalar tensor (0-d).")
        return torch.stack(terms).sum() if self.reduction == "sum" else torch.stack(terms).mean()


def pairing_objective(loss: nn.Module, options: Mapping[str, Any]) -> str:
    """The objective because of which a loss built with *options* needs paired data, in words; empty if there is none."""
    if not any(isinstance(part, Adversarial) and part.paired for part in loss.modules()):
        return ""
    return next((f"objective '{option.name}'" for option in options.values() if isinstance(option, Chosen)), "its objective")


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
