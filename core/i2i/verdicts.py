"""What discriminators return: the part of the contract that ``i2i.protocols`` has from here."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from i2i.errors import UserError

Verdict = Sequence[list[Tensor]]
"""One list for each scale: feature maps …, and last the logits (B, 1, h, w). Without extras, a plain list of them."""


class Judged(Verdict):
    """A verdict (``scales``) with ``extras`` that a discriminator exposes: ``Judged([[logits]], {"cam": …}).extras["cam"]``.

    16-bit tensors become float32. (This is not a list, because Accelerate, which converts the results of networks, would build
    a new list without the extras.) ``judges`` is empty but for ``JudgedBySeveral``.
    """

    judges: tuple[tuple[float, "Judged"], ...] = ()

    def __init__(self, scales: Verdict, extras: Mapping[str, Tensor]) -> None:
        self.scales = [[_in_float32(x) for x in scale] for scale in scales]
        self.extras = {name: _in_float32(x) for name, x in extras.items()}

    def __getitem__(self, scale: Any) -> Any:
        return self.scales[scale]

    def __len__(self) -> int:
        return len(self.scales)


class SeveralJudgesError(UserError):
    """A verdict of several discriminators was read as if it were one's."""


class JudgedBySeveral(Judged):
    """The verdict of a recipe's list of discriminators: ``judges``, the weight and the verdict of each.

    It has no scales and no extras of its own. A loss sums over the judges: see ``i2i.objectives.over_judges``.
    """

    def __init__(self, judges: Iterable[tuple[float, Verdict]]) -> None:
        self.judges = tuple((weight, made if isinstance(made, Judged) else Judged(made, {})) for weight, made in judges)

    def __getattr__(self, name: str) -> Any:
        """Not silently those of one judge.

        Raises:
            SeveralJudgesError: the scales or the extras were asked for.
        """
        if name in ("scales", "extras"):
            raise SeveralJudgesError(
                "it reads a verdict as that of one discriminator, and the recipe lists several. Give one discriminator, or let "
                "the loss sum over the judges by i2i.objectives.over_judges."
            )
        raise AttributeError(name)


def _in_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32)) if x.is_floating_point() else x
