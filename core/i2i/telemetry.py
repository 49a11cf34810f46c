"""Nothing that a run, a translation or a page starts reports to its makers, unless the user turned that on.

Most packages read an environment variable when they are imported, so these are set when ``i2i`` is; one that the user has
set stays as it is. Two packages have no such variable and are dealt with where they are started.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

OFF = {
    "COMET_ERROR_TRACKING_ENABLE": "false",
    "DVC_NO_ANALYTICS": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "ORT_DISABLE_TELEMETRY": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "WANDB_ERROR_REPORTING": "false",
}
"""What turns off the reports of Comet, DVCLive, Gradio, huggingface_hub, MLflow, ONNX Runtime, pip (SwanLab asks it which
packages there are) and Weights & Biases."""


def turn_off() -> None:
    """Set the variables of ``OFF`` that the user has not set; processes that this one starts inherit them."""
    for name, value in OFF.items():
        os.environ.setdefault(name, value)


@contextmanager
def without_openvino_telemetry() -> Iterator[None]:
    """Within it ``import openvino`` does not find openvino_telemetry, and takes the stub that it has for that case.

    Else the import itself writes a client id into the home folder and sends an event. Who has opted in with Intel's
    ``opt_in_out`` keeps it.
    """
    name = "openvino_telemetry"
    if name in sys.modules or _opted_in(name):
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # Python's own way to say that there is no such module
    try:
        yield
    finally:
        del sys.modules[name]


def _opted_in(name: str) -> bool:
    from pathlib import Path  # not above: see i2i.__init__

    try:
        return (Path.home() / "intel" / name).read_text(encoding="utf-8").strip() == "1"
    except (OSError, ValueError):
        return False


def without_clearml_updates() -> None:
    """Let ClearML take its look for a newer version, which it makes whenever a task starts, for done."""
    with suppress(ImportError):  # another version may look elsewhere, or not at all
        from clearml.utilities.check_updates import CheckPackageUpdates  # type: ignore[import-not-found]

        CheckPackageUpdates._package_version_checked = True
