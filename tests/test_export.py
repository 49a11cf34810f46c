"""Exported models: equal to the model at any size, and run without i2i."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from i2i import cli
from i2i.errors import UserError
from i2i.export import export
from i2i.inference import Translator
from i2i.model_folder import Origin, save_model
from i2i.protocols import Domain
from i2i.registry import Registry
from i2i_cyclegan.networks import resnet
from i2i_pix2pix.networks import unet
from i2i_spade.generator import SpadeGenerator
from i2i_unit.networks import UnitGenerator

DOMAINS = {"a": Domain("day", "image", 3), "b": Domain("night", "image", 3)}
LABELS = {"a": Domain("land", "labels", 4), "b": DOMAINS["b"]}
AB = (("a", "b"),)
NETWORKS: dict[str, Any] = {
    "resnet": (resnet, DOMAINS, {"width": 4, "blocks": 1}),
    "unet": (unet, DOMAINS, {"width": 4, "downs": 3, "inference": "eval"}),
    "unit": (UnitGenerator, DOMAINS, {"width": 4, "blocks": 1}),
    "spade": (SpadeGenerator, LABELS, {"width": 1, "hidden": 4}),
}


def translator(name: str, **over: Any) -> Translator:
    torch.manual_seed(0)
    factory, domains, options = NETWORKS[name]
    module = factory(domains=domains, directions=AB, **options, **over)
    return Translator(module, domains, AB, {}, torch.device("cpu"), Registry({}))


@pytest.mark.parametrize("name", ["resnet", "spade"])
def test_torch_export(name: str, tmp_path: Path) -> None:
    made = export(translator(name), "torch-export", tmp_path / "m.pt2")
    assert made.difference < 1e-4
    assert [path.name for path in tmp_path.iterdir()] == ["m.pt2"]


@pytest.mark.parametrize("name", NETWORKS)
def test_onnx(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    made = export(translator(name), "onnx", tmp_path / "m.onnx")
    assert made.difference < 1e-4
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_the_script_in_the_docs(tmp_path: Path, root: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    model = translator("resnet")
    export(model, "onnx", tmp_path / "m.onnx")
    script = (root / "docs" / "export.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    assert not any(line.startswith(("import i2i", "from i2i")) for line in script.splitlines())
    assert len(script.splitlines()) <= 12
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    command = [sys.executable, "-c", script, "m.onnx", "x.png", "y.png"]
    subprocess.run(command, cwd=tmp_path, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    with Image.open(tmp_path / "y.png") as made:
        theirs = np.array(made, dtype=int)
    assert abs(theirs - model.translate(pixels)).max() <= 1


def test_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    model = translator("resnet")
    options = NETWORKS["resnet"][2]
    save_model(tmp_path / "m", model.module, {"": Origin("resnet", "cyclegan", "", options)}, domains=DOMAINS, directions=AB)
    monkeypatch.setattr(
        sys, "argv", ["i2i", "export", str(tmp_path / "m"), "--to", "torch-export", "--out", str(tmp_path / "m.pt2")]
    )
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    assert "the largest difference from the model is" in capsys.readouterr().out


def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    module = unet(domains=DOMAINS, directions=AB, width=2, downs=6)  # dropout while translating
    drawing = Translator(module, DOMAINS, AB, {}, torch.device("cpu"), Registry({}))
    with pytest.raises(UserError, match="Nothing was written"):
        export(drawing, "torch-export", tmp_path / "m.pt2")
    plain = translator("resnet")
    with pytest.raises(UserError, match=r"must end in \.onnx"):
        export(plain, "onnx", tmp_path / "m.pt2")
    with pytest.raises(UserError, match="no such folder"):
        export(plain, "torch-export", tmp_path / "no" / "m.pt2")
    monkeypatch.setattr("i2i.export.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs onnx, onnxscript, onnxruntime.*i2i-framework\[export\]"):
        export(plain, "onnx", tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "m.pt2").touch()
    with pytest.raises(UserError, match="already there"):
        export(plain, "torch-export", tmp_path / "m.pt2")
