"""Two adapters that turn an ordinary network into a component, and one that turns a generator into an ordinary network.

An author writes ``Net(in_channels, out_channels, *, width: int = 64)`` and registers ``per_direction(Net)``. The options in a
recipe are the keyword-only parameters of ``Net``, whose signature the adapter passes on.
"""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i.errors import UserError
from i2i.layers import judged_channels, output_activation, with_condition
from i2i.protocols import Direction, Domain, Judged, Translation, Verdict

TOLD = {"at_use", "small"}
"""Attributes of a network's class that are needed before it is built; an adapter copies them to its factory."""


class _PerDirection(nn.Module):
    """One network for each direction; H and W must be multiples of each one's ``divisor``."""

    def __init__(self, networks: Mapping[Direction, nn.Module], exposes: frozenset[str]) -> None:
        super().__init__()
        self.exposes = exposes
        self.networks = nn.ModuleDict({f"{source}_{target}": net for (source, target), net in networks.items()})
        self.divisor = math.lcm(*(int(getattr(net, "divisor", 1)) for net in networks.values()))
        self.pictures = pictures_of(networks.values())

    def forward(self, x: Tensor, source: str, *targets: str) -> Translation:
        """Translate x (B, C_source, H, W) by the network of each (source, target).

        Without targets it returns only extras: those of the source's first network.
        """
        if targets or not self.exposes:
            return each_target({target: self._of(f"{source}_{target}", x, target) for target in targets})
        return Translation({}, self._of(first_from(source, self.networks), x, "").extras)

    def _of(self, key: str, x: Tensor, target: str) -> Translation:
        image, extras = with_extras(self.networks[key](x), self.exposes, "image")
        return Translation({target: image}, extras)


def first_from(source: str, networks: Iterable[str]) -> str:
    """The name of the first network, ``source_target``, that translates from *source*."""
    return next(key for key in networks if key.startswith(f"{source}_"))


def each_target(made: Mapping[str, Translation]) -> Translation:
    """Merge translations, each to one target; ``cam`` is the extra of the first target, ``b.cam`` that of b."""
    images = {target: image for one in made.values() for target, image in one.images.items()}
    named = {f"{target}.{name}": extra for target, one in made.items() for name, extra in one.extras.items()}
    first = next(iter(made.values())).extras if made else {}
    return Translation(images, {**first, **named} if len(made) > 1 else dict(first))


def with_extras(output: Any, exposes: frozenset[str], what: str) -> tuple[Any, dict[str, Tensor]]:
    """Separate a network's output from its extras: ``(image, {"cam": …})``, or the image alone if it exposes none.

    Raises:
        UserError: the extras differ from those that it *exposes*.
    """
    apart = isinstance(output, tuple) and len(output) == 2 and isinstance(output[1], dict)
    made, extras = output if apart else (output, {})
    if set(extras) != exposes:
        returned, named = (", ".join(map(repr, sorted(names))) or "none" for names in (extras, exposes))
        raise UserError(
            f"its network returns these extras: {returned}; its adapter's 'exposes' names: {named}. Return "
            f"({what}, {{name: tensor}}) with the same names."
        )
    return made, extras


class OneDirection(nn.Module):
    """One direction of a generator as an ordinary network, from (B, C_source, H, W) to (B, C_target, H, W).

    With *clamped*, values are clamped to [-1, 1], as the translator does with images.
    """

    def __init__(self, generator: nn.Module, way: Direction, clamped: bool = False) -> None:
        super().__init__()
        self.generator, self.way, self.clamped = generator, way, clamped

    def forward(self, x: Tensor) -> Tensor:
        made: Translation = self.generator(x, *self.way)
        image = made.images[self.way[1]]
        return image.clamp(-1, 1) if self.clamped else image


class WithPictures(nn.Module):
    """A generator that appends its ``pictures`` to its images as further channels, three for each, at the image's size."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator, self.divisor, self.found = generator, getattr(generator, "divisor", 1), list[str]()

    def forward(self, x: Tensor, source: str, target: str, **given: Tensor) -> Translation:
        """Translate x (B, C_source, H, W) into (B, C_target + 3 * pictures, H, W).

        Raises:
            UserError: one of them does not have the shape of a picture.
        """
        image, extras = self.generator(x, source, target, **given)
        self.found = [name for name in pictures_of([self.generator]) if name in extras]
        for name in self.found:
            if extras[name].ndim != 4 or extras[name].shape[1] not in (1, 3):
                raise UserError(
                    f"the generator names its extra '{name}' in 'pictures', but the shape is {tuple(extras[name].shape)}; "
                    "expected (B, 1 or 3, h, w)."
                )
        large = [F.interpolate(extras[name].float(), x.shape[-2:], mode="bilinear") for name in self.found]
        return Translation({target: torch.cat([image[target], *(one.expand(-1, 3, -1, -1) for one in large)], 1)})

    def parted(self, made: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Split the last result of ``forward`` into the images (B, C_target, H, W) and the pictures (B, 3, H, W) by name."""
        threes = [3] * len(self.found)
        image, *shown = torch.split(made, [made.shape[1] - sum(threes), *threes], 1)
        return image, dict(zip(self.found, shown, strict=True))


def pictures_of(networks: Iterable[nn.Module]) -> tuple[str, ...]:
    """The names in the networks' attributes ``pictures``."""
    return tuple(dict.fromkeys(name for network in networks for name in getattr(network, "pictures", ())))


class _PerDomain(nn.Module):
    """One network for each judged domain; it sees the condition and the image, concatenated in this order."""

    def __init__(self, networks: Mapping[str, nn.Module], exposes: frozenset[str], features: bool) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(networks)
        self.exposes = exposes | ({"features"} if features else set())

    def forward(self, image: Tensor, domain: str, condition: Tensor | None = None) -> Verdict:
        """Judge image (B, C, H, W); a network may return logits, a list (features …, logits) or one list for each scale."""
        made, extras = with_extras(
            self.networks[domain](with_condition(image, condition)), self.exposes - {"features"}, "verdict"
        )
        verdict = _as_verdict(made)
        return Judged(verdict, extras) if extras else verdict


def _as_verdict(output: Any) -> Verdict:
    if isinstance(output, Tensor):
        return [[output]]
    return [list(scale) for scale in output] if isinstance(output[0], list | tuple) else [list(output)]


def per_direction(network: Callable[..., nn.Module], *, exposes: Iterable[str] = ()) -> Callable[..., nn.Module]:
    """A generator factory from ``network(in_channels, out_channels, *, options…)``: one network for each direction.

    The network maps (B, in_channels, H, W) to (B, out_channels, H, W), in [-1, 1] for images. If it has a third parameter
    ``activation``, it receives a module for the last layer: tanh for images, softmax over the channels for labels; without
    this parameter it can only make images. H and W must be multiples of its attribute ``divisor`` (default 1); its attribute
    ``at_use`` names the options that may change after training.

    If it *exposes* extras, it returns them too, always with the same names: ``(image, {"cam": tensor})``. Its attribute
    ``pictures`` names those that sample grids show.
    """
    names = _names(exposes)
    activated = "activation" in inspect.signature(network).parameters

    def build(source: Domain, target: Domain, options: Mapping[str, Any]) -> nn.Module:
        if not activated and target.kind == "labels":
            raise UserError(f"it makes images, so it cannot translate into the labels '{target.name}'.")
        last = {"activation": output_activation(target)} if activated else {}
        return network(source.channels, target.channels, **last, **options)

    def factory(*, domains: Mapping[str, Domain], directions: Iterable[Direction], **options: Any) -> nn.Module:
        return _PerDirection({(s, t): build(domains[s], domains[t], options) for s, t in directions}, names)

    return _with_options_of(network, factory, ("domains", "directions"), names)


def per_domain(
    network: Callable[..., nn.Module], *, features: bool = False, exposes: Iterable[str] = ()
) -> Callable[..., nn.Module]:
    """A discriminator factory from ``network(in_channels, *, options…)``: one network for each judged domain.

    The network returns logits (B, 1, h, w), or with ``features=True`` a list of feature maps that ends in the logits (or
    one such list for each scale). If it *exposes* extras, it returns both: ``(logits, {"cam": tensor})``.
    """
    names = _names(exposes)

    def factory(*, domains: Mapping[str, Domain], conditions: Mapping[str, Domain], **options: Any) -> nn.Module:
        seen = judged_channels(domains, conditions)
        return _PerDomain({key: network(channels, **options) for key, channels in seen.items()}, names, features)

    return _with_options_of(network, factory, ("domains", "conditions"), names | ({"features"} if features else set()))


def _names(exposes: Iterable[str]) -> frozenset[str]:
    if isinstance(exposes, str):
        raise UserError(f"exposes: give a tuple of names, exposes=('{exposes}',), not a string.")
    return frozenset(exposes)


def _with_options_of(
    network: Callable[..., nn.Module], factory: Callable[..., nn.Module], supplied: tuple[str, ...], exposes: frozenset[str]
) -> Callable[..., nn.Module]:
    """Give *factory* the keyword-only parameters of *network* as its signature, which is the schema of its options."""
    options = [
        p for p in inspect.signature(network, eval_str=True).parameters.values() if p.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    taken = [p.name for p in options if p.name in supplied]
    if taken:
        raise UserError(f"{network.__name__}: the option '{taken[0]}' has a name that the core uses; rename it.")
    given = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=Any) for name in supplied]
    for name in TOLD & set(dir(network)):
        setattr(factory, name, getattr(network, name))
    factory.__name__ = factory.__qualname__ = network.__name__
    factory.__doc__ = network.__doc__
    vars(factory)["exposes"] = exposes
    factory.__signature__ = inspect.Signature([*given, *options])  # type: ignore[attr-defined]
    return factory
