"""What losses that stand beside another one in a recipe's list use: its translations, conditions and scores."""

from collections.abc import Mapping

import torch
from torch import Tensor

from i2i.errors import UserError
from i2i.protocols import Images, Needs, Verdict


def adversarial(beside: Needs | None) -> Needs:
    """The needs of the losses before this one, if one of them is adversarial.

    Raises:
        UserError: none is, or there is none.
    """
    if beside is None or not beside.adversarial:
        what = "no other loss stands before it" if beside is None else "no loss before it is adversarial"
        raise UserError(
            f"{what}, and it adds to what a discriminator learns. Name an adversarial loss before it in the list 'loss'."
        )
    return beside


def translation(images: Images, target: str, who: str) -> Tensor:
    """The translation into *target* (B, C, H, W) that a loss before this one made: its ``fake_TARGET``.

    Raises:
        UserError: it has no image of that name.
    """
    try:
        made: Tensor = images[f"fake_{target}"]
    except KeyError:
        raise UserError(
            f"loss '{who}': no loss before it gives its translation into '{target}' the name 'fake_{target}', by which the "
            "translations of another loss are found."
        ) from None
    return made


def scores(verdict: Verdict) -> Tensor:
    """One judge's scores (B,): a picture's logits, averaged over its positions and then over the scales."""
    return torch.stack([scale[-1].float().flatten(1).mean(1) for scale in verdict]).mean(0)


def conditions(beside: Needs, sources: Mapping[str, str], batch: Mapping[str, Tensor]) -> dict[str, Tensor | None]:
    """What the discriminator sees with an image of each judged domain: the source, or None for a loss that shows none."""
    return {target: batch[source] if beside.conditional else None for target, source in sources.items()}
