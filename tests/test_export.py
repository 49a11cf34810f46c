"""Exported models: equal to the model at any size, and run without i2i."""

import os
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import i2i
import terminal
from i2i.errors import UserError
from i2i.layers import fold_norms
from i2i.protocols import Domain, Translation
from i2i.registry import Registry
from i2i.translation.engines import Engine
from i2i.translation.model_folder import Origin, save_model
from i2i.translation.translator import Translator
from i2i_cyclegan.networks import resnet
from i2i_export import export as exporting
from i2i_export.engines import OpenVino
from i2i_export.export import export
from i2i_pix2pix.networks import unet
from i2i_spade.generator import SpadeGenerator
from i2i_timm.unet import timm_unet
from i2i_unit.networks import UnitGenerator

DOMAINS = {"a": Domain("day", "image", 3), "b": Domain("night", "image", 3)}
LABELS = {"a": Domain("land", "labels", 4), "b": DOMAINS["b"]}
AB = (("a", "b"),)
NETWORKS: dict[str, Any] = {
    "resnet": (resnet, DOMAINS, {"width": 4, "blocks": 1}),
    "unet": (unet, DOMAINS, {"width": 4, "downs": 6, "inference": "eval"}),  # a single position of 64 px in the middle
    "unit": (UnitGenerator, DOMAINS, {"width": 4, "blocks": 1}),
    "unit at full size": (UnitGenerator, DOMAINS, {"width": 4, "blocks": 1, "downs": 0, "norm": "layer"}),
    "spade": (SpadeGenerator, LABELS, {"width": 1, "hidden": 4}),
    "timm": (timm_unet, DOMAINS, {"backbone": "test_resnet", "width": 4}),
    "timm with TensorFlow's padding": (timm_unet, DOMAINS, {"backbone": "tf_mobilenetv3_small_minimal_100", "width": 4}),
}
FORMS = {"onnx": "m.onnx", "torch-export": "m.pt2"}


def translator(name: str, **over: Any) -> Translator:
    """A tiny network after some passes in training, so that its running statistics are those of pictures; trained at 64 px."""
    torch.manual_seed(0)
    factory, domains, options = NETWORKS[name]
    module = factory(domains=domains, directions=AB, **{**options, **over})
    x = torch.rand(2, domains["a"].channels, 128, 128)
    with torch.no_grad():
        for _ in range(20):
            module.train()(x * 2 - 1, "a", "b")
    fold_norms(module.eval())
    return Translator(module, domains, AB, {"extra": {"sizes": {"a": [64, 64]}}}, torch.device("cpu"), Registry({}))


def same_at(model: Translator, path: Path, sizes: Any) -> None:
    """The file alone gives the model's results at these sizes (B, H, W)."""
    if path.suffix == ".onnx":
        runtime = pytest.importorskip("onnxruntime")
        session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
        run: Any = lambda x: torch.from_numpy(session.run(None, {"image": x.numpy()})[0])  # noqa: E731
    else:
        run = torch.export.load(path).module()
    for b, h, w in sizes:
        x = torch.rand(b, model.domains["a"].channels, h, w).clamp(0, 1)
        with torch.no_grad():
            torch.testing.assert_close(run(x), model.batch(x, ("a", "b"), tile=0), rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_goes_out_for_its_training_size_and_others(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In both forms, made of one trace, which takes longest. ONNX is enough for the last: its padding is in the trace."""
    pytest.importorskip("onnxscript")
    model, traced, whole = translator(name), list[Any](), exporting.traced
    monkeypatch.setattr(exporting, "traced", lambda plan: (traced or traced.append(whole(plan)) or traced)[0])
    for form, file in FORMS.items() if name != [*NETWORKS][-1] else [("onnx", "m.onnx")]:
        (tmp_path / form).mkdir()
        assert_goes_out(model, form, tmp_path / form / file)
    assert len(traced) == 1
    if name in ("unet", "unit", "spade") and find_spec("openvino") is not None:
        assert_openvino_does_the_same(model, tmp_path / "onnx" / FORMS["onnx"])


def assert_openvino_does_the_same(model: Translator, file: Path) -> None:
    """The backend with that file, which it makes itself in tests/test_backends.py; any size, padded, label maps as ids."""
    engine = OpenVino(model)
    engine.runs["a", "b"] = engine.start(file.read_bytes())
    other = replace(model, engine=Engine("openvino", engine))
    labels = model.domains["a"].kind == "labels"
    for b, h, w in ((1, 33, 40), (2, 64, 32)):
        x = torch.randint(4, (b, 1, h, w)) if labels else torch.rand(b, 3, h, w) * 2 - 1
        torch.testing.assert_close(other.translate(x), model.translate(x), rtol=0, atol=1e-4)


def assert_goes_out(model: Translator, form: Any, file: Path) -> None:
    made = export(model, form, file)
    assert made.difference < 1e-4
    assert (1, 64, 64) in made.sizes
    assert any(h > w for _, h, w in made.sizes)
    assert any(w > h for _, h, w in made.sizes)
    assert {path.name for path in file.parent.iterdir()} == {file.name, made.report.name}
    divisor = int(getattr(model.module, "divisor", 1))
    least = made.sizes[0][1]
    same_at(model, made.path, [(1, least, least), (2, least + divisor, least), (1, 192, 128)])
    assert not paths_in(made.path)


def paths_in(file: Path) -> list[str]:
    """Where the file says that it was made: the home folder, the installation, this checkout."""
    whole = file.read_bytes()
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            whole = b"".join(name.encode() + archive.read(name) for name in archive.namelist())
    folders = {Path.home(), Path(i2i.__file__).parents[2], Path(torch.__file__).parents[1], Path(sys.prefix), file.parent}
    return [str(folder) for folder in folders if str(folder).encode() in whole] + re.findall(r"/[\w/.-]+\.py", str(whole))


class Switched(nn.Module):
    """Negative above a number of pixels."""

    exposes: frozenset[str] = frozenset()
    divisor = 4

    def __init__(self, above: Any) -> None:
        super().__init__()
        self.above = above

    def forward(self, x: Tensor, source: str, *targets: str) -> Translation:
        sign = -1 if self.above(*x.shape[-2:]) else 1
        return Translation({target: (sign * x).tanh() for target in targets})


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("above", [lambda h, w: h * w > 2000, lambda h, w: h > 40])
def test_a_network_that_depends_on_the_size_is_refused(above: Any, form: Any, tmp_path: Path) -> None:
    """torch keeps such a condition as a guard, which ONNX loses; only the size of the training pictures shows it."""
    pytest.importorskip("onnxscript")
    model = replace(translator("resnet"), module=Switched(above))
    said = "differs from the model by 1.5 on a batch of 1, 64 px" if form == "onnx" else "fails on a batch of 1, 64 px"
    with pytest.raises(UserError, match=f"{said} high and 64 px wide.*Nothing was written"):
        export(model, form, tmp_path / FORMS[form])
    assert not list(tmp_path.iterdir())


class Counting(Switched):
    """Takes the batch's size as a number."""

    def forward(self, x: Tensor, source: str, *targets: str) -> Translation:
        return Translation({target: (x + x.new_zeros(len(x), 1, 1, 1)).tanh() for target in targets})


def test_a_size_that_becomes_a_constant_is_named(tmp_path: Path) -> None:
    model = replace(translator("resnet"), module=Counting(None))
    with pytest.raises(UserError, match=r"turns a size into a constant, as len\(x\)"):
        export(model, "torch-export", tmp_path / "m.pt2")


class Bessel(Switched):
    """Computes what ONNX has no operator for."""

    def forward(self, x: Tensor, source: str, *targets: str) -> Translation:
        return Translation({target: torch.special.bessel_j0(x) for target in targets})


def test_what_onnx_lacks_is_named(tmp_path: Path) -> None:
    """The cause, not how torch's exporter reports it."""
    pytest.importorskip("onnxscript")
    model = replace(translator("resnet"), module=Bessel(None))
    with pytest.raises(UserError) as refused:
        export(model, "onnx", tmp_path / "m.onnx")
    assert re.fullmatch(r"this model cannot be exported to ONNX: \w+: .*bessel_j0.*\.", str(refused.value)), refused.value
    assert len(str(refused.value)) < 300
    assert not list(tmp_path.iterdir())


class Kept(nn.Conv2d):
    exports = False


def test_a_network_with_a_part_that_is_not_to_be_exported_is_refused(tmp_path: Path) -> None:
    model = translator("resnet")
    model.module.add_module("head", Kept(3, 3, 1))
    for form, file in FORMS.items():
        with pytest.raises(UserError, match=r"cannot be exported: its network Kept declares exports = False"):
            export(model, form, tmp_path / file)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_pictures_that_change_each_other_go_one_at_a_time(tmp_path: Path) -> None:
    model = translator("unet", dropout=False, downs=3, inference="train_mode")
    made = export(model, "torch-export", tmp_path / "m.pt2")
    assert {b for b, _, _ in made.sizes} == {1}
    with pytest.raises(AssertionError, match="Guard failed"):
        torch.export.load(made.path).module()(torch.rand(2, 3, 64, 64))


def test_the_script_in_the_docs(tmp_path: Path, root: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    model = translator("resnet")
    export(model, "onnx", tmp_path / "m.onnx")
    script = (root / "docs" / "export.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    assert not any(line.startswith(("import i2i", "from i2i")) for line in script.splitlines())
    assert len(script.splitlines()) <= 13
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
    command = ["export", str(tmp_path / "m"), "--format", "torch-export", "--to", "night", "--out", str(tmp_path / "m.pt2")]
    assert terminal.call(monkeypatch, *command) == 0
    assert "the largest difference from the model is" in capsys.readouterr().out
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    torch.testing.assert_close(torch.export.load(tmp_path / "m.pt2").module()(x), model.module(x, "a", "b").image)


def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawing = translator("unet", inference="train_mode")  # dropout while translating
    with pytest.raises(UserError, match=r"draws random numbers .* cannot be exported"):
        export(drawing, "torch-export", tmp_path / "m.pt2")
    plain = translator("resnet")
    with pytest.raises(UserError, match=r"must end in \.onnx"):
        export(plain, "onnx", tmp_path / "m.pt2")
    with pytest.raises(UserError, match="no such folder"):
        export(plain, "torch-export", tmp_path / "no" / "m.pt2")
    with monkeypatch.context() as patch:

        def lacks(*_: Any, **__: Any) -> None:
            raise RuntimeError("no kernel for Foo")

        patch.setattr("onnxruntime.InferenceSession", lacks)
        with pytest.raises(UserError, match="cannot be saved as ONNX: RuntimeError: no kernel for Foo"):
            export(plain, "onnx", tmp_path / "m.onnx")
    monkeypatch.setattr("i2i_export.export.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs onnx, onnxscript, onnxruntime.*i2i-framework\[export\]"):
        export(plain, "onnx", tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "m.pt2").touch()
    with pytest.raises(UserError, match="it exists already"):
        export(plain, "torch-export", tmp_path / "m.pt2")


class Tinted(nn.Module):
    """A convolution, and a tint of the style's colour, or of one that is drawn."""

    exposes = frozenset[str]()
    accepts = frozenset({"style"})
    divisor = 2

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor, source: str, *targets: str, style: Tensor | None = None) -> Translation:
        tint = torch.randn(x.shape[0], 3) if style is None else style.mean((2, 3))
        return Translation(dict.fromkeys(targets, torch.tanh(self.layer(x) + tint[:, :, None, None])))


@pytest.mark.parametrize("network", ["tinted", pytest.param("spade", marks=pytest.mark.slow)])
def test_a_style_is_fixed_by_a_picture_or_a_seed(tmp_path: Path, network: str) -> None:
    if network == "spade":
        model = translator("spade", vae=True, style_size=4, size=(64, 64), init_gain=1.0)
    else:
        model = Translator(Tinted(), DOMAINS, AB, {"extra": {"sizes": {"a": [32, 32]}}}, torch.device("cpu"), Registry({}))
    picture, file = tmp_path / "style.png", tmp_path / "m.pt2"
    Image.effect_noise((40, 40), 90).convert("RGB").save(picture)
    with pytest.raises(UserError, match="fix it with --style or --style-seed"):
        export(model, "torch-export", file)
    with pytest.raises(UserError, match="one file holds one style"):
        export(model, "torch-export", file, style=picture, style_seed=1)
    x = torch.rand(3, model.domains["a"].channels, 96, 64).softmax(1)
    seen = [model.batch(x, AB[0], {"style": model.style_tensor(picture, "b")}), model.batch(x, AB[0], seed=3)]
    assert not torch.allclose(*seen, atol=1e-3)
    ways = ({"style": picture}, {"style_seed": 3}) if network == "tinted" else ({"style": picture},)  # SPADE's trace is slow
    for chosen, expected in zip(ways, seen, strict=False):
        export(model, "torch-export", file, overwrite=True, **chosen)
        with torch.no_grad():
            torch.testing.assert_close(torch.export.load(file).module()(x), expected, rtol=0, atol=1e-4)


def test_a_style_without_effect_is_refused(tmp_path: Path) -> None:
    model = translator("resnet")
    with pytest.raises(UserError, match="this model takes no style image"):
        export(model, "torch-export", tmp_path / "m.pt2", style=tmp_path / "style.png")
    with pytest.raises(UserError, match="draws no style"):
        export(model, "torch-export", tmp_path / "m.pt2", style_seed=0)
    with pytest.raises(UserError, match="draws random numbers"):  # dropout's are no style
        export(translator("unet", inference="train_mode"), "torch-export", tmp_path / "m.pt2")
