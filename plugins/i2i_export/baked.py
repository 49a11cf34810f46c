"""A generator with its style fixed: by an image, or by what it draws from a seed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from i2i.errors import UserError
from i2i.protocols import Direction, Translation
from i2i.randomness import seeded
from i2i.translation.translator import Translator


class Baked(nn.Module):
    """The generator with fixed keywords, and with *drawn* in place of the random numbers that it would draw."""

    def __init__(self, generator: nn.Module, given: Mapping[str, Tensor], drawn: Sequence[Tensor] = ()) -> None:
        super().__init__()
        self.generator, self.names = generator, list(given)
        self.divisor = int(getattr(generator, "divisor", 1))
        self.exposes = frozenset[str]()
        for i, tensor in enumerate((*given.values(), *drawn)):
            self.register_buffer(f"fixed_{i}", tensor, persistent=False)

    def forward(self, x: Tensor, source: str, *targets: str) -> Translation:
        """Translate x (B, C, H, W); all pictures get the same style and random numbers."""
        fixed = [buffer.expand(x.shape[0], *buffer.shape[1:]) for name, buffer in self.named_buffers(recurse=False)]
        count = len(self.names)
        with _Replayed(iter(fixed[count:])):
            made: Translation = self.generator(x, source, *targets, **dict(zip(self.names, fixed[:count], strict=True)))
        return made


class WithStyle(nn.Module):
    """One direction of a generator with the style as a second input: (B, C, H, W) and (1, C_target, h, w), for all of a batch.

    With *clamped*, values are clamped to [-1, 1], as the translator does with images.
    """

    def __init__(self, generator: nn.Module, way: Direction, clamped: bool) -> None:
        super().__init__()
        self.generator, self.way, self.clamped = generator, way, clamped

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Translate x in that style."""
        made: Translation = self.generator(x, *self.way, style=style.expand(x.shape[0], -1, -1, -1))
        image = made.images[self.way[1]]
        return image.clamp(-1, 1) if self.clamped else image


def styled(
    model: Translator, way: Direction, style: str | Path | None, seed: int | None
) -> tuple[Translator, dict[str, Tensor], dict[str, Any]]:
    """The model with its style fixed, if one is chosen; the keywords that give the same without that; and the choice in words.

    Raises:
        UserError: both are given, or the model takes no style, or draws none.
    """
    if style is not None and seed is not None:
        raise UserError("style and style_seed: one file holds one style. Give one of the two.")
    if style is not None:
        given = {"style": model.style_tensor(style, way[1])}
        return replace(model, module=Baked(model.module, given).eval()), given, {"picture": Path(style).name}
    if seed is None:
        return model, {}, {}
    side = ordinary_side(model.divisor)
    recorded = _Recorded()
    with torch.no_grad(), seeded(seed), recorded:
        model.module(torch.zeros(1, model.domains[way[0]].channels, side, side), *way)
    if not recorded.drawn:
        raise UserError("style_seed: this model draws no style. Leave it out.")
    return replace(model, module=Baked(model.module, {}, recorded.drawn).eval()), {}, {"seed": seed}


def ordinary_side(divisor: int) -> int:
    """A side that every generator must accept."""
    return -(-max(2 * divisor, 32) // divisor) * divisor


_DRAWING = (torch.randn, torch.rand, torch.randn_like, torch.rand_like)


class _Recorded(TorchFunctionMode):
    """A context that records all random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if func in _DRAWING:
            self.drawn.append(made)
        return made


class _Replayed(TorchFunctionMode):
    """A context that returns the recorded numbers, one after the other, instead of drawing."""

    def __init__(self, fixed: Iterator[Tensor]) -> None:
        super().__init__()
        self.fixed = fixed

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in _DRAWING or (found := next(self.fixed, None)) is None:
            return func(*args, **(kwargs or {}))
        wanted = args[0].shape if isinstance(args[0], Tensor) else args[0] if isinstance(args[0], tuple | list) else args
        if tuple(wanted[1:]) != tuple(found.shape[1:]):
            raise UserError("this model draws random numbers for every pixel, not only a style, so it cannot be exported.")
        return found
