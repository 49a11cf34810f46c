"""``--set``: the same text is the same value, whichever command reads it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import typer.main

import terminal
import toy
from i2i import cli
from i2i.errors import UserError
from i2i.protocols import Direction, Domain
from i2i.published import Checkpoint
from i2i.registry import Registry, hookimpl

TEXT = "[1e-4, no, on, Yes, true, 0x10, 010, 1:30, 2020-01-01, 1_000, ~, 'no', {a: off}]"
"""YAML 1.1 would read eight of these as something else."""
VALUE = [1e-4, "no", "on", "Yes", True, 16, 10, "1:30", "2020-01-01", "1_000", None, "no", {"a": "off"}]

COMMANDS = {
    "run": ("dataset.note", ["recipe.yaml"]),
    "eval": ("dataset.note", ["runs/toy", "--metrics", "l1", "--data", "recipe.yaml"]),
    "data check": ("dataset.note", ["recipe.yaml"]),
    "data pack": ("dataset.note", ["recipe.yaml", "--out", "shards"]),
    "convert": ("note", ["weights.pt", "--from", "noted", "--out", "model"]),
    "plugins test": ("generator.noted.note", ["noted"]),
    "plugins matrix": ("generator.noted.note", []),
}
"""All commands that take ``--set``: an option that a component of ``Noted`` has, and their other arguments."""


class Noted:
    """Components that write down what they were given."""

    def __init__(self) -> None:
        self.given: list[Any] = []

    def take(self, note: Any) -> Any:
        self.given.append(note)
        raise UserError("noted")

    @hookimpl
    def register_datasets(self) -> dict[str, Any]:
        def noted(*, note: Any = None, split: str = "train") -> Any:
            return self.take(note)

        return {"noted": noted}

    @hookimpl
    def register_generators(self) -> dict[str, Any]:
        def noted(*, domains: Mapping[str, Domain], directions: Sequence[Direction], note: Any = None) -> Any:
            return self.take(note)

        return {"noted": noted}

    @hookimpl
    def register_converters(self) -> dict[str, Any]:
        def noted(files: Sequence[Checkpoint], names: tuple[str, str], settings: Mapping[str, Any]) -> Any:
            return self.take(settings["note"])

        return {"noted": noted}


@pytest.fixture
def noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Noted:
    """The only plugin beside the toys, in a working directory with a recipe and a checkpoint."""
    plugin = Noted()
    monkeypatch.chdir(tmp_path)
    terminal.install(monkeypatch, Registry({"toys": toy, "noted": plugin}))
    Path("toy.yaml").write_text(toy.RECIPE)
    Path("recipe.yaml").write_text(toy.RECIPE.replace("stripes", "noted"))
    torch.save({"weight": torch.zeros(1)}, "weights.pt")
    return plugin


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_reads_the_same_value(command: str, noted: Noted, monkeypatch: pytest.MonkeyPatch) -> None:
    key, arguments = COMMANDS[command]
    if command == "eval":
        terminal.call(monkeypatch, "run", "toy.yaml", "--set", "train.steps=1")
    terminal.call(monkeypatch, *command.split(), *arguments, "--set", f"{key}={TEXT}")
    assert noted.given[0] == VALUE
    assert [type(item) for item in noted.given[0]] == [type(item) for item in VALUE]


def test_those_are_all_commands_that_take_it() -> None:
    assert {name for name, command in commands(typer.main.get_command(cli.app)) if takes_set(command)} == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("text", ["{key}", "=3", "{key}=[1", "{key}={{a: 1, a: 2}}"])
def test_what_is_no_setting_is_one_message(
    command: str, text: str, noted: Noted, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key, arguments = COMMANDS[command]
    given = text.format(key=key)
    assert terminal.call(monkeypatch, *command.split(), *arguments, "--set", given) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"i2i: --set {given}: ")
    assert told.count("\n") == 1
    assert noted.given == []


def commands(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """All commands below a group, with the words that call them."""
    for name, command in group.commands.items():
        words = f"{path} {name}".strip()
        yield words, command
        if hasattr(command, "commands"):
            yield from commands(command, words)


def takes_set(command: Any) -> bool:
    made = command.make_context("", [], resilient_parsing=True).command  # a declared command is made when it is called
    return any("--set" in parameter.opts for parameter in made.params)
