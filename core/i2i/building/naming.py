"""The names of domains and directions for users: on the command line, in Python, in messages."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from shlex import quote
from typing import Any

from i2i.errors import UserError, nearest
from i2i.protocols import Direction, Domain, Needs

NAME = 200
"""So many letters the name of a domain or class may have."""


def label(domains: Mapping[str, Domain], key: str) -> str:
    """What a domain is called: its name, or its key where another domain has the same name."""
    name = domains[key].name
    return name if sum(domain.name == name for domain in domains.values()) == 1 else key


def named(
    domains: Mapping[str, Domain], directions: Sequence[Direction], way: Direction, any_source: bool = False
) -> dict[str, str]:
    """What tells *way* from the model's other directions: ``to``, and ``source`` where several lead to that target."""
    others = [source for source, target in directions if target == way[1] and source not in way]
    source = {"source": label(domains, way[0])} if others and way[0] != way[1] and not any_source else {}
    return {"to": label(domains, way[1]), **source}


def takes_any_source(generator: Any, domains: Mapping[str, Domain], directions: Sequence[Direction]) -> bool:
    """Whether a target is enough to say what a generator should do: it takes any source, and all are prepared alike."""
    sources = [domains[source] for source, _ in directions]
    alike = all((d.kind, d.channels, d.preparation) == (e.kind, e.channels, e.preparation) for d, e in pairwise(sources))
    return bool(getattr(generator, "any_source", False)) and alike


def as_options(words: Mapping[str, str]) -> str:
    """``--to night --source day``."""
    return " ".join(f"--{name} {quote(word)}" for name, word in words.items())


def as_keywords(words: Mapping[str, str]) -> str:
    """``to='night', source='day'``."""
    return ", ".join(f"{name}={word!r}" for name, word in words.items())


def between(directions: Sequence[Direction]) -> list[Direction]:
    """The directions between two domains, without reconstructions."""
    return [(source, target) for source, target in directions if source != target]


def keyed(directions: Sequence[Direction]) -> dict[str, Direction]:
    """Directions by what a recipe and a model call the generator of each: ``ab``, or ``ink_flat`` where keys are longer."""
    joint = "" if all(len(key) == 1 for way in directions for key in way) else "_"
    return {f"{source}{joint}{target}": (source, target) for source, target in directions}


def judged(needs: Needs) -> dict[str, str]:
    """The domains whose images a discriminator judges, each with the source of a direction into it."""
    return {target: source for source, target in between(needs.directions if needs.judged is None else needs.judged)}


def chosen(
    domains: Mapping[str, Domain], directions: Sequence[Direction], to: str | None, source: str | None, any_source: bool = False
) -> Direction:
    """The direction given by domains' names or keys; an omitted one is inferred if only one is possible.

    For a generator that takes *any_source* the target is enough, and the first of its sources is taken.

    Raises:
        UserError: there is no such domain or way, or more than one way.
    """
    target_key = None if to is None else key_of(domains, to, [t for _, t in directions], "to")
    source_key = None if source is None else key_of(domains, source, [s for s, _ in directions], "source")
    ways = between(directions) if target_key is None or target_key != source_key else list(directions)
    found = [way for way in ways if target_key in (None, way[1]) and source_key in (None, way[0])]
    if not found:
        raise UserError(f"the model does not translate in that direction. It translates {_arrows(domains, ways)}.")
    if len(found) > 1 and not (any_source and target_key):
        given = {"to": to, "source": source}
        words = {name: word for name, word in named(domains, directions, found[0], any_source).items() if not given[name]}
        raise UserError(
            f"the model translates {_arrows(domains, found)}. Choose one, for instance {as_options(words)} "
            f"(in Python {as_keywords(words)})."
        )
    return found[0]


def key_of(domains: Mapping[str, Domain], word: str, keys: Sequence[str], role: str) -> str:
    """The key of the domain with that name or key, among *keys*.

    Raises:
        UserError: there is no such domain; *role* is the option that named it.
    """
    of_that_name = [key for key in dict.fromkeys(keys) if label(domains, key) == word]
    if of_that_name or word in keys:
        return of_that_name[0] if of_that_name else word
    names = list(dict.fromkeys(label(domains, key) for key in keys))
    hint, listed = nearest(word, names), ", ".join(f"'{name}'" for name in names)
    raise UserError(f"{role}: the model has no domain '{word}'.{hint} Choose one of {listed}.")


def _arrows(domains: Mapping[str, Domain], ways: Sequence[Direction]) -> str:
    return ", ".join(f"{label(domains, source)} → {label(domains, target)}" for source, target in ways) or "nothing"
