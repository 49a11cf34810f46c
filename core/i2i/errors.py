"""The error for mistakes that the user can fix."""

import re


class UserError(ValueError):
    """Bad input: a recipe, a file, an option, a combination that cannot work.

    The message says what is wrong, where (file:line:column, dotted path or image name) and what to do.
    The command line prints it without a traceback and exits with code 2.
    """


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
