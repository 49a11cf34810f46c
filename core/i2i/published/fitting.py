"""Another network's weights for one's own, by name: what fits, what is cut to fit, and what stays as it is."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from i2i.errors import UserError
from i2i.protocols import Domain
from i2i.published import State


@dataclass(frozen=True)
class Channels:
    """How the channels of a label domain moved: ``pairs`` (there, here) of what both have, and their numbers in all."""

    name: str
    there: int
    here: int
    pairs: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Fit:
    """``state``, with every name of one's own network; ``taken`` are the names that came over whole.

    ``cut`` are those of which the channels of common classes came over; the others stayed as they were: ``fresh``, because the
    shape is another or belongs to a layer whose other weights are, ``missing``, because the other network has no such name.
    ``unused`` are names that only the other network has.
    """

    state: State
    taken: tuple[str, ...]
    cut: Mapping[str, str]
    fresh: Mapping[str, str]
    missing: tuple[str, ...]
    unused: tuple[str, ...]

    @property
    def problems(self) -> list[str]:
        """Why the two are not the same network; empty if they are."""
        lacking = [f"{name} is missing there" for name in self.missing]
        return [*(f"{name} {why}" for name, why in {**self.cut, **self.fresh}.items()), *lacking, *only_there(self.unused)]

    def lines(self) -> list[str]:
        """What was taken, and all that was not, a line for each layer."""
        lines = [f"{len(self.taken)} of {len(self.state)} tensors are taken"]
        lines += [f"{name} is taken in part: it {why}" for name, why in self.cut.items()]
        lines += [f"{layer} begins anew: {why}" for layer, why in _by_layer(self.fresh).items()]
        lines += [f"{layer} begins anew: it is missing there" for layer in _by_layer(dict.fromkeys(self.missing, ""))]
        return [*lines, *only_there(_by_layer(dict.fromkeys(self.unused, "")))]


def only_there(names: Iterable[str]) -> list[str]:
    """A line for each name that only the other network has."""
    return [f"{name} has no place here" for name in names]


def shortened(lines: list[str], most: int) -> list[str]:
    """The first *most* lines, and how many more there are."""
    return lines if len(lines) <= most else [*lines[:most], f"and {len(lines) - most} more"]


def fit(
    theirs: Mapping[str, Tensor], own: Mapping[str, Tensor], moved: Iterable[Channels] = (), images: Iterable[int] = ()
) -> Fit:
    """The state of one's *own* network with all weights of *theirs* that fit by name and shape.

    A weight whose dimension 0 or 1 are the channels of a label domain takes those of the classes that both have; these channels
    may be followed by those of a picture that is judged with its labels, whose numbers may be any of *images*. Every other
    weight of another shape stays as it is in *own*, and with it the whole layer.
    """
    state, taken, cut, other = dict(own), [], dict[str, str](), dict[str, str]()
    for name, tensor in own.items():
        if name not in theirs:
            continue
        given = theirs[name]
        shapes = f"is {_shape(given)} there and {_shape(tensor)} here"
        if given.shape == tensor.shape:
            state[name] = given.to(tensor.dtype)
            taken.append(name)
        elif found := _cut(given, tensor, moved, images):
            state[name], cut[name] = found[0], f"{shapes}; {found[1]}"
        else:
            other[name] = shapes
    whole = {layer_of(name): why for name, why in other.items()}
    for name in [name for name in taken if layer_of(name) in whole and not any(layer_of(c) == layer_of(name) for c in cut)]:
        taken.remove(name)
        state[name], other[name] = own[name], f"belongs to a layer that {whole[layer_of(name)]}"
    missing = tuple(name for name in own if name not in theirs)
    return Fit(state, tuple(taken), cut, other, missing, tuple(name for name in theirs if name not in own))


def moved_channels(there: Mapping[str, Domain], here: Mapping[str, Domain]) -> list[Channels]:
    """What became of the channels of the label domains that both have and that differ in their number."""
    found = []
    for key in there.keys() & here.keys():
        one, other = there[key], here[key]
        if one.kind == other.kind == "labels" and one.channels != other.channels and one.classes and other.classes:
            pairs = [(one.classes.index(name), i) for i, name in enumerate(other.classes) if name in one.classes]
            if one.instances and other.instances:
                pairs.append((one.channels - 1, other.channels - 1))
            found.append(Channels(other.name, one.channels, other.channels, tuple(pairs)))
    return found


def check_domains(there: Mapping[str, Domain], here: Mapping[str, Domain], source: str, allow: bool) -> list[str]:
    """That a network for the domains *there*, of a *source*, suits those *here*; returns what one should know.

    Raises:
        UserError: it was trained the other way round, or for other kinds, numbers of channels or classes and not *allow*.
    """
    names = [{key: domains[key].name for key in there.keys() & here.keys()} for domains in (there, here)]
    if names[0] != names[1] and sorted(names[0].values()) == sorted(names[1].values()):
        key = min(key for key in names[0] if names[0][key] != names[1][key])
        raise UserError(
            f"{source}: it was trained the other way round: the domain '{key}' is '{names[0][key]}' there and "
            f"'{names[1][key]}' here. Exchange them in the data set, or give them other names."
        )
    found = differences(there, here)
    if found and not allow:
        raise UserError(
            f"{source}: it was trained for other domains: {'; '.join(found)}. Take data like its own, or set "
            "missing: allow in train.start ({generator: …, missing: allow}), which begins anew with the layers that do not fit."
        )
    renamed = [key for key in here if key in there and names[0][key] != names[1][key]]
    return [*found, *(f"the domain '{key}' was '{names[0][key]}' there and is '{names[1][key]}' here" for key in renamed)]


def differences(there: Mapping[str, Domain], here: Mapping[str, Domain]) -> list[str]:
    """In what domains differ that a network depends on; not in their names."""
    found = []
    for key, own in here.items():
        theirs = there.get(key)
        if theirs is None:
            found.append(f"there is no domain '{key}' like '{own.name}'")
        elif (theirs.kind, theirs.channels, theirs.instances) != (own.kind, own.channels, own.instances):
            one, other = (f"{d.kind} of {d.channels} channels" + ", one for borders" * d.instances for d in (theirs, own))
            found.append(f"the domain '{key}' is '{theirs.name}' ({one}) there and '{own.name}' ({other}) here")
        elif theirs.classes and own.classes and theirs.classes != own.classes:
            i = next(i for i, (a, b) in enumerate(zip(theirs.classes, own.classes, strict=True)) if a != b)
            found.append(f"class {i} of '{own.name}' is '{theirs.classes[i]}' there and '{own.classes[i]}' here")
    return found


def layer_of(name: str) -> str:
    """The layer that a weight belongs to, ``a.conv`` of ``a.conv.parametrizations.weight.original`` too."""
    return name.partition(".parametrizations.")[0] if ".parametrizations." in name else name.rpartition(".")[0] or name


def _cut(given: Tensor, own: Tensor, moved: Iterable[Channels], images: Iterable[int]) -> tuple[Tensor, str] | None:
    """*own* with the channels of common classes from *given*, and which those are; None if the shapes have another reason."""
    if given.ndim != own.ndim or own.ndim < 2:
        return None
    dims = [d for d, (one, other) in enumerate(zip(given.shape, own.shape, strict=True)) if one != other]
    for change in moved:
        for rest in (0, *images):
            if dims in ([0], [1]) and (given.shape[dims[0]], own.shape[dims[0]]) == (change.there + rest, change.here + rest):
                pairs = [*change.pairs, *((change.there + i, change.here + i) for i in range(rest))]
                if not pairs:
                    return None
                there, here = (torch.tensor(part) for part in zip(*pairs, strict=True))
                made = own.detach().clone()
                made.index_copy_(dims[0], here.to(made.device), given.index_select(dims[0], there).to(made))
                return made, f"the channels of {len(change.pairs)} classes of '{change.name}' that both have are copied"
    return None


def _by_layer(why: Mapping[str, str]) -> dict[str, str]:
    """The reasons by layer, that of the first weight whose own shape differs."""
    found: dict[str, str] = {}
    for name, reason in sorted(why.items(), key=lambda item: item[1].startswith("belongs")):
        found.setdefault(layer_of(name), f"{name.rpartition('.')[2]} {reason}")
    return found


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "one number"
