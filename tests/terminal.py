"""``i2i`` as a terminal calls it, in this process."""

import sys

import pytest

from i2i import cli
from i2i.registry import Registry, default_registry
from i2i.testing import kit, listing
from i2i.training import running
from i2i.translation import translator as inference

REAL = default_registry
THERE = (cli, inference, running, kit, listing)
"""These import all modules that ask for the installed plugins, so that none of them is imported while it is patched."""


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The exit code of a command."""
    monkeypatch.setattr(sys, "argv", ["i2i", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def install(monkeypatch: pytest.MonkeyPatch, registry: Registry) -> None:
    """Take the plugins of a registry for those that are installed."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "i2i" and vars(module).get("default_registry") is REAL:
            monkeypatch.setattr(module, "default_registry", lambda: registry)
