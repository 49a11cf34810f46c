"""Sends the sample grids to a run's trackers, each in the form that the tracker accepts."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from i2i.hooks import hookimpl
from i2i.pictures.pixels import read_picture
from i2i.training.state import Run
from i2i.training.tracking import without


class TrackedGrids:
    """Sends every grid to the trackers; a tracker that cannot take it still gets the curves, which is noted once."""

    def __init__(self) -> None:
        self.missed: set[str] = set()

    @hookimpl
    def grid_saved(self, run: Run, path: Path) -> None:
        for name, tracker in run.trackers.items():
            try:
                _SHOWN.get(name, _as_list)(tracker, read_picture(path).convert("RGB"), run.step)
            except Exception as error:
                if name not in self.missed:
                    self.missed.add(name)
                    run.note(without(name, "the sample grids", error))


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
