"""What a call of a generator may give beside the image."""

from collections.abc import Container, Iterable
from typing import Any

from i2i.errors import UserError
from i2i.protocols import Needs


def accepted(generator: Any) -> frozenset[str]:
    """The keywords that a generator takes: its attribute ``accepts``, if it has one."""
    return frozenset(getattr(generator, "accepts", ()))


def owed(extra: str, keywords: Iterable[str], given: Container[str]) -> bool:
    """Whether a call that was given these of its *keywords* returns the extra: ``style_mean`` belongs to ``style``."""
    return all(key in given for key in keywords if extra.startswith(f"{key}_"))


def check_keywords(name: str, needs: Needs, component: str, generator: Any) -> None:
    """The generator takes what the loss *name* gives it, and so owes it the extras of keywords.

    Raises:
        UserError: it does not, or an extra belongs to a keyword that the loss does not give.
    """
    takes = accepted(generator)
    if missing := sorted(needs.keywords - takes):
        raise UserError(
            f"loss '{name}' gives the generator {_quoted(missing)}, and '{component}' accepts "
            f"{_quoted(sorted(takes)) or 'no keyword'}. Choose another generator, or options of both that fit."
        )
    if late := [extra for extra in sorted(needs.extras) if not owed(extra, takes, needs.keywords)]:
        raise UserError(
            f"loss '{name}' needs '{late[0]}', which the generator '{component}' returns only to a call that gives it "
            f"{_quoted(sorted(takes - needs.keywords))}, and the loss does not."
        )


def _quoted(names: list[str]) -> str:
    return " and ".join(f"'{name}'" for name in names)
