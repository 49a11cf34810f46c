"""A file that was exported on the command line: its weights, report and metadata, and the programs in the docs that use it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import i2i.protocols
import npm
import terminal
from exports import AB, DOMAINS, Tinted, of
from i2i.errors import UserError
from i2i.files import sha256
from i2i.protocols import Domain, Preparation
from i2i.translation.model_folder import Origin, save_model
from i2i.translation.translator import Translator
from i2i_cyclegan.networks import resnet
from i2i_export.checking import Loss, check_loss, like_pictures, loss_of
from i2i_export.export import export
from i2i_export.facts import facts_of
from i2i_export.onnx_file import onnx_model, onnx_session, save_onnx
from i2i_export.plan import Plan, on_the_cpu, planned
from i2i_export.survey import survey
from i2i_export.tracing import traced
from i2i_export.weights import stored
from i2i_provenance.metadata import fingerprint

OPTIONS: dict[str, Any] = {"width": 8, "blocks": 1}


@dataclass
class Made:
    """A model folder, a file exported from it, and what the command said."""

    folder: Path
    file: Path
    said: str
    model: Translator

    @property
    def report(self) -> Any:
        return json.loads(self.file.with_suffix(".report.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Of a ResNet, in int8: the command in full, once."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("exported")
    torch.manual_seed(0)
    module = resnet(domains=DOMAINS, directions=AB, **OPTIONS)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(2)  # results of many greys
    save_model(folder / "m", module, {"": Origin("resnet", "cyclegan", "", OPTIONS)}, domains=DOMAINS, directions=AB)
    command = ["export", folder / "m", "--format", "onnx", "--out", folder / "m.onnx", "--weights", "int8"]
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as said, redirect_stderr(said):
        code = terminal.call(patch, *command)
    assert code == 0, said.getvalue()
    return Made(folder / "m", folder / "m.onnx", said.getvalue(), i2i.load(folder / "m", "cpu"))


def test_the_command_says_what_was_lost_and_why_no_held_out_picture_was_seen(made: Made) -> None:
    loss = made.report["loss"]["like_pictures"]
    assert f"lost by int8, on 7 random inputs that resemble pictures: at most {loss['largest']:.2g} grey levels" in made.said
    assert "held-out pictures are not compared: the model does not say which data it was trained on" in made.said
    assert 0.05 < loss["mean"] < loss["largest"] < 32
    assert 30 < loss["psnr"] < 70


def test_the_report_belongs_to_its_file(made: Made) -> None:
    report = made.report
    assert report["file"] == {
        "name": "m.onnx",
        "format": "onnx",
        "bytes": made.file.stat().st_size,
        "sha256": sha256(made.file),
    }
    assert report["model"]["provenance"] == fingerprint(made.model.config)
    assert report["model"]["weights_sha256"] == made.model.config["weights_sha256"]
    assert [set(size) for size in report["equal"]["sizes"]] == [{"batch", "height", "width", "difference"}] * 4
    assert all(0 < size["difference"] < report["equal"]["allowed"] == 1e-4 for size in report["equal"]["sizes"])
    assert (
        report["versions"]["torch"] == torch.__version__.partition("+")[0] or report["versions"]["torch"] == torch.__version__
    )
    assert sorted(path.name for path in made.file.parent.iterdir()) == ["m", "m.onnx", "m.report.json"]


def test_metadata_and_report_say_the_same(made: Made) -> None:
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(made.file, providers=["CPUExecutionProvider"])
    held = {name: json.loads(fact) for name, fact in session.get_modelmeta().custom_metadata_map.items()}
    assert held == made.report["metadata"]
    assert [(one["name"], one["shape"]) for one in held["i2i.inputs"]] == [(x.name, x.shape) for x in session.get_inputs()]
    assert (held["i2i.output"]["name"], held["i2i.output"]["shape"]) == ("translation", session.get_outputs()[0].shape)
    assert (held["i2i.divisor"], held["i2i.smallest"], held["i2i.weights"]) == (4, 16, "int8")


def test_a_file_that_fails_leaves_the_old_one_and_its_report(
    made: Made, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("m.onnx", "m.report.json"):
        shutil.copy(made.file.parent / name, tmp_path / name)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UserError, match="exists already"):
        export(made.model, "onnx", tmp_path / "m.onnx")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("i2i_export.export.traced", lambda plan: None)
    monkeypatch.setattr("i2i_export.export.style_shape", lambda program: None)
    monkeypatch.setattr("i2i_export.export.onnx_model", full)
    with pytest.raises(UserError, match=r"it cannot be written \(Input/output"):
        export(made.model, "onnx", tmp_path / "m.onnx", overwrite=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def program(root: Path, language: str) -> str:
    return (root / "docs" / "export.md").read_text(encoding="utf-8").split(f"```{language}\n")[1].split("```")[0]


def assert_translates(made: Made, folder: Path, command: list[str]) -> None:
    """As `i2i translate` does: exactly what the file's weights give, and near what the model gives."""
    pixels = np.asarray(Image.effect_mandelbrot((64, 48), (-2, -1.2, 1, 1.2), 60).convert("L"))
    pixels = np.stack([pixels, pixels[::-1], pixels[:, ::-1]], 2)
    Image.fromarray(pixels).save(folder / "x.png")
    subprocess.run(command, cwd=folder, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    with Image.open(folder / "y.png") as picture:
        theirs = np.array(picture.convert("RGB"), dtype=int)
    most = made.report["loss"]["like_pictures"]["largest"]
    assert theirs.std() > 10
    assert abs(theirs - made.model.translate(pixels)).max() <= 2 * most + 1


def test_the_python_program_in_the_docs(made: Made, root: Path, tmp_path: Path) -> None:
    script = program(root, "python")
    assert not any(line.startswith(("import i2i", "from i2i")) for line in script.splitlines())
    assert len(script.splitlines()) <= 13
    assert_translates(made, tmp_path, [sys.executable, "-c", script, str(made.file), "x.png", "y.png"])


def test_the_javascript_program_in_the_docs(made: Made, root: Path, tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(npm.package("pngjs").parent)
    script = program(root, "js")
    assert len(script.splitlines()) <= 14
    (tmp_path / "translate.mjs").write_text(script, encoding="utf-8")
    assert_translates(made, tmp_path, ["node", "translate.mjs", str(made.file), "x.png", "y.png"])


@pytest.fixture(scope="module")
def network() -> tuple[Plan, Any]:
    """A plan and its ONNX model, of layers of every kind whose weights are stored in integers."""
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    plan = planned(on_the_cpu(of(Layers())), AB[0])
    return plan, onnx_model(plan, traced(plan))


class Layers(Tinted):
    """Convolutions, transposed and grouped, and a linear layer; one weight has a number that float16 does not hold."""

    accepts = frozenset[str]()

    def __init__(self) -> None:
        super().__init__()
        nn = torch.nn
        self.layer = nn.Conv2d(3, 64, 3, padding=1)
        self.down, self.up = nn.Conv2d(64, 32, 2, stride=2), nn.ConvTranspose2d(32, 32, 2, stride=2)
        self.grouped, self.linear = nn.Conv2d(32, 32, 7, groups=32, padding=3), nn.Linear(32, 64)
        self.last = nn.Conv2d(64, 3, 1)
        self.register_buffer("large", torch.tensor([1e5] * 64))

    def forward(self, x: Any, source: str, *targets: str, style: Any = None) -> Any:
        y = self.grouped(self.up(self.down(self.layer(x).relu()).relu()))
        y = self.linear(y.movedim(1, -1)) / self.large * 1e5
        return i2i.protocols.Translation(dict.fromkeys(targets, self.last(y.movedim(-1, 1)).tanh()))


def tensors(model: Any) -> Mapping[str, Any]:
    return {name: value.const_value.numpy() for name, value in model.graph.initializers.items()}


@pytest.mark.parametrize("weights", ["fp16", "int8"])
def test_weights_are_stored_in_fewer_bits_and_compute_in_32(network: Any, weights: Any, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    plan, model = network
    fewer = model.clone()
    stored(fewer, weights)
    assert_stored(tensors(model), fewer, weights)
    save_onnx(fewer, facts_of(plan, None, weights), tmp_path / "m.onnx")
    x = plan.inputs((2, 24, 32), like_pictures)
    options, made = runtime.SessionOptions(), []
    for level in ("ORT_DISABLE_ALL", "ORT_ENABLE_ALL"):
        options.graph_optimization_level = getattr(runtime.GraphOptimizationLevel, level)
        session = runtime.InferenceSession(tmp_path / "m.onnx", options, providers=["CPUExecutionProvider"])
        made.append(session.run(None, {"image": x[0].numpy()})[0])
    assert abs(made[0] - made[1]).max() < 1e-5
    loss = loss_of(plan, onnx_session(tmp_path / "m.onnx"), [x])
    assert 0.001 < loss.largest < {"fp16": 1, "int8": 12}[weights]
    check_loss(loss, weights, plan.target)


def assert_stored(whole: Mapping[str, Any], fewer: Any, weights: str) -> None:
    """Each number within half a step of what it was."""
    kinds = {}
    for node in fewer.graph:
        if node.op_type != "Cast" or not str(node.inputs[0].name).endswith(".stored"):
            continue
        held, ((after, _), *_) = node.inputs[0].const_value.numpy(), node.outputs[0].uses()
        if held.dtype == np.float16:
            name = str(node.outputs[0].name)
            np.testing.assert_allclose(held.astype(np.float32), whole[name], rtol=2**-11, atol=2**-25)
        else:
            name, scale = str(after.outputs[0].name), after.inputs[1].const_value.numpy()
            assert (abs(held * scale - whole[name]) <= scale / 2 + 1e-7).all()
            assert abs(held).max() == 127
            assert scale.size == (32 if any(f".{part}." in name for part in ("down", "up", "grouped")) else 64), name
        kinds[name] = str(held.dtype)
    weighty = [name for name in whole if whole[name].size >= 1000]
    assert len(weighty) == 5
    assert {kinds[name] for name in weighty} == {"float16" if weights == "fp16" else "int8"}
    assert not any("large" in name for name in kinds)
    assert sum(value.nbytes for value in tensors(fewer).values()) < {"fp16": 2.2, "int8": 1.4}[weights] * sum(
        value.size for value in whole.values()
    )


def test_too_much_loss_is_refused() -> None:
    image, labels = DOMAINS["b"], Domain("land", "labels", 4)
    with pytest.raises(UserError, match=r"with fp16 .* at most 7 grey levels.*6 and 1 .*Nothing was written\. Take fp32"):
        check_loss(Loss(7, 0.1, 40, 0, 1), "fp16", image)
    with pytest.raises(UserError, match=r"with int8 .*32 and 2 .* Take fp16 or fp32"):
        check_loss(Loss(20, 2.5, 30, 0, 1), "int8", image)
    check_loss(Loss(20, 1.5, 30, 0, 1), "int8", image)
    with pytest.raises(UserError, match=r"2\.00% of the pixels change their class .*; 1% is allowed"):
        check_loss(Loss(1, 0.1, 40, 0.02, 1), "fp16", labels)
    check_loss(Loss(200, 0.1, 40, 0.02, 1), "int8", labels)


def test_metadata_of_label_maps_say_what_files_hold() -> None:
    prepared = Preparation(values=((7, 0), (255, 1)), offset=-1, size=(64, 64))
    names, colors = ("sea", "ice", "wood", "sand"), ((0, 0, 9), (9, 9, 9), (0, 9, 0), (9, 9, 0))
    domains = {"a": Domain("land", "labels", 4, names, colors, preparation=prepared), "b": DOMAINS["b"]}
    plan = planned(on_the_cpu(of(resnet(domains=domains, directions=AB, **OPTIONS), domains)), AB[0])
    (told,) = json.loads(json.dumps(facts_of(plan, None, "fp32")))["i2i.inputs"]
    assert (told["kind"], told["range"], told["size"], told["instances"]) == ("labels", [0, 1], [64, 64], False)
    assert told["classes"][0] == {"name": "sea", "color": [0, 0, 9], "value": 7}
    assert [(one["name"], one["value"]) for one in told["classes"][1:]] == [("ice", 255), ("wood", 3), ("sand", 4)]
    assert told["preparation"]["values"] == [[7, 0], [255, 1]]


def test_what_can_be_exported_is_said_without_a_trace(
    made: Made, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("i2i_export.export.traced", lambda plan: pytest.fail("it was traced"))
    assert terminal.call(monkeypatch, "export", made.folder) == 0
    said = capsys.readouterr().out
    numbers = sum(parameter.numel() for parameter in made.model.module.parameters())
    assert "formats: onnx (ready); torch-export (ready)" in said
    assert "day → night:" in said
    assert "image: 'day', 3 channels in [-1, 1], sides from 16 px, multiples of 4, any number at once" in said
    assert "draws nothing at random" in said
    assert f"{numbers:,} weights" in said
    assert terminal.call(monkeypatch, "export", made.folder, "--format", "onnx") == 2
    assert "Missing: --out" in capsys.readouterr().err


def test_the_survey_names_what_stands_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    styled, noisy = "\n".join(survey(of(Tinted()))), "\n".join(survey(of(Tinted(noise=1.0))))
    assert "input style, with --style-input: 'night', 3 channels in [-1, 1], as 256 x 256 px in training" in styled
    assert "draws a style: export it with --style or --style-seed or --style-input" in styled
    assert "draws random numbers for every pixel, or dropout, so it cannot be exported" in noisy
    kept = of(Tinted())
    vars(kept.module.layer)["exports"] = False
    assert "its network Conv2d (layer) declares exports = False" in "\n".join(survey(kept))
    monkeypatch.setattr("i2i_export.survey.find_spec", lambda name: None)
    assert "onnx (needs onnx, onnxscript, onnxruntime: pip install" in next(iter(survey(kept)))
