"""The contract of metrics: a metric sees batches of translations, and returns named figures with their protocol.

A metric is registered by ``register_metrics`` as a factory ``(*, **options)``. If its signature asks for them, it also receives
``domains``, ``direction``, ``directions``, ``seed`` and ``plugins`` (the registry).

A metric keeps sums, a number for each picture, or a sample of limited size, but never the pictures. Its state can be merged
with the states of other processes that evaluate the same data.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn

from i2i.errors import UserError, printable
from i2i.protocols import Direction, Domain

Better = Literal["higher", "lower"]
"""Which values of a figure are better."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Figure:
    """One result. ``protocol`` says how it was measured: figures with different protocols cannot be compared.

    ``better`` says whether a high or a low ``value`` of the metric called ``name`` is. If the figure is a mean over pictures,
    ``images`` has the value of each picture by its index in the data set. ``spread`` is a standard deviation, if the metric has
    one.
    """

    name: str
    value: float
    better: Better
    protocol: Mapping[str, Any] = field(default_factory=dict)
    spread: float | None = None
    images: Mapping[int, float] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        """Two figures may be compared if their keys are equal."""
        return self.name, json.dumps(self.protocol, sort_keys=True, ensure_ascii=False, default=str)

    def to_json(self) -> dict[str, Any]:
        """The figure for a JSON file; numbers that JSON does not support become text."""
        return {
            "name": self.name,
            "value": _plain(self.value),
            "better": self.better,
            "spread": self.spread if self.spread is None else _plain(self.spread),
            "protocol": dict(self.protocol),
            "images": {str(index): _plain(value) for index, value in sorted(self.images.items())},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Figure":
        """A figure that ``to_json`` wrote.

        Raises:
            ValueError, KeyError, TypeError: *data* are not a figure.
        """
        protocol = dict(data["protocol"])
        named = str(data["name"]).isprintable() and isinstance(protocol.get("direction", ""), str)
        if data["better"] not in ("higher", "lower") or not named:
            raise ValueError("this is not a figure")
        try:
            spread = None if data["spread"] is None else float(data["spread"])
            images = {int(index): float(value) for index, value in data["images"].items()}
            return cls(str(data["name"]), float(data["value"]), data["better"], protocol, spread, images)
        except OverflowError as error:
            raise ValueError("a number is too large") from error


def _plain(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def described(protocol: Mapping[str, Any]) -> str:
    """A protocol, or the part of one that is given, in sentences, without the entries that do not apply."""
    left = {key: value for key, value in protocol.items() if value is not None and value != "" and value != {}}
    found = [f"From {left.pop('direction')}".replace(" → ", " to ")] if " → " in str(left.get("direction", "")) else []
    pictures: dict[str, Any] = {key: left.pop(key) for key in ("pictures", "size", "split", "data") if key in left}
    found += [_pictures(pictures)] if pictures else []
    versions = left.pop("versions", {})
    digest = left.pop("extractor_sha256", "")
    for key, value in left.items():
        if key == "ema":
            found.append("Weights averaged over the steps (EMA)" if value else "Weights that are not averaged")
        elif key in _SENTENCES:
            found.append(_SENTENCES[key].format(_value(value)))
        else:
            found.append(f"{key[:1].upper()}{key[1:].replace('_', ' ')}: {_value(value)}")
        if key == "extractor" and digest:
            found[-1] += f" (SHA-256 {digest})"
    found += [f"Measured with {_value(versions)}".replace(", ", " and ")] if versions else []
    return printable(". ".join(sentence.rstrip(".") for sentence in found) + "." * bool(found))


_SENTENCES = {
    "statistics": "Norms use {} statistics",
    "seed": "Random numbers come from the seed {}",
    "use": "The model was used with {}",
    "mean": "The figure is the mean {}",
    "range": "Pixel values are in the range {}",
    "distance": "The distance is {}",
    "extractor": "Features are those of {}",
    "extractor_crop": "They are of crops of {} pixels",
    "resize": "Pictures were scaled to {}",
    "samples": "There are {} samples of each side",
    "subsets": "The figure is the mean of random subsets, {}",
    "keep": "At most {} samples of each side are looked at",
    "patch": "Patches have a side of {} pixels",
    "patches": "{} of them are taken from each picture at each scale",
    "scales": "There are {} scales",
    "slices": "Patches are compared in {} random directions",
    "styles": "Each picture has {} styles",
    "in": "It is given in {}",
    "options": "Options: {}",
}
"""What an entry of a protocol says."""


def _pictures(told: Mapping[str, Any]) -> str:
    """``44 pictures of 64 x 64 pixels, split val of the data set earth (a: day, b: night)``."""
    count, size, split, data = (told.get(key) for key in ("pictures", "size", "split", "data"))
    words = [f"{count} picture{'' if count == 1 else 's'}" if count is not None else "Pictures"]
    words += [f"of {size} pixels" if " x " in str(size) else f"of {size} sizes"] if size is not None else []
    words += [f"from the split {split}"] if split is not None else []
    if isinstance(data, Mapping):
        options = _value({key: value for key, value in data.items() if key != "name"}, ": ")
        words.append(f"of the data set {data.get('name')}" + (f" ({options})" if options else ""))
    elif data is not None:
        words.append(f"of {data}")
    return " ".join(words)


def _value(value: Any, between: str = " ") -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k}{between}{_word(v)}" for k, v in value.items() if v is not None)
    return ", ".join(map(_word, value)) if isinstance(value, list | tuple) else _word(value)


def _word(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


Translate = Callable[[Tensor, str, str, int], Tensor]
"""(images (B, C, H, W), source, target, index of the draw) -> (B, C_target, H, W)."""


@dataclass(frozen=True)
class Seen:
    """One batch of an evaluation: inputs, their translations, and real images of the target domain.

    All are as networks see them, images in [-1, 1]: ``source`` (B, C_source, H, W), ``made`` and ``real`` (B, C_target,
    H, W). ``real`` is the truth if the data are paired, else any images of the domain, of any size. ``indices`` are the indices
    of the samples in the data set, ``direction`` that of the translations, ``translate`` makes further ones, and ``kept`` is
    what ``once`` keeps. ``back()`` is ``made`` translated back; if ``styled``, in the style of ``source``.
    """

    indices: Sequence[int]
    direction: Direction
    source: Tensor
    made: Tensor
    real: Tensor
    translate: Translate
    back: Callable[[], Tensor]
    styled: bool = False
    kept: dict[Any, Any] = field(default_factory=dict)

    def once(self, key: Any, make: Callable[[], _T]) -> _T:
        """The result of *make*, which is called once for all metrics that use the same key."""
        if key not in self.kept:
            self.kept[key] = make()
        return cast(_T, self.kept[key])


State = Mapping[str, Any]
"""Nested mappings of tensors, numbers and text, on the CPU."""


class Metric(Protocol):
    """``names`` are the names of its figures, ``better`` says which values are better, ``least`` how many pictures it needs.

    ``protocol`` is what the metric adds to the protocol. A metric with ``paired`` compares each translation with its truth.
    """

    names: tuple[str, ...]
    better: Better
    paired: bool
    least: int
    protocol: Mapping[str, Any]

    def update(self, seen: Seen) -> None:
        """Add one batch."""
        ...

    def state(self) -> State:
        """The state after all batches so far."""
        ...

    def merge(self, states: Sequence[State]) -> None:
        """Replace the state by the union of these states, one of which is its own."""
        ...

    def figures(self) -> list[Figure]:
        """The results, with the metric's part of the protocol."""
        ...


class PerImage:
    """A metric that is a mean over pictures: ``measure`` returns values (B,) for each of its ``names``.

    The rest is as ``Metric`` says: ``update``, ``state``, ``merge``, ``figures``, ``protocol``. By default it is not
    ``paired``, lower values are ``better``, and one picture is the ``least``. ``values`` has those so far, by name and index.
    """

    paired: ClassVar[bool] = False
    least: ClassVar[int] = 1
    better: Better = "lower"

    def __init__(self, *names: str, **protocol: Any) -> None:
        self.names = names
        self.protocol: Mapping[str, Any] = {"mean": "over pictures", **protocol}
        self.values: dict[str, dict[int, float]] = {name: {} for name in names}

    def measure(self, seen: Seen) -> Mapping[str, Tensor]:
        """The values (B,) of each name."""
        raise NotImplementedError

    def update(self, seen: Seen) -> None:
        for name, values in self.measure(seen).items():
            self.values[name].update(zip(seen.indices, values.double().tolist(), strict=True))

    def state(self) -> State:
        return {name: dict(values) for name, values in self.values.items()}

    def merge(self, states: Sequence[State]) -> None:
        for name in self.names:
            self.values[name] = {index: value for state in states for index, value in state[name].items()}

    def figures(self) -> list[Figure]:
        return [self._figure(name, dict(sorted(self.values[name].items()))) for name in self.names]

    def _figure(self, name: str, values: dict[int, float]) -> Figure:
        if not values:
            raise UserError(f"'{name}' was given no picture.")
        return Figure(name, math.fsum(values.values()) / len(values), self.better, self.protocol, images=values)


def paired_images(seen: Seen) -> tuple[Tensor, Tensor]:
    """The translations and the truth in [0, 1], each (B, C, H, W), if they have the same size.

    Raises:
        UserError: they differ in height or width.
    """
    if seen.made.shape != seen.real.shape:
        made, real = (" x ".join(map(str, reversed(images.shape[-2:]))) for images in (seen.made, seen.real))
        raise UserError(f"sample {seen.indices[0]}: the translation is {made}, the truth {real}; they must have the same size.")
    return to_zero_one(seen.made), to_zero_one(seen.real)


def to_zero_one(images: Tensor) -> Tensor:
    """Images from [-1, 1] to [0, 1], clamped."""
    return (images.float() / 2 + 0.5).clamp(0, 1)


def needs_images(domain: Domain, what: str) -> None:
    """Refuse a label domain.

    Raises:
        UserError: the domain holds labels.
    """
    if domain.kind != "image":
        raise UserError(f"it compares images, but '{domain.name}', {what}, holds labels. 'segmentation' compares labels.")


def fingerprint(network: nn.Module) -> str:
    """The first 12 digits of the SHA-256 of a network's weights, by name, in float32."""
    import hashlib

    digest = hashlib.sha256()
    for name, tensor in sorted([*network.named_parameters(), *network.named_buffers()]):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().to(torch.float32).contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]
