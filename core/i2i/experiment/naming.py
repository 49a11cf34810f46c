"""What domains are called after their folders, and the methods that translate between them."""

import re
from collections.abc import Mapping, Sequence
from glob import has_magic
from pathlib import Path

from i2i.building.naming import between, label
from i2i.protocols import Direction, Domain


def singular(word: str) -> str:
    """The word without a plural s: ``horses`` gives ``horse``; ``glass``, ``virus`` and ``iris`` stay.

    What cannot be printed becomes a space, and no more than 100 characters stay: models are saved with such names.
    """
    word = " ".join("".join(c if c.isprintable() else " " for c in word).split())[:100]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def named_after(place: str | Path) -> str:
    """What a domain is called after its folder, glob or file."""
    parts = [part for part in Path(place).expanduser().parts if "{split}" not in part and not has_magic(part)]
    last = Path(parts[-1]).stem if parts and Path(place).is_file() else (parts or [""])[-1]
    return singular(last) or "pictures"


def names_of(root: str | Path) -> tuple[str, str]:
    """What the two domains under one folder are called: ``horse2zebra`` holds horses and zebras."""
    left, two, right = Path(root).expanduser().resolve().name.partition("2")
    names = singular(left), singular(right)
    return names if two and all(names) else ("a", "b")


def known_as(word: str, names: Sequence[str]) -> str:
    """The domain that is meant, in the singular or the plural: ``zebras`` for ``zebra``, and the reverse."""
    return word if word in names else next((name for name in names if singular(name) == singular(word)), word)


def methods(domains: Mapping[str, Domain], directions: Sequence[Direction]) -> dict[str, Direction]:
    """The methods ``translate_SOURCE_to_TARGET``, each with its direction."""
    return {
        f"translate_{_identifier(label(domains, source))}_to_{_identifier(label(domains, target))}": (source, target)
        for source, target in between(directions)
    }


def _identifier(name: str) -> str:
    return re.sub(r"\W+", "_", name)
