"""The one error that a person caused and can fix."""


class UserError(ValueError):
    """Bad input: a recipe, a file, an option, a combination that cannot work.

    The message says what is wrong, where (file:line:column, dotted path or image name) and what to do.
    The command line prints it without a traceback and exits with code 2.
    """


def printable(text: str) -> str:
    """Text with control characters as Python writes them: a stranger's names could rule the terminal. Lines stay lines."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def one_line(error: BaseException, most: int = 300) -> str:
    """What an error says, on one line of at most *most* characters; its type where it says nothing."""
    return " ".join(str(error).split())[:most] or type(error).__name__


def first_line(error: BaseException) -> str:
    """The first line of what an error says; its type where it says nothing."""
    return str(error).strip().split("\n")[0] or type(error).__name__


def nearest(word: str, choices: "list[str] | tuple[str, ...]") -> str:
    """``" Did you mean 'X'?"`` for the closest of *choices*, or an empty string when none is close."""
    from difflib import get_close_matches

    close = get_close_matches(word, choices, n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""


def one_of(word: str, choices: "tuple[str, ...]", what: str) -> str:
    """The word, if it is one of *choices*.

    Raises:
        UserError: it is not; with the nearest and all that there are.
    """
    if word not in choices:
        raise UserError(f"{what}: there is no '{word}'.{nearest(str(word), choices)} Choose one of {', '.join(choices)}.")
    return word
