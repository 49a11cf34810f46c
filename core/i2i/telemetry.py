"""Nothing that a run, a translation or a page starts reports to its makers, unless the user turned that on.

Most packages read an environment variable when they are imported, so these are set when ``i2i`` is; one that the user has
set stays as it is. Packages without such a variable are dealt with where they are started.
"""

import os
from contextlib import suppress

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


def without_clearml_updates() -> None:
    """Let ClearML take its look for a newer version, which it makes whenever a task starts, for done."""
    with suppress(ImportError):  # another version may look elsewhere, or not at all
        from clearml.utilities.check_updates import CheckPackageUpdates  # type: ignore[import-not-found]

        CheckPackageUpdates._package_version_checked = True
