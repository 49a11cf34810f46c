"""What is exported: one direction of a model as a network of tensors, and inputs at the sizes at which it is tested."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from i2i.adapters import OneDirection
from i2i.errors import UserError
from i2i.protocols import Direction, Domain
from i2i.randomness import seeded
from i2i.translation.conversion import reflected
from i2i.translation.together import Dependence, dependence
from i2i.translation.translator import Translator
from i2i_export.baked import WithStyle, ordinary_side, styled

Size = tuple[int, int, int]
"""B, H, W."""

UNKNOWN = 256
"""The side of the training pictures where the model does not record it, as for converted weights: that of the papers."""
LARGEST = 1024
"""Larger training pictures are checked at this side: config.json may come from a stranger."""


@dataclass(frozen=True)
class Plan:
    """What is exported, and for which sizes. ``batch`` is 1 where pictures of one batch would change each other, else None.

    ``network`` maps a batch of images, and a style (1, C_target, h, w) if ``style_sizes`` names its sizes, to a batch.
    ``translator`` has its style fixed in its module; ``expected`` gives what *style* says with the model as it is. Of several
    ``style_sizes`` each may be given; a single one is the only one that the network takes.
    """

    translator: Translator
    expected: Callable[..., Tensor]
    style: Mapping[str, Any]
    way: Direction
    network: nn.Module
    smallest: int
    batch: Literal[1] | None
    style_sizes: tuple[tuple[int, int], ...] = ()

    @property
    def divisor(self) -> int:
        """What the sides of images must be multiples of."""
        return self.translator.divisor

    @property
    def source(self) -> Domain:
        """The domain of the images."""
        return self.translator.domains[self.way[0]]

    @property
    def target(self) -> Domain:
        """The domain of the translations, and of a style."""
        return self.translator.domains[self.way[1]]

    @property
    def input_names(self) -> list[str]:
        """The names of the network's inputs in a file."""
        return ["image", "style"] if self.style_sizes else ["image"]

    def up(self, side: float) -> int:
        """The side, or the next larger one that the file accepts."""
        return max(self.smallest, -(-int(side) // self.divisor) * self.divisor)

    def sizes(self) -> tuple[Size, ...]:
        """The smallest square, the size of training pictures, a rectangle, and a larger rectangle in the other orientation."""
        h, w = (self.up(side) for side in trained_size(self.translator, self.way[0]))
        wider = self.up(w + max(w // 4, 1))
        taller = self.up(max(h + h // 2, wider + 1))
        batches = (1, 1, 1, 1) if self.batch else (3, 1, 2, 1)
        places = (self.smallest, self.smallest), (h, w), (h, wider), (taller, wider)
        return tuple(dict.fromkeys((b, *place) for b, place in zip(batches, places, strict=True)))

    def inputs(self, size: Size, draw: Callable[[Domain, Size], Tensor]) -> tuple[Tensor, ...]:
        """What *draw* makes of the source domain at that size; and a style of the target domain, at its sizes by turns."""
        image = draw(self.source, size)
        if not self.style_sizes:
            return (image,)
        return image, draw(self.target, (1, *self.style_sizes[sum(size) % len(self.style_sizes)]))


def planned(
    model: Translator, way: Direction, style: str | Path | None = None, seed: int | None = None, style_input: bool = False
) -> Plan:
    """The plan for a model that draws nothing else than a style, see ``i2i_export.drawing``.

    Raises:
        UserError: it takes no style, or draws none.
    """
    if style_input:
        return _with_style(model, way)
    translator, given, told = styled(model, way, style, seed)
    network = OneDirection(translator.module, way, translator.domains[way[1]].kind == "image").eval()
    smallest = smallest_of(translator, way)

    def expected(x: Tensor) -> Tensor:
        return model.batch(x, way, given, seed or 0, tile=0)

    return Plan(translator, expected, told, way, network, smallest, batch_of(translator, way))


def _with_style(model: Translator, way: Direction) -> Plan:
    """The plan for a network with a style as its second input, of any size if the generator takes two different ones."""
    target = model.domains[way[1]]
    h, w = trained_size(model, way[1])
    network = WithStyle(model.module, way, target.kind == "image").eval()
    example = random_inputs(target, (1, h, w))
    smallest = smallest_of(model, way)
    batch = batch_of(model, way, example)

    def expected(x: Tensor, style: Tensor) -> Tensor:
        return model.batch(x, way, {"style": style}, tile=0)

    other = (h + 2 * model.divisor, w + model.divisor)
    free = _takes(network, (smallest, smallest), model.domains[way[0]], random_inputs(target, (1, *other)))
    sizes = ((h, w), other) if free else ((h, w),)
    return Plan(model, expected, {"input": True}, way, network, smallest, batch, sizes)


def dependence_of(model: Translator, way: Direction, side: int, style: Tensor | None = None) -> Dependence:
    """What else than the picture a translation depends on, with this style (1, C_target, h, w) for all of a batch if given."""

    def run(x: Tensor, seed: int) -> Tensor:
        given = {} if style is None else {"style": style.expand(len(x), -1, -1, -1)}
        with torch.inference_mode(), seeded(seed):
            return model.network(x, way, given)

    return dependence(run, model.domains[way[0]].channels, (side, side), model.divisor)


def on_the_cpu(model: Translator) -> Translator:
    """The model itself, computed by torch in fp32 on the CPU, where its module stays until the caller moves it back."""
    module = model.module.eval().cpu().requires_grad_(False)
    return replace(model, module=module, device=torch.device("cpu"), precision="fp32", engine=None)


def random_inputs(domain: Domain, size: Size) -> Tensor:
    """Random images, or random one-hot labels, (B, C, H, W)."""
    b, h, w = size
    generator = torch.Generator().manual_seed(b + h + w)
    if domain.kind == "image":
        return torch.rand(b, domain.channels, h, w, generator=generator) * 2 - 1
    ids = torch.randint(0, domain.channels, (b, h, w), generator=generator)
    return nn.functional.one_hot(ids, domain.channels).permute(0, 3, 1, 2).float()


def trained_size(translator: Translator, key: str) -> tuple[int, int]:
    """Height and width of the domain's training pictures, at most ``LARGEST``."""
    h, w = (translator.recorded.get("sizes") or {}).get(key, (UNKNOWN, UNKNOWN))
    return min(h, LARGEST), min(w, LARGEST)


def smallest_of(model: Translator, way: Direction) -> int:
    """The translator's smallest side, to which it pads smaller pictures; or else what every generator has to take."""
    padded = len(reflected(1, model.divisor)[1])
    small = _takes(OneDirection(model.module, way), (padded, padded), model.domains[way[0]])
    return padded if small else ordinary_side(model.divisor)


def batch_of(model: Translator, way: Direction, style: Tensor | None = None) -> Literal[1] | None:
    """1 if the pictures of a batch change each other, else None, for any number."""
    return 1 if dependence_of(model, way, smallest_of(model, way), style).others else None


def _takes(network: nn.Module, size: tuple[int, int], domain: Domain, *style: Tensor) -> bool:
    try:
        with torch.inference_mode():
            network(torch.zeros(1, domain.channels, *size), *style)
    except (UserError, RuntimeError):
        return False
    return True
