"""What pages repeat from the code: options of components, keys of a recipe, what ``--help`` says, and parts of files.

``python docs/cogs.py`` writes them, and recipes/schema.json for editors; ``--check --diff`` says what differs.
"""

import ast
import io
import json
import sys
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import redirect_stdout, suppress
from importlib import import_module
from pathlib import Path
from textwrap import dedent
from typing import Any, get_args
from unittest.mock import patch

from cogapp import Cog
from pydantic import BaseModel

from i2i import cli
from i2i.recipe import Recipe
from i2i.recipe.components import Judge
from i2i.recipe.options import options_model
from i2i.registry import Registry, default_registry
from i2i.testing.described import Option, describe, listed
from i2i.testing.schema import recipe_schema, section_models

ROOT = Path(__file__).resolve().parents[1]
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
PAGES = sorted(page for pattern in ("*.md", "docs/*.md", "plugins/*/README.md") for page in ROOT.glob(pattern))


CORE = ("plugins", "run")
"""The commands that no plugin declares."""


def main(arguments: Sequence[str], pages: Iterable[Path] = PAGES, schema: Path = ROOT / "recipes/schema.json") -> int:
    """0 if all is well, 5 if a page or the schema differs."""
    prologue = "from cogs import commands, judge, keys, mapping, options, source"
    given = ["cog", *(arguments or ["-r"]), "-I", str(ROOT / "docs"), "-p", prologue]
    code = Cog().main([*given, *(str(page) for page in pages if "[[[cog" in page.read_text(encoding="utf-8"))])
    ours = Registry({name: import_module(module) for name, module in DECLARED["i2i"].items()})
    text = json.dumps(recipe_schema(ours), indent=1, ensure_ascii=False, default=str) + "\n"
    if not arguments:
        schema.write_text(text, encoding="utf-8")
    elif schema.read_text(encoding="utf-8") != text:
        print(f"{schema} differs")
        return 5
    return int(code or 0)


def options(kind: str, *names: str) -> str:
    """The options of components of one kind; what several have alike stands once."""
    owners: dict[Option, list[str]] = {}
    for name in names:
        for option in describe(kind, default_registry().get(kind, name).factory):
            owners.setdefault(option, []).append(name)
    if len(names) == 1:
        return _table([f"{kind} `{names[0]}`"], owners)
    shared_first = dict(sorted(owners.items(), key=lambda item: -len(item[1])))
    of = ["all" if len(own) == len(names) else ", ".join(own) for own in shared_first.values()]
    return _table(["option", "of"], shared_first, of)


def mapping(kind: str, name: str, option: str) -> str:
    """The keys of an option that is a mapping."""
    model = options_model(kind, default_registry().get(kind, name).factory)
    return _table([f"`{option}`"], listed(_model(model, option)))


def keys(place: str) -> str:
    """The keys of a section of recipes: ``train`` or ``train.schedule``."""
    model: type[BaseModel] = Recipe
    for key in place.split("."):
        model = _model(model, key)
    return _table([f"`{place}`"], listed(model))


def judge() -> str:
    """The keys of a discriminator in a list that are not its options."""
    return _table(["in a list of discriminators"], [option for option in listed(Judge) if option.name in Judge.own[1:]])


def commands() -> str:
    """What each command of ours says to ``--help``."""
    names = sorted({*CORE, *DECLARED["i2i.commands"]})
    return "\n".join(f"## i2i {name}\n\n```\n{_help(*name.split())}```\n" for name in names)


def source(path: str, *names: str) -> str:
    """A file of the project as a block of code, or parts of a module.

    *names* are ``""`` for all above its first class or function, ``Class``, ``Class.method``, or ``Class..method`` for a class
    down to that method.
    """
    text = (ROOT / path).read_text(encoding="utf-8").rstrip()
    parts = [_part(text, name) for name in names] or [text]
    return f"\n```{_LANGUAGES[Path(path).suffix]}\n" + "\n\n\n".join(parts) + "\n```\n"


_LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml"}


def _part(text: str, name: str) -> str:
    """The lines of a part of a module, at the margin."""
    lines, found = text.splitlines(), ast.parse(text)
    defined = [node for node in ast.walk(found) if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    if not name:
        return "\n".join(lines[: min(node.lineno for node in defined) - 1]).rstrip()
    first, last = name.replace("..", ".").split(".")[:1], name.replace("..", ".").split(".")
    start, end = (_named(found, path) for path in ((first if ".." in name else last), last))
    return dedent("\n".join(lines[start.lineno - 1 : end.end_lineno]))


def _named(found: Any, path: Sequence[str]) -> Any:
    """The class or function of that name, within the one before it."""
    for name in path:
        found = next(part for part in found.body if getattr(part, "name", None) == name)
    return found


def _help(*command: str) -> str:
    """What a terminal of 80 columns shows."""
    shown = io.StringIO()
    terminal, called = patch.dict("os.environ", COLUMNS="80"), patch.object(sys, "argv", ["i2i", *command, "--help"])
    script = patch.object(sys.modules["__main__"], "__package__", None)  # not python -m PACKAGE.i2i, whoever calls this
    with terminal, called, script, redirect_stdout(shown), suppress(SystemExit):
        cli.main()
    return shown.getvalue()


def _model(model: type[BaseModel], key: str) -> type[BaseModel]:
    """The model of a field, or of the section that a plugin declares."""
    if model is Recipe and key not in Recipe.model_fields:
        return section_models()[key]
    return next(part for part in _within(model.model_fields[key].annotation) if issubclass(part, BaseModel))


def _within(annotation: Any) -> Iterator[type]:
    """The types that a type is made of."""
    if isinstance(annotation, type) and not get_args(annotation):
        yield annotation
    for part in get_args(annotation):
        yield from _within(part)


def _table(head: Sequence[str], listed: Iterable[Option], of: Sequence[str] = ()) -> str:
    """A row for each option; the second of two heads is that of the column *of*."""
    first, *second = head
    lines = [[first, *second, "type", "default", "what it is"], ["---"] * (4 + len(second))]
    for i, option in enumerate(listed):
        default = option.default if option.default == "required" else f"`{option.default}`"
        lines.append([f"`{option.name}`", *of[i : i + 1], option.type, default, option.help])
    rows = (" | ".join(cell.replace("|", "\\|") for cell in line) for line in lines)
    return "".join(f"\n| {row} |" for row in rows) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
