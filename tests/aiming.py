"""Ends a process, as SIGKILL does, at a chosen write: a fork of the tests is patched, and i2i knows nothing of it."""

import os
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from i2i.training import log

WRITES = ("checkpoint", "model", "best", "grid", "report", "metrics")
MOMENTS = ("half", "before", "after")
_NAMED = {"model": "model", "best": "best", "report.html": "report", "metrics.jsonl": "metrics"}


@dataclass(frozen=True)
class Aim:
    """The *number*-th such write: while it is half done, or before or after it gets its name."""

    write: str
    moment: str
    number: int


def kind_of(place: Path) -> str:
    """What is written there; an older folder that is put aside counts, so that "after" is also between two renames."""
    name = place.name.removeprefix(".").removesuffix(".previous")
    if place.parent.name == "samples":
        return "grid"
    return "checkpoint" if re.fullmatch(r"step-\d{8}", name) else _NAMED.get(name, "")


def arm(aim: Aim, mark: Path) -> None:
    """From here on the first process of a run ends at that write, and leaves a *mark*."""
    left = aim.number

    def end() -> None:
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)

    def due(place: Path) -> bool:
        nonlocal left
        left -= kind_of(place) == aim.write and os.environ.get("RANK", "0") == "0"
        return left == 0

    def around(real: Callable[[Path, Any], Path]) -> Callable[[Path, Any], Path]:
        def named(partial: Path, place: Any) -> Path:
            if not due(Path(place)):
                return real(partial, place)
            if aim.moment == "half":
                _cut(partial)
            if aim.moment != "after":
                end()
            made = real(partial, place)
            end()
            return made

        return named

    real = log.append

    def append(path: Path, line: str) -> None:
        if not due(path):
            return real(path, line)
        if aim.moment == "half":
            with path.open("a") as file:
                file.write(line[: len(line) // 2])
        elif aim.moment == "after":
            real(path, line)
        return end()

    Path.rename, Path.replace = around(Path.rename), around(Path.replace)  # type: ignore[method-assign]
    log.append = append


def _cut(partial: Path) -> None:
    """As if the writing had come half as far."""
    for path in [partial] if partial.is_file() else [path for path in partial.rglob("*") if path.is_file()]:
        os.truncate(path, path.stat().st_size // 2)
