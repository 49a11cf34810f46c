"""A generator and a discriminator as plain functions, which refuse everything that a loss does not declare in its needs."""

from collections.abc import Container
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from i2i.adapters import each_target
from i2i.building.naming import judged
from i2i.building.needs import owed
from i2i.layers import with_condition
from i2i.protocols import Direction, Judged, Needs, Translation, Verdict
from i2i.testing.subject import Domains, Subject, ensure


class Players:
    """1x1 networks for every direction and judged domain. A loss gets the methods ``G`` and ``D``, which are plain callables.

    They return exactly the extras that the loss declares: (B, 8) for names that begin with ``style_``, otherwise maps
    (B, 8, H/2, W/2), and maps (B, 8, H, W) of a verdict. If a ``generator`` or ``discriminator`` is given, the functions
    call it instead.
    """

    def __init__(
        self, domains: Domains, needs: Needs, generator: Subject | None = None, discriminator: Subject | None = None
    ) -> None:
        self.domains, self.needs = domains, needs
        sources = judged(needs)
        shown = {target: domains[target] for target in sources}
        self.conditions = {target: domains[source] for target, source in sources.items()} if needs.conditional else {}
        self.generator: Any = generator.build(domains=domains, directions=needs.directions) if generator else None
        self.discriminator: Any = None
        if discriminator is not None and needs.adversarial:
            self.discriminator = discriminator.build(domains=shown, conditions=self.conditions)
        with torch.random.fork_rng([]):
            torch.manual_seed(11)
            self.ways = {way: _weight(domains[way[1]].channels, domains[way[0]].channels) for way in needs.directions}
            self.encoders = {source: _weight(8, domains[source].channels) for source, _ in needs.directions}
            seen = {
                key: d.channels + (self.conditions[key].channels if key in self.conditions else 0) for key, d in shown.items()
            }
            self.judges = {key: (_weight(8, channels), _weight(1, 8)) for key, channels in seen.items()}

    @property
    def generator_parameters(self) -> list[Tensor]:
        if self.generator is not None:
            return [p for p in self.generator.parameters() if p.requires_grad]
        return [*self.ways.values(), *self.encoders.values()]

    @property
    def discriminator_parameters(self) -> list[Tensor]:
        if self.discriminator is not None:
            return [p for p in self.discriminator.parameters() if p.requires_grad]
        return [weight for pair in self.judges.values() for weight in pair]

    def G(self, x: Tensor, source: str, *targets: str, **given: Tensor) -> Translation:  # noqa: N802
        """Translate; refuse what the needs do not declare."""
        self._check_call(x, source, targets, given)
        if self.generator is not None:
            made: Translation = self.generator(x, source, *targets, **given)
            return Translation(
                made.images, {k: x for k, x in made.extras.items() if self.needs.extras & {k, k.partition(".")[2]}}
            )
        extras = self._extras(x, source, given)
        if not targets:
            return Translation({}, extras)
        return each_target({target: Translation({target: self._image(x, (source, target))}, extras) for target in targets})

    def D(self, image: Tensor, domain: str, condition: Tensor | None = None) -> Judged:  # noqa: N802
        """Judge; refuse what the needs do not declare."""
        self._check_judged(image, domain, condition)
        wanted = self.needs.verdict - {"features"}
        if self.discriminator is not None:
            verdict: Verdict = self.discriminator(image, domain, condition)
            return Judged(verdict, {name: x for name, x in getattr(verdict, "extras", {}).items() if name in wanted})
        x = with_condition(image, condition)
        first, last = self.judges[domain]
        scales = []
        for scale in (x, F.avg_pool2d(x, 2)):
            maps = torch.tanh(F.conv2d(scale, first))
            logits = F.conv2d(maps, last)
            scales.append([maps, logits] if "features" in self.needs.verdict else [logits])
        return Judged(scales, dict.fromkeys(wanted, torch.tanh(F.conv2d(x, first))))

    def _check_call(self, x: Any, source: str, targets: tuple[str, ...], given: dict[str, Tensor]) -> None:
        ensure(
            source in self.domains, f"it translates from '{source}', which is not a key of the domains {list(self.domains)}."
        )
        channels = self.domains[source].channels
        ensure(
            isinstance(x, Tensor) and x.ndim == 4 and x.shape[1] == channels,
            f"it gives the generator the shape {tuple(getattr(x, 'shape', ()))} as '{source}', which has {channels} channels.",
        )
        for target in targets:
            declared = (source, target) in self.needs.directions
            ensure(declared, f"it translates {source}→{target}, which is not in needs.directions: add it.")
        needs = self.needs
        for name in given:
            ensure(name in needs.keywords, f"it passes '{name}=' to the generator: declare '{name}' in needs.keywords.")

    def _check_judged(self, image: Any, domain: str, condition: Tensor | None) -> None:
        needs = self.needs
        ensure(needs.adversarial, "it calls the discriminator, but its needs say adversarial=False.")
        ensure(domain in self.judges, f"it judges '{domain}', which is not the target of any of its judged directions.")
        channels = self.domains[domain].channels
        fits = isinstance(image, Tensor) and image.ndim == 4 and image.shape[1] == channels
        shape = tuple(getattr(image, "shape", ()))
        ensure(fits, f"it gives the discriminator the shape {shape} as '{domain}', which has {channels} channels.")
        if needs.conditional:
            ensure(condition is not None, "its needs say conditional=True: pass the source image to D as the third argument.")
            assert condition is not None
            shown = (len(image), self.conditions[domain].channels)
            fits = tuple(condition.shape[:2]) == shown
            ensure(fits, f"D's condition has shape {tuple(condition.shape)}; it must begin with {shown}.")
        else:
            ensure(condition is None, "it passes the source image to D: declare conditional=True in its needs.")

    def _image(self, x: Tensor, way: Direction) -> Tensor:
        y = F.conv2d(x, self.ways[way])
        return y.softmax(1) if self.domains[way[1]].kind == "labels" else y.tanh()

    def _extras(self, x: Tensor, source: str, given: Container[str]) -> dict[str, Tensor]:
        maps = F.avg_pool2d(F.conv2d(x, self.encoders[source]), 2)
        names = {name for name in self.needs.extras if owed(name, self.needs.keywords, given)}
        return {name: maps.mean((2, 3)) if name.startswith("style_") else maps for name in names}


def _weight(out_channels: int, in_channels: int) -> Tensor:
    return torch.randn(out_channels, in_channels, 1, 1).div(in_channels**0.5).requires_grad_()
