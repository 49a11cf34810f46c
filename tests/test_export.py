"""Exported models: equal to the model at any size, and run without i2i."""

import re
import sys
import zipfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import i2i
from exports import DOMAINS, Tinted, of, translator
from i2i.errors import UserError
from i2i.protocols import Translation
from i2i.translation.engines import Engine
from i2i.translation.translator import Translator
from i2i_cyclegan.networks import resnet
from i2i_export import survey
from i2i_export.checking import check_equal
from i2i_export.engines import OpenVino
from i2i_export.export import Exported, export
from i2i_export.plan import on_the_cpu, planned
from i2i_export.slimming import slimmed, without_neutral
from i2i_export.tracing import traced

FORMS = {"onnx": "m.onnx", "torch-export": "m.pt2"}


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
@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("resnet", "torch-export"),  # as ONNX in tests/test_export_use.py
        ("unet", "onnx"),
        ("unet", "torch-export"),
        ("unit at full size", "onnx"),
        ("spade", "onnx"),
        ("timm", "onnx"),
    ],
)
def test_every_network_goes_out_for_its_training_size_and_others(name: str, form: Any, tmp_path: Path) -> None:
    """In one of the forms; what a plugin's networks share goes out in both."""
    pytest.importorskip("onnxscript")
    model = translator(name)
    made = export(model, form, tmp_path / FORMS[form])
    assert_goes_out(model, made)
    if form == "onnx" and name != "timm" and find_spec("openvino") is not None:
        assert_openvino_does_the_same(model, made.path)


@pytest.mark.parametrize("name", ["unit", "timm with TensorFlow's padding"])
def test_a_trace_holds_at_other_sizes(name: str) -> None:
    """Networks whose parts go out above; what is their own is decided while they are traced."""
    plan = planned(on_the_cpu(translator(name)), ("a", "b"))
    found = check_equal(plan, traced(plan).module())
    assert (1, 64, 64) in found
    assert len(found) == 4


def assert_openvino_does_the_same(model: Translator, file: Path) -> None:
    """The backend with that file, which it makes itself in tests/test_backends.py; any size, padded, label maps as ids."""
    engine = OpenVino(model)
    engine.runs["a", "b"] = engine.start(file.read_bytes())
    other = replace(model, engine=Engine("openvino", engine))
    labels = model.domains["a"].kind == "labels"
    for b, h, w in ((1, 33, 40), (2, 64, 32)):
        x = torch.randint(4, (b, 1, h, w)) if labels else torch.rand(b, 3, h, w) * 2 - 1
        torch.testing.assert_close(other.translate(x), model.translate(x), rtol=0, atol=1e-4)


def assert_goes_out(model: Translator, made: Exported) -> None:
    file = made.path
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
    model = of(Switched(above))
    said = "differs from the model by 1.5 on a batch of 1, 64 px" if form == "onnx" else "fails on a batch of 1, 64 px"
    with pytest.raises(UserError, match=f"{said} high and 64 px wide.*Nothing was written"):
        export(model, form, tmp_path / FORMS[form])
    assert not list(tmp_path.iterdir())


class Counting(Switched):
    """Takes the batch's size as a number."""

    def forward(self, x: Tensor, source: str, *targets: str) -> Translation:
        return Translation({target: (x + x.new_zeros(len(x), 1, 1, 1)).tanh() for target in targets})


def test_a_size_that_becomes_a_constant_is_named(tmp_path: Path) -> None:
    model = of(Counting(None))
    with pytest.raises(UserError, match=r"turns a size into a constant, as len\(x\)"):
        export(model, "torch-export", tmp_path / "m.pt2")


class Bessel(Switched):
    """Computes what ONNX has no operator for."""

    def forward(self, x: Tensor, source: str, *targets: str) -> Translation:
        return Translation({target: torch.special.bessel_j0(x) for target in targets})


def test_what_onnx_lacks_is_named(tmp_path: Path) -> None:
    """The cause, not how torch's exporter reports it."""
    pytest.importorskip("onnxscript")
    model = of(Bessel(None))
    with pytest.raises(UserError) as refused:
        export(model, "onnx", tmp_path / "m.onnx")
    assert re.fullmatch(r"this model cannot be exported to ONNX: \w+: .*bessel_j0.*\.", str(refused.value)), refused.value
    assert len(str(refused.value)) < 300
    assert not list(tmp_path.iterdir())


class Kept(nn.Conv2d):
    exports = False


def test_a_network_with_a_part_that_is_not_to_be_exported_is_refused(tmp_path: Path) -> None:
    model = of(Tinted())
    model.module.add_module("head", Kept(3, 3, 1))
    for form, file in FORMS.items():
        with pytest.raises(UserError, match=r"cannot be exported: its network Kept \(head\) declares exports = False"):
            export(model, form, tmp_path / file)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


class Averaging(Switched):
    """Depends on the mean of the batch, as batch norm does in training."""

    def forward(self, x: Tensor, source: str, *targets: str) -> Translation:
        return Translation({target: (x - x.mean(0, keepdim=True) / 2).tanh() for target in targets})


def test_pictures_that_change_each_other_go_one_at_a_time(tmp_path: Path) -> None:
    made = export(of(Averaging(None)), "torch-export", tmp_path / "m.pt2")
    assert {b for b, _, _ in made.sizes} == {1}
    assert made.facts["i2i.inputs"][0]["shape"] == [1, 3, "rows", "columns"]
    with pytest.raises(AssertionError, match="Guard failed"):
        torch.export.load(made.path).module()(torch.rand(2, 3, 64, 64))


def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawing = translator("unet", inference="train_mode")  # dropout while translating
    with pytest.raises(UserError, match=r"draws random numbers .* cannot be exported"):
        export(drawing, "torch-export", tmp_path / "m.pt2")
    plain = of(Switched(lambda h, w: False))
    with pytest.raises(UserError, match=r"must end in \.onnx"):
        export(plain, "onnx", tmp_path / "m.pt2")
    with pytest.raises(UserError, match="no such folder"):
        export(plain, "torch-export", tmp_path / "no" / "m.pt2")
    with pytest.raises(UserError, match="weights: there is no 'fp61'"):
        export(plain, "onnx", tmp_path / "m.onnx", weights="fp61")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="weights: int8 is for ONNX; the format torch-export holds fp32"):
        export(plain, "torch-export", tmp_path / "m.pt2", weights="int8")
    with monkeypatch.context() as patch:

        def lacks(*_: Any, **__: Any) -> None:
            raise RuntimeError("no kernel for Foo")

        patch.setattr("onnxruntime.InferenceSession", lacks)
        with pytest.raises(UserError, match="cannot be saved as ONNX: RuntimeError: no kernel for Foo"):
            export(plain, "onnx", tmp_path / "m.onnx")
    monkeypatch.setattr("i2i_export.survey.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs onnx, onnxscript, onnxruntime.*i2i-framework\[export\]"):
        export(plain, "onnx", tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []
    for there in ("m.pt2", "m.pt2.report.json"):
        (tmp_path / there).touch()
        with pytest.raises(UserError, match=f"{there}: it exists already"):
            export(plain, "torch-export", tmp_path / "m.pt2")
        (tmp_path / there).unlink()


def test_what_does_not_fit_into_a_file_is_known_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two directions, the weights of the one that is exported count."""
    pytest.importorskip("onnxscript")
    both = (("a", "b"), ("b", "a"))
    model = replace(translator("resnet"), module=resnet(domains=DOMAINS, directions=both, width=4, blocks=1))
    monkeypatch.setattr("i2i_export.export.traced", lambda plan: pytest.fail("it was traced"))
    monkeypatch.setattr(survey, "MOST", 4 * sum(p.numel() for p in model.module.parameters()))
    with pytest.raises(pytest.fail.Exception):
        export(model, "onnx", tmp_path / "m.onnx")
    monkeypatch.setattr(survey, "MOST", 4 * survey.numbers_of(model, ("a", "b")))
    with pytest.raises(UserError, match=r"this direction has [\d,]+ weights, .* Take the format torch-export"):
        export(model, "onnx", tmp_path / "m.onnx")


def test_operations_that_change_nothing_are_left_out() -> None:
    """But not a product with ones that makes a map of one row, and not one with other numbers."""
    ir, onnx = pytest.importorskip("onnx_ir"), pytest.importorskip("onnx")
    constants = {"ones": np.ones((2, 1, 1)), "zeros": np.zeros(1), "twos": np.full(1, 2.0), "map": np.ones((1, 2, 5, 5))}
    chain = ["x", "ones", "zeros", "twos", "map", "zeros"]
    nodes = [
        onnx.helper.make_node("Add" if name == "zeros" else "Mul", [f"y{i}" if i else "x", name], [f"y{i + 1}"])
        for i, name in enumerate(chain[1:])
    ]
    shaped = [onnx.helper.make_tensor_value_info(name, 1, ["b", 2, rows, rows]) for name, rows in (("x", 1), ("y5", 5))]
    stored = [onnx.numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()]
    model = ir.serde.deserialize_model(
        onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", shaped[:1], shaped[1:], stored))
    )
    without_neutral(model)
    slimmed(model)
    assert [node.op_type for node in model.graph] == ["Mul", "Mul", "Add"]  # with twos, with the map, and what is the result
    assert [value.name for value in (*model.graph.inputs, *model.graph.outputs)] == ["x", "y5"]
    onnx.checker.check_model(ir.serde.serialize_model(model), full_check=True)
