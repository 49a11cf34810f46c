"""The error for mistakes that the user can fix."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""The disk is full, the quota is used up, or a file may not grow further."""


class UserError(ValueError):
    """Bad input: a recipe, a file, an option, a combination that cannot work.

    The message says what is wrong, where (file:line:column, dotted path or image name) and what to do.
    The command line prints it without a traceback and exits with code 2.
    """


class DiskFullError(UserError):
    """The disk is full. *then* is what to do once some space is free."""

    path: Path | str
    """What could not be written."""

    def __init__(self, path: Path | str, then: str = "run the same command again") -> None:
        super().__init__(f"{path}: the disk is full. Free some space, then {then}.")
        self.path = path


def is_full(error: BaseException) -> bool:
    """Whether this is what a full disk gives; some libraries say it in the words of the system only."""
    return getattr(error, "errno", None) in _FULL or any(os.strerror(code) in str(error) for code in _FULL)


@contextmanager
def on_disk(path: Path) -> Iterator[None]:
    """What is written within belongs to *path*: a full disk, however it is found, is a ``DiskFullError`` that names it."""
    try:
        yield
    except DiskFullError:
        raise
    except Exception as error:
        if is_full(error):
            raise DiskFullError(path) from error
        raise


def printable(text: str) -> str:
    """Text with control characters escaped, as a stranger's names could control the terminal. Line breaks are kept."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def bounded(message: str) -> str:
    """A message that a person can read, whatever it quotes: 20 lines of 1,000 characters, 200 within quotes."""
    lines = re.sub(r"'([^'\n]{200})[^'\n]+'", r"'\1…'", message).split("\n")
    more = [f"… and {len(lines) - 20:,} more lines."] if len(lines) > 20 else []
    return "\n".join([line if len(line) <= 1000 else f"{line[:1000]} …" for line in lines[:20]] + more)


def one_line(said: object, most: int = 300) -> str:
    """The message of an error, or a value, on one line, cut after *most* characters; its type if it is empty."""
    text = " ".join(str(said).split()) or type(said).__name__
    return text if len(text) <= most else f"{text[:most]} …"


def first_line(error: BaseException) -> str:
    """The first line of an error's message; its type if the message is empty."""
    return str(error).strip().split("\n")[0] or type(error).__name__


def nearest(word: str, choices: "list[str] | tuple[str, ...]") -> str:
    """``" Did you mean 'X'?"`` for the closest of *choices*, or an empty string when none is close."""
    from difflib import get_close_matches

    close = get_close_matches(word, choices, n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""


def one_of(word: str, choices: "tuple[str, ...]", what: str) -> str:
    """The word, if it is one of *choices*.

    Raises:
        UserError: it is not; the message names the nearest choice and all choices.
    """
    if word not in choices:
        raise UserError(f"{what}: there is no '{word}'.{nearest(str(word), choices)} Choose one of {', '.join(choices)}.")
    return word
