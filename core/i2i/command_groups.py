"""Groups of commands: the core's own, and those that plugins declare, imported when they are called."""

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from i2i.declared import COMMANDS, DISABLE, Declared, declared, declared_by_two, first_line
from i2i.errors import UserError


class Lazy(TyperCommand):
    """A declared command. Its help is read from the source; the command itself is made when it is called."""

    def __init__(self, claims: list[Declared]) -> None:
        self.claims = [claim for claim in claims if not claim.disabled] or claims
        super().__init__(name=claims[0].name.split()[-1], hidden=all(claim.disabled for claim in claims))

    def get_short_help_str(self, limit: int = 45) -> str:
        if len(self.claims) > 1:
            return f"Declared by the plugins {' and '.join(repr(claim.plugin) for claim in self.claims)}."
        self.help = first_line(self.claims[0].target)
        return super().get_short_help_str(limit)

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context of the real command: what is called from here on is that one.

        Raises:
            UserError: two plugins declare it, its plugin is disabled, or it cannot be imported.
        """
        if len(self.claims) > 1:
            raise declared_by_two("command", self.claims)
        claim = self.claims[0]
        if claim.disabled:
            raise UserError(f"the command '{claim.name}' belongs to {claim.owner}, which {DISABLE} turns off.")
        return _made(claim).make_context(info_name, args, parent, **extra)


def _made(claim: Declared) -> Any:
    """The command of a function, or of a typer.Typer.

    Raises:
        UserError: it is neither, or typer cannot make a command of it.
    """
    found = claim.load("command")
    try:
        if isinstance(found, typer.Typer):
            return get_command(found)
        app = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
        app.command()(found)
        return get_command(app)
    except Exception as error:
        raise UserError(
            f"the command '{claim.name}' of {claim.owner}: '{claim.target}' must be a function with typer's annotations, or a "
            f"typer.Typer ({type(error).__name__}: {error})."
        ) from error


class Commands(TyperGroup):
    """A group under the words *prefix*, with the commands that plugins declare there. The core's own come first and win."""

    prefix: tuple[str, ...] = ()

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        depth = len(self.prefix)
        below: dict[str, list[Declared]] = {}
        for claim in declared(COMMANDS):
            words = claim.name.split()
            if tuple(words[:depth]) == self.prefix and len(words) > depth:
                below.setdefault(words[depth], []).append(claim)
        for word, claims in below.items():
            if word not in self.commands:
                self.commands[word] = self._below(word, claims)

    def _below(self, word: str, claims: list[Declared]) -> TyperCommand | TyperGroup:
        inner = [claim for claim in claims if len(claim.name.split()) > len(self.prefix) + 1]
        if len(inner) < len(claims):
            return Lazy(claims)
        made = group(*self.prefix, word)(name=word, no_args_is_help=True, rich_markup_mode=None)
        made.help = f"Commands: {', '.join(made.commands)}."
        made.hidden = all(claim.disabled for claim in claims)
        return made


def group(*prefix: str) -> type[Commands]:
    """The class of the group of that name, for ``typer.Typer(cls=…)``."""
    return type("Commands", (Commands,), {"prefix": prefix})
