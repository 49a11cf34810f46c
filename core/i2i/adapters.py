"""Two adapters that turn an ordinary network into a component of the contract, and one that makes a network of a generator.

An author writes ``Net(in_channels, out_channels, *, width: int = 64)`` and registers ``per_direction(Net)``. The options of
a recipe are the keyword-only parameters of ``Net``: the adapter passes its signature on.
"""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from i2i.errors import UserError
from i2i.layers import judged_channels, output_activation, with_condition
from i2i.protocols import Direction, Domain, Translation, Verdict

TOLD = {"at_use", "small"}
"""What is said of a network before any is built: an attribute of the factory that an adapter makes, as it is of the network."""


class _PerDirection(nn.Module):
    """One network for each direction; H and W must be multiples of each one's ``divisor``."""

    exposes: frozenset[str] = frozenset()

    def __init__(self, networks: Mapping[Direction, nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleDict({f"{source}_{target}": net for (source, target), net in networks.items()})
        self.divisor = math.lcm(*(int(getattr(net, "divisor", 1)) for net in networks.values()))

    def forward(self, x: Tensor, source: str, *targets: str) -> Translation:
        """Translate x (B, C_source, H, W) by the network of each (source, target)."""
        return Translation({target: self.networks[f"{source}_{target}"](x) for target in targets})


class OneDirection(nn.Module):
    """One direction of a generator as an ordinary network, from (B, C_source, H, W) to (B, C_target, H, W).

    With *clamped* values are brought back into [-1, 1], as the translator does with images.
    """

    def __init__(self, generator: nn.Module, way: Direction, clamped: bool = False) -> None:
        super().__init__()
        self.generator, self.way, self.clamped = generator, way, clamped

    def forward(self, x: Tensor) -> Tensor:
        made: Translation = self.generator(x, *self.way)
        image = made.images[self.way[1]]
        return image.clamp(-1, 1) if self.clamped else image


class _PerDomain(nn.Module):
    """One network for each judged domain; it sees the condition and the image, concatenated in this order."""

    def __init__(self, networks: Mapping[str, nn.Module], exposes: frozenset[str]) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(networks)
        self.exposes = exposes

    def forward(self, image: Tensor, domain: str, condition: Tensor | None = None) -> Verdict:
        """Judge image (B, C, H, W); a network may return logits, a list (features …, logits) or one list a scale."""
        return _as_verdict(self.networks[domain](with_condition(image, condition)))


def _as_verdict(output: Any) -> Verdict:
    if isinstance(output, Tensor):
        return [[output]]
    return [list(scale) for scale in output] if isinstance(output[0], list | tuple) else [list(output)]


def per_direction(network: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """A generator factory from ``network(in_channels, out_channels, *, options…)``: one network for each direction.

    The network maps (B, in_channels, H, W) to (B, out_channels, H, W), in [-1, 1] for images. If it takes a parameter
    ``activation`` after the two, it is given the last layer, a module that suits the target: tanh for images, softmax
    over the channels for labels; without that parameter it can make images only. An attribute ``divisor`` of it
    (default 1) says what H and W must be multiples of, an attribute ``at_use`` which options may change after training.
    """
    activated = "activation" in inspect.signature(network).parameters

    def build(source: Domain, target: Domain, options: Mapping[str, Any]) -> nn.Module:
        if not activated and target.kind == "labels":
            raise UserError(f"it makes images, and cannot translate into the labels '{target.name}'.")
        last = {"activation": output_activation(target)} if activated else {}
        return network(source.channels, target.channels, **last, **options)

    def factory(*, domains: Mapping[str, Domain], directions: Iterable[Direction], **options: Any) -> nn.Module:
        return _PerDirection({(s, t): build(domains[s], domains[t], options) for s, t in directions})

    return _with_options_of(network, factory, ("domains", "directions"))


def per_domain(network: Callable[..., nn.Module], *, features: bool = False) -> Callable[..., nn.Module]:
    """A discriminator factory from ``network(in_channels, *, options…)``: one network for each judged domain.

    The network returns logits (B, 1, h, w), or with ``features=True`` a list of feature maps that ends in the logits (or
    one such list for each scale).
    """
    exposes = frozenset({"features"}) if features else frozenset[str]()

    def factory(*, domains: Mapping[str, Domain], conditions: Mapping[str, Domain], **options: Any) -> nn.Module:
        seen = judged_channels(domains, conditions)
        return _PerDomain({key: network(channels, **options) for key, channels in seen.items()}, exposes)

    return _with_options_of(network, factory, ("domains", "conditions"))


def _with_options_of(
    network: Callable[..., nn.Module], factory: Callable[..., nn.Module], supplied: tuple[str, ...]
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
    vars(factory).update({"small": small} if (small := getattr(network, "small", None)) else {})
    factory.__signature__ = inspect.Signature([*given, *options])  # type: ignore[attr-defined]
    return factory
