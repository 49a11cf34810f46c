"""Nothing reports to its makers, unless the user turned that on."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from i2i.telemetry import OFF
from watched import watched

BACKENDS = """
import torch
from importlib.util import find_spec
from test_backends import translator
for backend in ("torch", "onnxruntime", "openvino"):
    if find_spec(backend):
        print(backend, translator("resnet").with_backend(backend).translate(torch.zeros(1, 3, 16, 16)).shape)
"""
TRACKER = """
import warnings
from pathlib import Path
from test_health import trained
trained(Path(), "log.trackers=[{}]")
"""
PAGE = """
import os
from functools import partial
from pathlib import Path
from i2i_serve.gradio_files import settings
folder = Path("served").resolve()
folder.mkdir()
os.environ.update(settings(folder))
import served_models
from i2i_serve.gradio_page import application
from i2i_serve.limits import Limits
from i2i_serve.service import Service
service = Service(served_models.model(Path("model")), Limits(), "town")
with served_models.running(service, more=partial(application, service, folder)) as place:
    print(place.value(direction="a:b"))
    gradio = served_models.Gradio(place.url, folder)
    (path,) = gradio.upload(served_models.png()).json()
    print(gradio.call(served_models.gradio_file(path), "day → night", 0, None))
"""
OWN_PLACES = {
    "clearml": (".clearml/",),
    "swanlab": (".swanlab/",),
    "trackio": (".cache/huggingface/trackio/",),
    "wandb": (".cache/wandb/logs/",),
}
"""Where trackers keep what they were asked to."""


@pytest.mark.slow
def test_backends_stay_at_home(tmp_path: Path) -> None:
    seen = watched(BACKENDS, tmp_path)
    assert "torch torch.Size([1, 3, 16, 16])" in seen.output
    assert (seen.code, seen.calls, seen.files) == (0, [], []), seen.output


@pytest.mark.slow
@pytest.mark.parametrize(
    "tracker", ["aim", "clearml", "comet_ml", "dvclive", "mlflow", "swanlab", "tensorboard", "trackio", "wandb"]
)
def test_trackers_get_all_and_stay_at_home(tracker: str, tmp_path: Path) -> None:
    """The package itself, where it is installed, without a network."""
    if find_spec(tracker) is None:
        pytest.skip(f"{tracker} is not installed")
    offline = {"WANDB_MODE": "offline", "SWANLAB_MODE": "offline", "CLEARML_OFFLINE_MODE": "1", "COMET_START_ONLINE": "0"}
    seen = watched(TRACKER.format(tracker), tmp_path, **offline)
    log = (tmp_path / "out" / "log.txt").read_text()
    assert "warning" not in log, log
    assert (seen.code, seen.calls) == (0, []), seen.output
    assert [
        file
        for file in seen.files
        if not file.startswith((".cache/matplotlib/", ".local/state/i2i/recipes/", *OWN_PLACES.get(tracker, ())))
    ] == []


@pytest.mark.slow
def test_the_page_stays_at_home(tmp_path: Path) -> None:
    pytest.importorskip("gradio")
    seen = watched(PAGE, tmp_path)
    assert "215" in seen.output
    assert "event: complete" in seen.output
    assert (seen.code, seen.calls, seen.files) == (0, [], []), seen.output


def test_what_the_user_has_turned_on_stays_on(tmp_path: Path) -> None:
    """A variable that is set is left alone, and so is the consent that Intel's own program has asked for."""
    program = """
import os, sys, i2i
from pathlib import Path
from i2i_export.engines import without_openvino_telemetry
print({name: os.environ[name] for name in i2i.telemetry.OFF})
consent = Path.home() / "intel" / "openvino_telemetry"
for answer in (None, "0", "1"):
    if answer is not None:
        consent.parent.mkdir(exist_ok=True)
        consent.write_text(answer)
    with without_openvino_telemetry():
        print(answer, "openvino_telemetry" in sys.modules)
    assert "openvino_telemetry" not in sys.modules
"""
    seen = watched(program, tmp_path, HF_HUB_DISABLE_TELEMETRY="0", ORT_DISABLE_TELEMETRY="")
    expected = {**OFF, "HF_HUB_DISABLE_TELEMETRY": "0", "ORT_DISABLE_TELEMETRY": ""}
    assert seen.output.splitlines() == [str(expected), "None True", "0 True", "1 False"]
