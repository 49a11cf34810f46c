"""Holds pictures out of training if no path says which: a share of them, chosen by a hash of their names."""

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Annotated, TypeVar

from pydantic import Field

from i2i.errors import UserError

T = TypeVar("T")

Holdout = Annotated[
    Annotated[float, Field(gt=0, lt=1)] | None,
    Field(description="The fraction held out of train for val and test, if no path has {split}."),
]


def belongs(name: str, split: str, share: float) -> bool:
    """Whether the picture of that name is in the split; it stays there when other pictures are added."""
    held = int.from_bytes(sha256(name.encode()).digest()[:8]) < share * 2**64
    return held != (split == "train")


def those_of(split: str, share: float, things: Sequence[T], name: Callable[[T], str], told: str) -> list[T]:
    """The things that belong to the split, by their names; *told* are all of them in words.

    Raises:
        UserError: none does.
    """
    kept = [thing for thing in things if belongs(name(thing), split, share)]
    if not kept:
        raise UserError(f"holdout: {share} of {told} leaves none for '{split}'. Choose another share.")
    return kept


def without_split(*patterns: str | None) -> tuple[str, ...]:
    """Those of the paths that are the same in every split."""
    return tuple(dict.fromkeys(pattern for pattern in patterns if pattern is not None and "{split}" not in pattern))


def check_holdout(share: float | None, *patterns: str | None) -> None:
    """Refuse a part of what the paths split already.

    Raises:
        UserError: one of them does.
    """
    if share is not None and any("{split}" in pattern for pattern in patterns if pattern is not None):
        raise UserError("holdout: the folders of the splits already say which pictures are held out. Leave it out.")
