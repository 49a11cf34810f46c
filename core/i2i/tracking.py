"""Curves, grids and the recipe in TensorBoard or any tracker that Accelerate knows. None that fails ends training."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from i2i.errors import UserError, nearest
from i2i.pictures import read_picture
from i2i.registry import hookimpl
from i2i.telemetry import without_clearml_updates

if TYPE_CHECKING:
    from i2i.state import Run


class Tracking:
    """Passes on the recipe, what metrics.jsonl gets, and the sample grids."""

    def __init__(self, run: "Run", note: Callable[[str], None]) -> None:
        self.note = note
        self.trackers: dict[str, Any] = {}
        self.missed: set[tuple[str, str]] = set()
        for name in run.recipe.log.trackers:
            if self._try(name, partial(self._start, name, run)):
                self._try_part(name, "the recipe", partial(_store, self.trackers[name], run))

    def log(self, values: dict[str, Any], step: int) -> None:
        """Numbers by name, at a step."""
        numbers = {key: value for key, value in values.items() if key != "step"}
        for name, tracker in list(self.trackers.items()):
            spelled = {_NAMES[name](key): value for key, value in numbers.items()} if name in _NAMES else numbers
            self._try(name, partial(tracker.log, spelled, step=step))

    @hookimpl
    def grid_saved(self, run: "Run", path: Path) -> None:
        for name, tracker in self.trackers.items():
            self._try_part(name, "the sample grids", partial(_show, name, tracker, path, run.step))

    @hookimpl(trylast=True)
    def run_ended(self, run: "Run") -> None:
        """After the last grid, which a run that was stopped draws only now."""
        for name, tracker in list(self.trackers.items()):
            self._try(name, tracker.finish)

    def _start(self, name: str, run: "Run") -> None:
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
        """Whatever a tracker raises is noted once, and the tracker is left alone from then on."""
        try:
            action()
        except Exception as error:
            self.trackers.pop(name, None)
            self.note(f"warning: the tracker '{name}' has failed and is off ({type(error).__name__}: {error})")
        return name in self.trackers

    def _try_part(self, name: str, part: str, action: Callable[[], Any]) -> None:
        """A tracker that cannot take the recipe or a grid still gets the curves; each is noted once."""
        try:
            action()
        except Exception as error:
            if (name, part) not in self.missed:
                self.missed.add((name, part))
                self.note(f"warning: the tracker '{name}' goes on without {part} ({type(error).__name__}: {error})")


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
    """The leaves of nested mappings and lists under dotted paths; what is no number, truth value or text as JSON."""
    inner = values if isinstance(values, Mapping) else dict(enumerate(values)) if isinstance(values, list) else {}
    if not inner:
        yield place, values if isinstance(values, bool | int | float | str) else json.dumps(values)
    for key, value in inner.items():
        yield from flat(value, f"{place}.{key}" if place else str(key))


def _store(tracker: Any, run: "Run") -> None:
    tracker.store_init_configuration(dict(flat(run.recipe.model_dump(mode="json"))))


def _show(name: str, tracker: Any, path: Path, step: int) -> None:
    """Hand over a sample grid in the form that the tracker takes."""
    _SHOWN.get(name, _as_list)(tracker, read_picture(path).convert("RGB"), step)


def _as_list(tracker: Any, picture: Image.Image, step: int) -> None:
    """As the trackers of Accelerate take pictures by their documentation: W&B, SwanLab, and others' own."""
    if hasattr(tracker, "log_images"):
        tracker.log_images({"samples": [picture]}, step=step)


def _alone(tracker: Any, picture: Image.Image, step: int) -> None:
    tracker.log_images({"samples": picture}, step=step)


def _tensorboard(tracker: Any, picture: Image.Image, step: int) -> None:
    tracker.log_images({"samples": np.array(picture)[None]}, step=step, dataformats="NHWC")


def _comet(tracker: Any, picture: Image.Image, step: int) -> None:
    tracker.tracker.log_image(picture, name="samples", step=step)


def _dvclive(tracker: Any, picture: Image.Image, step: int) -> None:
    tracker.tracker.log_image(f"samples/{step}.png", picture)


def _mlflow(tracker: Any, picture: Image.Image, step: int) -> None:
    import_module("mlflow").log_image(picture, key="samples", step=step)


def _trackio(tracker: Any, picture: Image.Image, step: int) -> None:
    tracker.log({"samples": import_module("trackio").Image(picture)}, step=step)


_SHOWN: dict[str, Callable[[Any, Image.Image, int], None]] = {
    "aim": _alone,
    "clearml": _alone,
    "comet_ml": _comet,
    "dvclive": _dvclive,
    "mlflow": _mlflow,
    "tensorboard": _tensorboard,
    "trackio": _trackio,
}
"""The trackers that do not take a list of pictures."""

_NAMES: dict[str, Callable[[str], str]] = {"mlflow": lambda key: re.sub(r"[^\w\-. :/]", "_", key.replace("→", "to"))}
"""How a figure is called where ``eval/fid[vgg] day → night`` is refused."""
