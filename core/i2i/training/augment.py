"""Augmentation of what the discriminator sees, real and generated alike (``i2i.augmentation``)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from i2i.augmentation import Adaptive, Kind, varied
from i2i.errors import UserError
from i2i.protocols import Domain, Verdict
from i2i.recipe.sections import Augment, Train


@dataclass
class Augmented:
    """A discriminator that sees every image, and its condition with it, varied at random. Label maps keep their colours."""

    D: Callable[..., Verdict]
    kinds: list[Kind]
    domains: Mapping[str, Domain]
    p: Tensor | None = None

    def __call__(self, image: Tensor, domain: str, condition: Tensor | None = None) -> Verdict:
        """Judge image (B, C, H, W); one draw for each image of the batch."""
        colors = self.domains[domain].kind == "image"
        image, condition = varied(image, condition, self.kinds, colors=colors, p=self.p)
        return self.D(image, domain, condition)


def augmented(settings: Train, adaptive: Adaptive | None, domains: Mapping[str, Domain], judge: Any) -> Any:
    """The discriminator that the loss calls: it augments its inputs if the settings name augmentations."""
    kinds = settings.augment.kinds if isinstance(settings.augment, Augment) else settings.augment
    return Augmented(judge, kinds, domains, None if adaptive is None else adaptive.p) if kinds else judge


def listening(settings: Train, loss: Any, device: Any, processes: int) -> Adaptive | None:
    """Adaptive augmentation, where the settings want it, told by the loss's ``objectives.Adversarial`` of real images."""
    if not isinstance(settings.augment, Augment):
        return None
    how, images = settings.augment, settings.batch_size * settings.accumulate * processes
    adaptive = Adaptive(how.target, every=how.every, rise=images / how.images, device=device)
    for part in loss.modules():
        if hasattr(part, "heard"):
            part.heard = adaptive.hear
    return adaptive


def begin_anew(adaptive: Adaptive, name: str) -> None:
    """Forget what was heard of the loss of that name in the rehearsal of a step.

    Raises:
        UserError: it was nothing.
    """
    if not adaptive.state[3]:
        raise UserError(
            f"train.augment: loss '{name}' does not tell how sure the discriminator is of real images, which adaptive "
            "augmentation goes by (i2i.objectives.Adversarial tells it). Give a list of kinds, which are always applied: "
            "augment: [color, translation]."
        )
    adaptive.state.zero_()
