"""Several components in one role: losses that are added up, and a network of its own for each direction or domain."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from i2i.adapters import each_target, first_from, pictures_of
from i2i.building.naming import judged
from i2i.building.needs import accepted
from i2i.errors import UserError
from i2i.protocols import (
    Batch,
    Direction,
    Discriminator,
    Generator,
    Images,
    Judged,
    JudgedBySeveral,
    Needs,
    Terms,
    Translation,
    Verdict,
)
from i2i.randomness import drawing_state


class Losses(nn.Module):
    """The sum of several losses, itself a loss. The first adversarial one decides which player steps first.

    Each loss translates and judges for itself and gets what it would get alone; where that is what an earlier one has been
    given, it is not computed again (``_Shared``). Terms of equal names get their loss's name in front.
    """

    def __init__(self, losses: Sequence[tuple[str, nn.Module]]) -> None:
        super().__init__()
        self.names = [name for name, _ in losses]
        self.losses = nn.ModuleList(loss for _, loss in losses)
        parts: list[Any] = list(self.losses)
        self.needs = joined([(name, loss.needs) for name, loss in zip(self.names, parts, strict=True)])
        leading = next((loss for loss in parts if loss.needs.adversarial), parts[0])
        self.order: Literal["generator_first", "discriminator_first"] = leading.order
        self.fresh_fakes = any(loss.needs.adversarial and loss.fresh_fakes for loss in parts)
        self.networks = tuple(f"losses.{i}.{name}" for i, loss in enumerate(parts) for name in loss.networks)

    def translate(self, G: Generator, batch: Batch) -> Images:
        """{index of the loss: its images}."""
        remembered = _Shared(G, _translation)
        return {str(i): loss.translate(remembered, self._of(loss, batch)) for i, loss in self._numbered()}

    def fakes(self, G: Generator, batch: Batch, images: Images) -> Images:
        """Anew for the losses that want it; the others keep what ``translate`` gave them."""
        remembered = _Shared(G, _translation)
        return {
            str(i): loss.fakes(remembered, self._of(loss, batch), images[str(i)]) if loss.fresh_fakes else images[str(i)]
            for i, loss in self._numbered()
        }

    def generator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        """The terms of all losses."""
        judge = _Shared(D, _verdict)
        parts = self._numbered()
        return self._named({i: loss.generator_terms(judge, self._of(loss, batch), _Images(i, images)) for i, loss in parts})

    def discriminator_terms(self, D: Discriminator, batch: Batch, images: Images) -> Terms:
        """The terms of all adversarial losses."""
        judge, losses = _Shared(D, _verdict), [(i, loss) for i, loss in self._numbered() if loss.needs.adversarial]
        terms = {i: loss.discriminator_terms(judge, self._of(loss, batch), _Images(i, images)) for i, loss in losses}
        return self._named(terms)

    def _of(self, loss: Any, batch: Batch) -> Batch:
        """The batch without what only other losses want."""
        others = self.needs.wants - loss.needs.wants
        return {key: value for key, value in batch.items() if key not in others}

    def _numbered(self) -> list[tuple[int, Any]]:
        return list(enumerate(self.losses))

    def _named(self, terms: Mapping[int, Terms]) -> Terms:
        every: Terms = {}
        for i, own in terms.items():
            for name, term in own.items():
                free = (name, f"{self.names[i]}.{name}", f"{self.names[i]}.{i}.{name}")
                every[next(key for key in free if key not in every)] = term
        return every


def joined(needs: Sequence[tuple[str, Needs]]) -> Needs:
    """What several losses need together; each comes with its name.

    Raises:
        UserError: one shows the discriminator the source image and another does not.
    """
    conditional = {need.conditional: name for name, need in needs if need.adversarial}
    if len(conditional) > 1:
        raise UserError(
            f"loss '{conditional[True]}' shows the discriminator the source image and loss '{conditional[False]}' does not: "
            "they cannot share one. Make one of them not adversarial (its weight 'gan' 0), or leave it out."
        )
    every = [need for _, need in needs]
    return Needs(
        directions=tuple(dict.fromkeys(direction for need in every for direction in need.directions)),
        paired=any(need.paired for need in every),
        conditional=True in conditional,
        adversarial=bool(conditional),
        judged=tuple((source, target) for need in every if need.adversarial for target, source in judged(need).items()),
        extras=frozenset().union(*(need.extras for need in every)),
        keywords=frozenset().union(*(need.keywords for need in every)),
        wants=frozenset().union(*(need.wants for need in every)),
        verdict=frozenset().union(*(need.verdict for need in every)),
    )


class _Images(dict[str, Any]):
    """A loss's images; where it has none of a name, ``images[name]`` is that of a loss before it."""

    def __init__(self, loss: int, images: Images) -> None:
        super().__init__(images[str(loss)])
        self.before = [images[str(i)] for i in range(loss)]

    def __missing__(self, name: str) -> Any:
        for images in self.before:
            if name in images:
                return images[name]
        raise KeyError(name)


class _Shared:
    """Calls a network, and gives a result again where the same is asked for in the same modes, if nothing was drawn for it.

    What draws (dropout, noise, a style) is called every time, so that each loss gets the draws it would get alone. The
    results' containers may be changed by who gets them, their tensors not: each gets what *copied* makes of the result.
    """

    def __init__(self, network: Callable[..., Any], copied: Callable[[Any], Any]) -> None:
        self.network, self.copied = network, copied
        self.made: list[tuple[_Call, Any]] = []

    def __call__(self, *asked: Any, **given: Tensor) -> Any:
        call = _Call(asked, given)
        for before, result in self.made:
            if call.repeats(before):
                return self.copied(result)
        drawn = drawing_state()
        result = self.network(*asked, **given)
        if drawing_state() == drawn:
            self.made.append((call, result))
        return self.copied(result)


def _translation(made: Translation) -> Translation:
    return Translation(dict(made.images), dict(made.extras))


def _verdict(made: Verdict) -> Judged:
    if judges := getattr(made, "judges", ()):
        return JudgedBySeveral((weight, _verdict(verdict)) for weight, verdict in judges)
    return Judged(made, getattr(made, "extras", {}))


class _Call:
    """What a network was asked for, and in which modes of torch."""

    def __init__(self, asked: tuple[Any, ...], given: Mapping[str, Tensor]) -> None:
        words = (*asked, *(part for name in sorted(given) for part in (name, given[name])))
        self.words = [word for word in words if word is not None]  # no condition is none at all
        tensors = [word for word in self.words if isinstance(word, Tensor)]
        self.written = [tensor._version for tensor in tensors]  # how often each was written into
        devices = {tensor.device.type for tensor in tensors}
        self.modes = (torch.is_grad_enabled(), *(torch.is_autocast_enabled(device) for device in sorted(devices)))

    def repeats(self, other: "_Call") -> bool:
        """Whether the other asked the same of the same tensors, which nobody has written into since."""
        return (
            len(self.words) == len(other.words)
            and all(a is b if isinstance(a, Tensor) else a == b for a, b in zip(self.words, other.words, strict=True))
            and (self.modes, self.written) == (other.modes, other.written)
        )


class ByDirection(nn.Module):
    """A generator made of one for each direction, of any architectures; it offers what all of them offer."""

    def __init__(self, generators: Mapping[Direction, nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleDict({f"{source}_{target}": net for (source, target), net in generators.items()})
        networks: list[Any] = list(generators.values())
        self.exposes = frozenset.intersection(*(frozenset(net.exposes) for net in networks))
        self.accepts = frozenset.intersection(*map(accepted, networks))
        self.divisor, self.pictures = math.lcm(*(int(net.divisor) for net in networks)), pictures_of(networks)

    def forward(self, x: Tensor, source: str, *targets: str, **given: Tensor) -> Translation:
        """Translate x (B, C_source, H, W) by the generator of each (source, target).

        Without targets only extras are wanted: they are those of the source's first generator.
        """
        if not targets:
            first: Translation = self.networks[first_from(source, self.networks)](x, source, **given)
            return first
        return each_target({t: self.networks[f"{source}_{t}"](x, source, t, **given) for t in targets})


class ByDomain(nn.Module):
    """A discriminator made of one for each judged domain, of any architectures."""

    def __init__(self, discriminators: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(discriminators)
        judges: list[Any] = list(discriminators.values())
        self.exposes = frozenset.intersection(*(frozenset(judge.exposes) for judge in judges))

    def forward(self, image: Tensor, domain: str, condition: Tensor | None = None) -> Verdict:
        """Judge image (B, C, H, W) by the discriminator of its domain."""
        verdict: Verdict = self.networks[domain](image, domain, condition)
        return verdict
