"""docs/migrating.md and docs/plugins.md name only keys, values, commands and options that exist."""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from i2i.objectives import Chosen
from i2i.recipe import Recipe
from i2i.recipe.nodes import setting
from i2i.recipe.options import options_model
from i2i.registry import default_registry

KINDS = ("dataset", "generator", "discriminator", "loss")


@pytest.fixture
def cogs(root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(root / "docs")
    return importlib.import_module("cogs")


def middle(page: str) -> Iterator[str]:
    """The code in the middle columns of its tables."""
    for row in re.findall(r"^\| (.*) \|$", page, re.MULTILINE):
        yield from re.findall("`([^`]+)`", row.split(" | ")[1]) if row.count(" | ") >= 1 else ()


def check_command(code: str, shown: str) -> None:
    name, *options = (word for word in re.split(r" (?=--)", code))
    section = re.search(rf"\n## {re.escape(name)}\n.*?(?=\n## |\Z)", shown, re.DOTALL)
    assert section is not None, f"{code}: no such command"
    for option in options:
        assert re.search(rf"^  {option.split()[0]}\b", section[0], re.MULTILINE), f"{code}: no such option"


def check_key(code: str, cogs: Any) -> None:
    """A key of a recipe, or KIND.NAME.OPTION, with a value or without."""
    key, _, value = code.partition(": ")
    first, *rest = key.split(".")
    if first in KINDS:
        model = options_model(first, default_registry().get(first, rest[0]).factory)
        rest = rest[1:]
    else:
        model = Recipe
        rest = [first, *rest]
        while len(rest) > 1:
            model = cogs._model(model, rest.pop(0))
    for option in rest:
        assert option in model.model_fields, f"{code}: there is no {option}"
        if value.endswith(" epochs"):
            assert "or epochs" in next(listed.type for listed in cogs.listed(model) if listed.name == option), code
        elif value:
            field = model.model_fields[option]
            made = TypeAdapter(field.annotation).validate_python(setting(f"{option}={value}")[1].plain())
            if isinstance(made, Chosen):
                assert made.name in default_registry().names("objective"), f"{code}: there is no such objective"


def check(code: str, cogs: Any, shown: str) -> None:
    if code.startswith("i2i "):
        check_command(code, shown)
    else:
        check_key(code, cogs)


def test_the_tables_of_other_programs_options_name_what_there_is(cogs: Any, root: Path) -> None:
    shown = (root / "docs/commands.md").read_text(encoding="utf-8")
    codes = list(middle((root / "docs/migrating.md").read_text(encoding="utf-8")))
    assert len(codes) > 120
    for code in codes:
        check(code, cogs, shown)


@pytest.mark.parametrize(
    "wrong",
    [
        "i2i translat",
        "i2i translate --too",
        "train.stepps",
        "train.schedule.share",
        "train.batch_size: 2 epochs",
        "generator.resnet.width: wide",
        "generator.resnet.widht",
        "loss.cyclegan.objective: vanilla",
        "dataset.folders.transform: {resize: 286, krop: 256}",
    ],
)
def test_what_there_is_not_is_found(cogs: Any, root: Path, wrong: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        check(wrong, cogs, (root / "docs/commands.md").read_text(encoding="utf-8"))


def test_every_option_of_plugins_has_its_sentence(root: Path) -> None:
    shown = (root / "docs/commands.md").read_text(encoding="utf-8")
    page = (root / "docs/plugins.md").read_text(encoding="utf-8").partition("## What the options do")[2].partition("\n## ")[0]
    for name in ("i2i plugins", "i2i plugins new", "i2i plugins test", "i2i plugins matrix"):
        section = re.search(rf"\n## {name}\n.*?(?=\n## )", shown, re.DOTALL)
        told = re.search(rf"^- `{name}[` ].*?(?=^- |\Z)", page, re.DOTALL | re.MULTILINE)
        assert section is not None
        assert told is not None
        options = set(re.findall(r"^  (--[a-z]+)", section[0], re.MULTILINE)) - {"--help"}
        assert options == set(re.findall(r"(--[a-z]+)", told[0])), name
