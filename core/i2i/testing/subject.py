"""The component that is checked, and the domains and images that it is checked with."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from i2i.building.reach import left_out, optional
from i2i.errors import UserError, one_line
from i2i.labels import to_network
from i2i.objectives import built, of_the_start
from i2i.protocols import Domain
from i2i.recipe.options import OFFERED, complete_options, options_model
from i2i.training.players import Player

Domains = Mapping[str, Domain]

PHOTO, GREY = Domain("photo", "image", 3), Domain("drawing", "image", 1)
LABELS = Domain(
    "labels",
    "labels",
    4,
    ("sky", "land", "water", "town"),
    ((120, 180, 250), (90, 140, 40), (20, 40, 160), (200, 60, 60)),
)
SITUATIONS: tuple[Domains, ...] = (
    {"a": PHOTO, "b": PHOTO},
    {"a": GREY, "b": PHOTO},
    {"a": LABELS, "b": PHOTO},
    {"a": PHOTO, "b": LABELS},
    {"a": PHOTO, "b": PHOTO, "c": PHOTO},
)
"""Pairs and a triple of domains. A component may refuse some with a UserError when it is built, but not all."""


@dataclass(frozen=True)
class Subject:
    """A component (``kind``, ``name``, ``factory``) with the ``options`` that it is checked with.

    ``domains`` replaces ``SITUATIONS``; ``size`` is the side of the square images. A loss that reads extras with names of its
    own is checked with the ``generator`` and the ``discriminator`` that offer them, or with its ``own`` plugin's if it fails
    with plain functions. A loss that wants entries of a batch that are not domains gets batches from the first of the
    ``datasets`` that has them.
    """

    kind: str
    name: str
    factory: Callable[..., Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    domains: Domains | None = None
    size: int | None = None
    generator: "Subject | None" = None
    discriminator: "Subject | None" = None
    own: tuple["Subject | None", "Subject | None"] = (None, None)
    datasets: tuple["Subject", ...] = ()

    def build(self, *, seed: int = 0, **supplied: Any) -> Any:
        """Build the component with checked and complete options, under a seed; the random state is restored."""
        from i2i.randomness import seeded

        asked = inspect.signature(self.factory).parameters
        for name in OFFERED.get(self.kind, ()):
            if name in asked:
                supplied.setdefault(name, (self.side, self.side) if name == "size" else None)
        with seeded(seed):
            return self.factory(**supplied, **built(of_the_start(self.complete())))

    @property
    def side(self) -> int:
        """The side of the training pictures, for a factory that asks for ``size``."""
        return self.size or 64

    def complete(self) -> dict[str, Any]:
        """The options as the core passes them; the factory's ``small`` replaces defaults.

        Raises:
            UserError: an option does not fit, or is missing.
        """
        given = {**getattr(self.factory, "small", {}), **self.options}
        for name, option in options_model(self.kind, self.factory).model_fields.items():
            if option.is_required() and name not in given:
                raise UserError(
                    f"it cannot be built without the option '{name}'. Give it with --set {self.kind}.{self.name}.{name}=VALUE, "
                    f"in a test with options={{'{self.kind} {self.name}': {{'{name}': …}}}}, or in its attribute 'small'."
                )
        return complete_options(self.kind, self.name, self.factory, given)

    def situations(self, build: Callable[[Domains], Any]) -> Iterator[tuple[Domains, Any]]:
        """The domains that the component accepts, each with what *build* made for them.

        Raises:
            Refused: it refuses all domains.
            AssertionError: its factory fails.
            UserError: an option does not fit, or is missing.
        """
        self.complete()
        refusals: dict[str, list[str]] = {}
        for domains in SITUATIONS if self.domains is None else (self.domains,):
            try:
                made = build(domains)
            except UserError as error:
                refusals.setdefault(str(error), []).append(_told(domains))
                continue
            except AssertionError:
                raise
            except Exception as error:
                raise AssertionError(f"for {_told(domains)}, its factory fails: {type(error).__name__}: {error}") from error
            yield domains, made
        given = SITUATIONS if self.domains is None else (self.domains,)
        if sum(map(len, refusals.values())) == len(given):
            said = [f"{sentence} ({'; '.join(places)})" for sentence, places in refusals.items()]
            raise Refused(f"it refuses all domains. It says: {' '.join(said if len(said) > 1 else refusals)}")


class Refused(AssertionError):  # noqa: N818 - of the component, not of the kit
    """A component refuses all domains that it is checked with."""


class Skipped(Exception):  # noqa: N818 - nothing is wrong
    """A check cannot be made, or tries something that a component may refuse. The message says why."""


def _told(domains: Domains) -> str:
    """``a 3 channels, b 4 labels``."""
    what = {"image": "channel", "labels": "label"}
    return ", ".join(f"{key} {d.channels} {what[d.kind]}{'s' * (d.channels > 1)}" for key, d in domains.items())


def ensure(condition: object, sentence: str) -> None:
    """Raise an AssertionError with the sentence unless the condition holds (also under ``python -O``)."""
    if not condition:
        raise AssertionError(sentence)


def image(domain: Domain, batch: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Images of a domain as networks see them: (B, C, H, W) in [-1, 1], or one-hot labels."""
    generator = torch.Generator().manual_seed(seed)
    if domain.kind == "labels":
        ids = torch.randint(domain.label_count, (batch, 1 + domain.instances, height, width), generator=generator)
        return to_network(ids, domain)
    return torch.rand(batch, domain.channels, height, width, generator=generator) * 2 - 1


def directions(domains: Domains) -> tuple[tuple[str, str], ...]:
    """Every direction between two different domains."""
    return tuple((source, target) for source in domains for target in domains if source != target)


def is_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether no element is NaN or infinite."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


def gradientless(network: nn.Module) -> list[str]:
    """The names of the trainable parameters that have no finite gradient."""
    return [name for name, p in network.named_parameters() if p.requires_grad and (p.grad is None or not is_finite((p.grad,)))]


def check_exposes(network: Any) -> None:
    """``exposes`` is a set of names and the component is a module."""
    ensure(isinstance(network, nn.Module), f"the factory must return an nn.Module, not {type(network).__name__}.")
    exposes = getattr(network, "exposes", None)
    ensure(
        isinstance(exposes, frozenset) and all(isinstance(name, str) for name in exposes),
        "give it an attribute 'exposes', a frozenset of the names of its extras; frozenset() if it has none.",
    )
    for name, rate in Player(network, {}).rates.items():
        there = any(full.startswith(f"{name}.") for full, _ in network.named_parameters())
        ensure(there, f"its 'rates' name '{name}', but no parameter's name begins with that.")
        ensure(
            isinstance(rate, float | int) and rate > 0, f"its 'rates' set '{name}' to {rate!r}: it must be a number above 0."
        )
    accepts: Any = getattr(network, "accepts", frozenset())
    ensure(isinstance(accepts, frozenset), "'accepts' must be a frozenset of keywords; omit it if there are none.")
    for part, use in optional(network):
        ensure(part not in left_out(network), f"its 'parts' name '{part}', which it does not have.")
        ensure(use in accepts | exposes, f"its 'parts' have the key '{use}', which it neither accepts nor exposes.")


def check_same_build(one: nn.Module, other: nn.Module) -> None:
    """Two networks built with the same seed have the same state."""
    a, b = one.state_dict(), other.state_dict()
    odd = [name for name in a if name not in b or not torch.equal(a[name], b[name])]
    ensure(not odd, f"built twice under one seed, '{odd and odd[0]}' differs: draw only from torch's default generator.")


def copy_state(one: nn.Module, other: nn.Module) -> None:
    """Load the state of one network into another that was built with a different seed."""
    state = one.state_dict()
    odd = [name for name, value in state.items() if not isinstance(value, Tensor)]
    ensure(not odd, f"its state '{odd and odd[0]}' is not a tensor and cannot be saved: make it a buffer.")
    try:
        other.load_state_dict({name: value.clone() for name, value in state.items()})
    except RuntimeError as error:
        raise AssertionError(f"its state dict does not load into a second instance: {one_line(error)}") from error


def backward(terms: Iterable[Tensor]) -> None:
    """The gradient of the sum of scalars."""
    torch.autograd.backward(torch.stack(list(terms)).sum())
