"""Published checkpoints, which ``i2i convert`` reads without executing anything in them, and helpers to convert them.

A plugin registers a converter for a published format with the hook ``register_converters``::

    def convert(checkpoints: Sequence[Checkpoint], names: tuple[str, str], settings: Mapping[str, Any]) -> Converted | None

It returns None if it cannot convert the checkpoints. Several plugins may share one format: they are tried in turn. Where the
format has files of discriminators too, what is registered is a :class:`Converter`, which has a function for them.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from i2i.errors import UserError
from i2i.protocols import Direction, Domain

State = dict[str, Tensor]
"""The tensors of a network by name."""

WRAPPERS = ("module.", "_orig_mod.")
"""What ``DataParallel`` and ``torch.compile`` put before the names of tensors."""

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True)
class Checkpoint:
    """The ``states`` (state dicts) of the file ``path``: under "" if there is only one, else under their names in the file."""

    path: Path
    states: Mapping[str, State]

    @property
    def state(self) -> State:
        """The only state dict, or an empty one if there are several."""
        return self.states.get("", {})


@dataclass(frozen=True)
class Converted:
    """A converted ``generator``: its name and ``options``, its ``state`` dict, and what the user should know about it.

    ``domains`` and ``directions`` are what it translates; ``licence`` is the licence of the weights, in words.
    ``size``, the height and width of the training pictures, is needed if the generator cannot be built without it.
    ``left_out`` are the names of unknown tensors; ``notes`` say what was assumed because the file does not contain it.
    """

    generator: str
    options: Mapping[str, Any]
    domains: Mapping[str, Domain]
    directions: tuple[Direction, ...]
    state: State
    licence: str
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Judge:
    """A converted ``discriminator``: its name (``plugin:name`` if two plugins have it), its ``options`` and ``state`` dict.

    ``judged`` maps the key of each domain that it judges to that of the source; it sees the source image too if it is
    ``conditional``. ``left_out`` and ``notes`` are those of :class:`Converted`.
    """

    discriminator: str
    options: Mapping[str, Any]
    judged: Mapping[str, str]
    state: State
    conditional: bool = False
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Converter:
    """A converter of generators, and of the discriminators that were published with them.

    ``generator`` is what else would be registered alone. ``discriminator`` receives the checkpoints of discriminators, and what
    was made of the generators' of the same program, which another plugin may have converted. It returns None if they are not
    what it knows.
    """

    generator: Callable[[Sequence[Checkpoint], tuple[str, str], Mapping[str, Any]], Converted | None]
    discriminator: Callable[[Sequence[Checkpoint], Converted], Judge | None]

    def __call__(
        self, checkpoints: Sequence[Checkpoint], names: tuple[str, str], settings: Mapping[str, Any]
    ) -> Converted | None:
        """Convert generators."""
        return self.generator(checkpoints, names, settings)


def sees_source(channels: int, made: Converted, source: str, target: str) -> bool:
    """Whether a discriminator of so many input channels sees the source image before the target's.

    Raises:
        UserError: it belongs to other domains.
    """
    alone, both = made.domains[target].channels, made.domains[source].channels + made.domains[target].channels
    if channels not in (alone, both):
        raise UserError(
            f"the discriminator has {channels} input channels; the generator's domains have {alone} or together {both}"
        )
    return channels == both


def stripped(state: Mapping[str, Tensor]) -> State:
    """A state dict whose names have no prefixes of module wrappers."""
    return {bare(name): tensor for name, tensor in state.items()}


def bare(name: str) -> str:
    """A name without the prefixes of module wrappers."""
    while name.startswith(WRAPPERS):
        name = name.split(".", 1)[1]
    return name


def convolutions_in(state: Mapping[str, Tensor]) -> int:
    """The number of convolutions with weights in a state dict."""
    return sum(tensor.ndim == 4 for tensor in state.values())


def by_key(state: Mapping[str, Tensor]) -> dict[str, State]:
    """A state dict with names ``networks.KEY.NAME``, split into one for each key."""
    split: dict[str, State] = {}
    for name, tensor in state.items():
        _, key, rest = name.split(".", 2)
        split.setdefault(key, {})[rest] = tensor
    return split


def renamed(state: Mapping[str, Tensor], table: Mapping[str, str], network: str) -> State:
    """The same tensors, with their modules renamed by *table*.

    Raises:
        UserError: a module is not in the table.
    """
    found: State = {}
    for name, tensor in state.items():
        module, _, leaf = name.rpartition(".")
        if module not in table:
            raise UserError(f"'{name}' is not a name in a '{network}' of this depth: the weights belong to another network")
        found[f"{table[module]}.{leaf}"] = tensor
    return found


def known(state: State, pattern: str) -> tuple[State, tuple[str, ...]]:
    """The entries whose full name matches the pattern, and the names of the others."""
    fitting = {name: tensor for name, tensor in state.items() if re.fullmatch(pattern, name)}
    return fitting, tuple(name for name in state if name not in fitting)


def generator_states(files: Mapping[Direction, Checkpoint], pattern: str) -> tuple[dict[Direction, State], tuple[str, ...]]:
    """For each direction the entries whose names match, without stale statistics; and the names of all others."""
    states: dict[Direction, State] = {}
    left_out: list[str] = []
    for way, checkpoint in files.items():
        fitting, unknown = known(checkpoint.state, pattern)
        states[way] = without_stale_statistics(fitting)
        left_out += unknown
    return states, tuple(left_out)


def norm_of(state: State, bias: str) -> str:
    """The norm of a published generator; *bias* names a convolution's bias, which is missing before batch norm."""
    batch = any(tensor.ndim == 1 and name.endswith(".weight") for name, tensor in state.items())
    return "batch" if batch else "instance" if bias in state else "none"


def without_stale_statistics(state: State) -> State:
    """Without the running statistics of norms that have no weights: old versions stored them for instance norm."""
    return {
        name: tensor
        for name, tensor in state.items()
        if not name.endswith(_STATISTICS) or f"{name.rpartition('.')[0]}.weight" in state
    }


def by_direction(checkpoints: Sequence[Checkpoint]) -> dict[Direction, Checkpoint]:
    """One checkpoint for each direction, by G_A and G_B (or D_A and D_B, whose D judges what that G makes) in the file names;
    otherwise the first is a to b, the second b to a.

    Raises:
        UserError: there are more than two, or two for one direction.
    """
    ways: list[Direction] = [("a", "b"), ("b", "a")]
    if len(checkpoints) > 2:
        raise UserError(
            f"{len(checkpoints)} files were given; a model of this form has one file for each direction, two at most."
        )
    found: dict[Direction, Checkpoint] = {}
    for i, checkpoint in enumerate(checkpoints):
        told = re.search(r"[GD]_([AB])(?![A-Za-z])", checkpoint.path.stem)
        way = ways[i] if told is None else ways["AB".index(told[1])]
        if way in found:
            raise UserError(f"{checkpoint.path} and {found[way].path} are both for the direction {way[0]} to {way[1]}.")
        found[way] = checkpoint
    return dict(sorted(found.items()))


def image_domains(names: tuple[str, str], channels: Mapping[Direction, tuple[int, int]]) -> dict[str, Domain]:
    """The domains a and b as images, from the numbers of channels (in, out) of each direction, which must agree."""
    counts: dict[str, int] = {}
    for way, numbers in channels.items():
        for key, number in zip(way, numbers, strict=True):
            if counts.setdefault(key, number) != number:
                raise UserError(f"the files do not belong together: {counts[key]} and {number} channels in the domain '{key}'.")
    return {key: Domain(name, "image", counts[key]) for key, name in zip("ab", names, strict=True)}


def common(found: Mapping[Direction, Mapping[str, Any]], checkpoints: Mapping[Direction, Checkpoint]) -> dict[str, Any]:
    """The options, which all directions must share; otherwise a UserError names the differences."""
    first, *others = found.values()
    for other in others:
        if different := [name for name in first if first[name] != other[name]]:
            files = " and ".join(str(checkpoint.path) for checkpoint in checkpoints.values())
            raise UserError(f"{files} differ in {', '.join(different)}: convert them one by one.")
    return dict(first)
