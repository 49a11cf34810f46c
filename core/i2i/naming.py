"""What domains and directions are called where a person names them: on the command line, in Python, in messages."""

from collections.abc import Mapping, Sequence
from shlex import quote

from i2i.protocols import Direction, Domain


def label(domains: Mapping[str, Domain], key: str) -> str:
    """What a domain is called: its name, or its key where another domain has the same name."""
    name = domains[key].name
    return name if sum(domain.name == name for domain in domains.values()) == 1 else key


def named(domains: Mapping[str, Domain], directions: Sequence[Direction], way: Direction) -> dict[str, str]:
    """What tells *way* from the model's other directions: ``to``, and ``source`` where several lead to that target."""
    others = [source for source, target in directions if target == way[1] and source not in way]
    source = {"source": label(domains, way[0])} if others and way[0] != way[1] else {}
    return {"to": label(domains, way[1]), **source}


def as_options(words: Mapping[str, str]) -> str:
    """``--to night --source day``."""
    return " ".join(f"--{name} {quote(word)}" for name, word in words.items())


def as_keywords(words: Mapping[str, str]) -> str:
    """``to='night', source='day'``."""
    return ", ".join(f"{name}={word!r}" for name, word in words.items())
