"""Stand-ins for the packages of the trackers, with the signatures and the refusals of the real ones.

``test_telemetry.py`` runs the packages themselves where they are installed.
"""

import re
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

Seen = list[tuple[Any, ...]]
"""("recipe", values), ("curve", name, step), ("picture", size, step) and ("end",), in their order."""


def installed(name: str, monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Put the stand-in for a package in its place, and return what it will have seen."""
    seen: Seen = []
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    module.__version__ = "9.0.0"  # type: ignore[attr-defined]
    vars(module).update(_PACKAGES[name](seen, monkeypatch))
    monkeypatch.setitem(sys.modules, name, module)
    return seen


def one_picture(image: Any) -> tuple[int, int]:
    """The size of what the packages take for one picture: Pillow's, or an array (H, W) or (H, W, C)."""
    if isinstance(image, np.ndarray):
        if image.ndim not in (2, 3):
            raise ValueError("an array must have 2 or 3 dimensions")
        image = Image.fromarray(image)
    if not isinstance(image, Image.Image):
        raise TypeError(f"unsupported type {type(image)}")
    return image.size


class Picture:
    """What a package wraps a picture in."""

    def __init__(self, value: Any, caption: str | None = None) -> None:
        self.size = one_picture(value)


class Config:
    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    def update(self, d: dict[str, Any], allow_val_change: bool | None = None) -> None:
        self.seen.append(("recipe", d))

    def __setitem__(self, key: str, value: Any) -> None:
        pass


class Run:
    """A run of W&B, SwanLab or Trackio; with *many* a figure may be a list of pictures."""

    def __init__(self, seen: Seen, many: bool) -> None:
        self.seen, self.many = seen, many

    def log(self, data: dict[str, Any], step: int | None = None) -> None:
        for name, value in data.items():
            if isinstance(value, list) and self.many:
                self.seen += [("picture", item.size, step) for item in value]
            elif isinstance(value, Picture) and not self.many:
                self.seen.append(("picture", value.size, step))
            else:
                float(value)
                self.seen.append(("curve", name, step))

    def finish(self) -> None:
        self.seen.append(("end",))


def _like_wandb(many: bool) -> Any:
    def package(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        return {"init": lambda project: Run(seen, many), "config": Config(seen), "Image": Picture}

    return package


def _mlflow(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    def log_metrics(metrics: dict[str, float], step: int | None = None) -> None:
        for name in metrics:
            if not re.fullmatch(r"[/\w.\- :]+", name):
                raise ValueError(f"Invalid value {name!r}: names may only contain …")
            seen.append(("curve", name, step))

    def log_image(
        image: Any,
        artifact_file: str | None = None,
        key: str | None = None,
        step: int | None = None,
        timestamp: int | None = None,
        synchronous: bool | None = False,
    ) -> None:
        seen.append(("picture", one_picture(image), step))

    utils = ModuleType("mlflow.utils")
    utils.validation = type("validation", (), {"MAX_PARAM_VAL_LENGTH": 6000, "MAX_PARAMS_TAGS_PER_BATCH": 100})  # type: ignore[attr-defined]
    recipe: dict[str, Any] = {}

    def log_params(params: dict[str, Any]) -> None:
        recipe.update(params)  # it comes in parts of a hundred
        seen[:] = [*(item for item in seen if item[0] != "recipe"), ("recipe", recipe)]

    return {
        "search_experiments": lambda filter_string: [],
        "create_experiment": lambda name, artifact_location, tags: "1",
        "start_run": lambda run_id, experiment_id, run_name, nested, tags, description: object(),
        "log_params": log_params,
        "log_metrics": log_metrics,
        "log_image": log_image,
        "end_run": lambda: seen.append(("end",)),
        "utils": utils,
    }


class Experiment:
    """Comet's."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    def log_parameters(self, parameters: dict[str, Any]) -> None:
        self.seen.append(("recipe", parameters))

    def set_step(self, step: int) -> None:
        pass

    def log_metric(self, name: str, value: Any, step: int | None = None) -> None:
        self.seen.append(("curve", name, step))

    def log_image(self, image_data: Any, name: str | None = None, overwrite: bool = False, *, step: int | None = None) -> None:
        self.seen.append(("picture", one_picture(image_data), step))

    def end(self) -> None:
        self.seen.append(("end",))


class AimRun:
    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    def __setitem__(self, key: str, value: Any) -> None:
        self.seen.append(("recipe", value))

    def track(self, value: Any, name: str | None = None, step: int | None = None) -> None:
        self.seen.append(("picture", value.size, step) if isinstance(value, AimImage) else ("curve", name, step))

    def close(self) -> None:
        self.seen.append(("end",))


class AimImage:
    def __init__(self, image: Any, caption: str = "") -> None:
        self.size = one_picture(image)


class Task:
    """ClearML's, and its logger."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    def connect_configuration(self, configuration: dict[str, Any]) -> dict[str, Any]:
        self.seen.append(("recipe", configuration))
        return configuration

    def get_logger(self) -> "Task":
        return self

    def report_scalar(self, title: str, series: str, value: float, iteration: int) -> None:
        self.seen.append(("curve", title, iteration))

    def report_image(self, title: str, series: str, iteration: int | None = None, image: Any = None) -> None:
        self.seen.append(("picture", one_picture(image), iteration))

    def close(self) -> None:
        self.seen.append(("end",))


def _clearml(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    updates = ModuleType("clearml.utilities.check_updates")
    updates.CheckPackageUpdates = type("CheckPackageUpdates", (), {"_package_version_checked": False})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "clearml.utilities", ModuleType("clearml.utilities"))
    monkeypatch.setitem(sys.modules, "clearml.utilities.check_updates", updates)

    class Tasks:
        @staticmethod
        def current_task() -> None:
            return None

        @staticmethod
        def init(project_name: str, task_name: str) -> Task:
            assert updates.CheckPackageUpdates._package_version_checked, "it would ask for updates"
            return Task(seen)

    return {"Task": Tasks, "__path__": []}


class Live:
    """DVCLive's; it knows a step, which a call of ``next_step`` ends."""

    def __init__(self, seen: Seen, resume: bool) -> None:
        self.seen, self.step = seen, 0

    def log_params(self, params: dict[str, Any]) -> None:
        self.seen.append(("recipe", params))

    def log_metric(self, name: str, val: float) -> None:
        self.seen.append(("curve", name, self.step))

    def log_image(self, name: str, val: Any) -> None:
        if not name.endswith((".png", ".jpg")):
            raise ValueError(f"{name} has no suffix of a picture")
        self.seen.append(("picture", one_picture(val), int(re.sub(r"\D", "", name))))

    def next_step(self) -> None:
        self.step += 1

    def end(self) -> None:
        self.seen.append(("end",))


def _dvclive(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    plots = ModuleType("dvclive.plots")
    plots.Metric = type("Metric", (), {"could_log": staticmethod(lambda value: isinstance(value, int | float))})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dvclive.plots", plots)
    return {"Live": lambda resume=False: Live(seen, resume), "__path__": []}


_PACKAGES: dict[str, Any] = {
    "aim": lambda seen, _: {"Run": lambda repo: AimRun(seen), "Image": AimImage},
    "clearml": _clearml,
    "comet_ml": lambda seen, _: {"start": lambda project_name: Experiment(seen)},
    "dvclive": _dvclive,
    "mlflow": _mlflow,
    "swanlab": _like_wandb(many=True),
    "trackio": _like_wandb(many=False),
    "wandb": _like_wandb(many=True),
}
NAMES = tuple(_PACKAGES)
