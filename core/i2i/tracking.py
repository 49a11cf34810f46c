"""Curves and grids in TensorBoard, or any tracker that Accelerate knows. A tracker that fails never ends training."""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from i2i.errors import UserError, nearest
from i2i.pictures import read_picture
from i2i.registry import hookimpl

if TYPE_CHECKING:
    from i2i.state import Run


class Tracking:
    """Passes on what metrics.jsonl gets, and the sample grids."""

    def __init__(self, run: "Run", note: Callable[[str], None]) -> None:
        self.note = note
        self.trackers: dict[str, Any] = {}
        for name in run.recipe.log.trackers:
            self._try(name, partial(self._start, name, run))

    def log(self, values: dict[str, Any], step: int) -> None:
        """Numbers by name, at a step."""
        numbers = {key: value for key, value in values.items() if key != "step"}
        for name, tracker in list(self.trackers.items()):
            self._try(name, partial(tracker.log, numbers, step=step))

    @hookimpl
    def grid_saved(self, run: "Run", path: Path) -> None:
        for name, tracker in list(self.trackers.items()):
            self._try(name, partial(_show, tracker, path, run.step))

    @hookimpl
    def run_ended(self, run: "Run") -> None:
        for name, tracker in list(self.trackers.items()):
            self._try(name, tracker.finish)

    def _start(self, name: str, run: "Run") -> None:
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        assert run.out is not None
        made = LOGGER_TYPE_TO_CLASS[name]
        where = {"logging_dir": run.out} if made.requires_logging_directory else {}
        tracker = made("tracking" if where else run.out.name, **where)
        tracker.start()
        self.trackers[name] = tracker

    def _try(self, name: str, action: Callable[[], Any]) -> None:
        """Whatever a tracker raises is noted once, and the tracker is left alone from then on."""
        try:
            action()
        except Exception as error:
            self.trackers.pop(name, None)
            self.note(f"warning: the tracker '{name}' has failed and is off ({type(error).__name__}: {error})")


def check_trackers(names: list[str]) -> None:
    """Raises UserError for a tracker that does not exist or is not installed."""
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS
    from accelerate.utils import LoggerType

    known = [str(kind) for kind in LOGGER_TYPE_TO_CLASS]
    for name in names:
        if name not in known:
            raise UserError(f"log.trackers: there is no tracker '{name}'.{nearest(name, known)} There are: {', '.join(known)}.")
        package = {"tensorboard": "tensorboard", "comet_ml": "comet_ml"}.get(name, str(LoggerType(name)))
        if find_spec(package) is None:
            raise UserError(f"log.trackers: the tracker '{name}' needs the package {package}: pip install {package}")


def _show(tracker: Any, path: Path, step: int) -> None:
    if hasattr(tracker, "log_images"):
        picture = read_picture(path)
        tracker.log_images({"samples": np.array(picture.convert("RGB"))[None]}, step=step, dataformats="NHWC")
