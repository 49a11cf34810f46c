"""Curves and the recipe in TensorBoard or any tracker that Accelerate knows. None that fails ends training."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from typing import Any

from i2i.errors import UserError, nearest
from i2i.telemetry import without_clearml_updates
from i2i.training.state import Run


class Tracking:
    """Passes on the recipe and what metrics.jsonl gets, in the first process."""

    def __init__(self, run: Run, note: Callable[[str], None]) -> None:
        self.note = note
        self.trackers: dict[str, Any] = {}
        for name in run.recipe.log.trackers if run.accelerator.is_main_process else []:
            if self._try(name, partial(self._start, name, run)):
                self._store(name, run)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Numbers by name, at a step."""
        for name, tracker in list(self.trackers.items()):
            spelled = {_NAMES[name](key): value for key, value in values.items()} if name in _NAMES else dict(values)
            self._try(name, partial(tracker.log, spelled, step=step))

    def finish(self) -> None:
        """The run is over: what a tracker holds back is written."""
        for name, tracker in list(self.trackers.items()):
            self._try(name, tracker.finish)

    def _start(self, name: str, run: Run) -> None:
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        assert run.out is not None
        if name == "clearml":
            without_clearml_updates()
        made = LOGGER_TYPE_TO_CLASS[name]
        where: dict[str, Any] = {"logging_dir": run.out} if made.requires_logging_directory else {}
        if name == "dvclive":
            where["resume"] = run.step > 0  # else it removes the curves that it has
        tracker = made("tracking" if name == "tensorboard" else run.out.resolve().name, **where)  # there it names a folder
        tracker.start()
        self.trackers[name] = tracker

    def _try(self, name: str, action: Callable[[], Any]) -> bool:
        """An exception in a tracker is noted once, and the tracker is not used again."""
        try:
            action()
        except Exception as error:
            self.trackers.pop(name, None)
            self.note(f"warning: the tracker '{name}' failed and is turned off ({type(error).__name__}: {error})")
        return name in self.trackers

    def _store(self, name: str, run: Run) -> None:
        """A tracker that cannot take the recipe still gets the curves."""
        try:
            self.trackers[name].store_init_configuration(dict(flat(run.recipe.model_dump(mode="json"))))
        except Exception as error:
            self.note(without(name, "the recipe", error))


def without(name: str, part: str, error: Exception) -> str:
    """The note on a tracker that cannot take a part of what it is given."""
    return f"warning: the tracker '{name}' continues without {part} ({type(error).__name__}: {error})"


def check_trackers(names: list[str]) -> None:
    """Raises UserError for a tracker that does not exist or is not installed."""
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS
    from accelerate.utils import LoggerType

    known = [str(kind) for kind in LOGGER_TYPE_TO_CLASS]
    for name in names:
        if name not in known:
            raise UserError(f"log.trackers: there is no tracker '{name}'.{nearest(name, known)} There are: {', '.join(known)}.")
        if name in LoggerType and find_spec(name) is None:  # packages are called like their trackers; others' are classes
            raise UserError(f"log.trackers: the tracker '{name}' needs the package {name}: pip install {name}")


def flat(values: Any, place: str = "") -> Iterator[tuple[str, bool | int | float | str]]:
    """The leaves of nested mappings and lists under dotted paths; values that are not numbers, booleans or text become JSON."""
    inner = values if isinstance(values, Mapping) else dict(enumerate(values)) if isinstance(values, list) else {}
    if not inner:
        yield place, values if isinstance(values, bool | int | float | str) else json.dumps(values)
    for key, value in inner.items():
        yield from flat(value, f"{place}.{key}" if place else str(key))


_NAMES: dict[str, Callable[[str], str]] = {"mlflow": lambda key: re.sub(r"[^\w\-. :/]", "_", key.replace("→", "to"))}
"""How a figure is called where ``eval/fid[vgg] day → night`` is refused."""
