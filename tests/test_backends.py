"""The engines that may compute a generator: the same pictures as torch's, or one sentence."""

import re
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

import i2i
import i2i_export
import i2i_translate
import terminal
import toy
from i2i.errors import UserError
from i2i.protocols import Domain, Translation
from i2i.registry import Registry, hookimpl
from i2i.translation.engines import Engine
from i2i.translation.model_folder import Origin, save_model
from i2i.translation.translator import Translator
from i2i_cyclegan.networks import resnet
from i2i_pix2pix.networks import unet
from i2i_spade.generator import SpadeGenerator

DOMAINS = {"a": Domain("day", "image", 3), "b": Domain("night", "image", 3)}
LABELS = {"a": Domain("land", "labels", 4), "b": DOMAINS["b"]}
AB = (("a", "b"),)
REGISTRY = Registry({"export": i2i_export, "translate": i2i_translate})
RESNET: dict[str, Any] = {"width": 4, "blocks": 1}
NETWORKS: dict[str, Any] = {
    "resnet": (resnet, DOMAINS, RESNET),
    "unet": (unet, DOMAINS, {"width": 4, "downs": 3, "inference": "eval"}),
    "spade": (SpadeGenerator, LABELS, {"width": 1, "hidden": 4}),
}


def translator(name: str, **over: Any) -> Translator:
    torch.manual_seed(0)
    factory, domains, options = NETWORKS[name]
    module = factory(domains=domains, directions=AB, **{**options, **over})
    return Translator(module, domains, AB, {"extra": {"sizes": {"a": [64, 64]}}}, torch.device("cpu"), REGISTRY)


def ids(height: int, width: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 4, (height, width), dtype=np.uint8)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_the_result_is_torch_s_at_any_size(backend: str) -> None:
    """tests/test_export.py has OpenVINO compute the other networks, which take long to export."""
    pytest.importorskip("onnxscript")
    pytest.importorskip(backend)
    model = translator("resnet")
    other = model.with_backend(backend)
    for b, h, w in ((1, 33, 40), (2, 64, 32)):
        x = torch.rand(b, 3, h, w) * 2 - 1
        torch.testing.assert_close(other.translate(x), model.translate(x), rtol=0, atol=1e-4)


def test_openvino_in_half_precision_is_near() -> None:
    pytest.importorskip("openvino")
    model = translator("resnet")
    half = Translator(model.module, DOMAINS, AB, {}, model.device, model.registry, "bf16")
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    torch.testing.assert_close(half.with_backend("openvino").translate(x), model.translate(x), rtol=0, atol=0.05)


def test_compiled_is_the_same_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a compiler at hand: the graph is captured and run as it is."""
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda module, **_: compile_(module, backend="eager"))
    model = translator("resnet")
    x = torch.rand(2, 3, 32, 40) * 2 - 1
    torch.testing.assert_close(model.with_backend("compile").translate(x), model.translate(x), rtol=0, atol=1e-6)


class Noisy(nn.Module):
    """Dropout and noise that stay on."""

    exposes: frozenset[str] = frozenset()
    divisor = 1

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: torch.Tensor, source: str, *targets: str) -> Translation:
        y = F.dropout(self.conv(x), 0.5, training=True)
        return Translation(dict.fromkeys(targets, torch.tanh(y + torch.randn_like(y))))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on CPUs")
@pytest.mark.filterwarnings("ignore")
def test_compiled_draws_the_same_under_one_seed() -> None:
    resnet = translator("resnet")
    model = Translator(Noisy(), DOMAINS, AB, {}, resnet.device, resnet.registry)
    x = torch.rand(1, 3, 16, 16) * 2 - 1
    compiled = model.with_backend("compile")
    for seed in (0, 7):
        made = compiled.translate(x, style_seed=seed)
        torch.testing.assert_close(made, model.translate(x, style_seed=seed), rtol=0, atol=1e-5)
    assert compiled.engine is not None
    assert compiled.engine.run.compiled is not None


def test_a_compile_that_fails_is_said_once_and_done_without(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no compiler\nhere")

    monkeypatch.setattr(torch, "compile", lambda module, **_: broken)
    model = translator("resnet")
    other = model.with_backend("compile")
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    for _ in range(2):
        assert torch.equal(other.translate(x), model.translate(x))
    assert capsys.readouterr().err == "i2i: torch.compile fails here; continuing without it: RuntimeError: no compiler\n"


def test_large_pictures_go_through_torch_in_tiles() -> None:
    class Never(nn.Module):
        def forward(self, *_: Any) -> Any:
            raise AssertionError("tiles look into the network")

    model = translator("resnet")
    other = Translator(model.module, DOMAINS, AB, {}, model.device, model.registry, engine=Engine("never", Never()))
    x = torch.rand(1, 3, 160, 160) * 2 - 1
    assert torch.equal(other.translate(x, tile=64), model.translate(x, tile=64))


def test_what_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = translator("resnet")
    with pytest.raises(UserError, match=r"there is no engine 'onnx-runtime'\. Did you mean 'onnxruntime'"):
        model.with_backend("onnx-runtime")
    half = Translator(model.module, DOMAINS, AB, {}, model.device, model.registry, "bf16")
    with pytest.raises(UserError, match=r"onnxruntime computes in fp32, not in bf16\. Use that, or the backend torch"):
        half.with_backend("onnxruntime")
    styled = translator("spade", vae=True, size=(32, 32), encoder_width=1, style_size=4)
    x = torch.rand(1, 3, 32, 32)
    with pytest.raises(UserError, match="the backend onnxruntime takes no style"):
        styled.with_backend("onnxruntime").translate(ids(32, 32), style=x)
    drawing = translator("unet", inference="train_mode", downs=6)
    with pytest.raises(UserError, match=r"the backend onnxruntime needs ONNX: .*Or use the backend torch"):
        drawing.with_backend("onnxruntime").translate(torch.rand(1, 3, 64, 64))
    monkeypatch.setattr("i2i.translation.engines.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"openvino is not installed: pip install 'i2i-framework\[openvino\]'"):
        model.with_backend("openvino")


def test_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxscript")
    save_model(
        tmp_path / "m",
        translator("resnet").module,
        {"": Origin("resnet", "cyclegan", "", RESNET)},
        domains=DOMAINS,
        directions=AB,
    )
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(tmp_path / "x.png")
    for backend in ("torch", "onnxruntime"):
        command = ["translate", str(tmp_path / "m"), str(tmp_path / "x.png"), "--out", str(tmp_path / backend)]
        assert terminal.call(monkeypatch, *command, "--backend", backend) == 0
    made = [np.asarray(Image.open(tmp_path / backend / "x.png"), dtype=int) for backend in ("torch", "onnxruntime")]
    assert abs(made[0] - made[1]).max() <= 1
    assert i2i.load(tmp_path / "m", backend="onnxruntime").engine is not None


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model folder of toys, and an engine ``mine`` of a plugin that nobody here has heard of."""
    terminal.install(monkeypatch, Registry({"toys": toy, "strange": Strange(Negative)}))
    module = toy.registry().get("generator", "toy").factory(domains=DOMAINS, directions=AB, width=4)
    save_model(tmp_path / "m", module, {"": Origin("toy", "toys", "", {"width": 4})}, domains=DOMAINS, directions=AB)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(tmp_path / "x.png")
    return tmp_path / "m"


class Negative:
    """An engine that gives the negative, so that a result says who made it."""

    precisions = ("fp32", "bf16")

    def __init__(self, translator: Translator) -> None:
        self.module, self.precision = translator.module.eval(), translator.precision

    def __call__(self, x: torch.Tensor, source: str, target: str) -> torch.Tensor:
        assert torch.is_autocast_enabled("cpu") == (self.precision == "bf16")
        return -self.module(x, source, target).images[target]


class Absent(Negative):
    needs: ClassVar = {"tensors_of_mine": "tensors-of-mine>=2"}


class Strange:
    """A plugin with one engine."""

    def __init__(self, factory: Any) -> None:
        self.factory = factory

    @hookimpl
    def register_engines(self) -> dict[str, Any]:
        return {"mine": self.factory, "absent": Absent}


def translated(model: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    out = model.parent / "out"
    return terminal.call(monkeypatch, "translate", model, model.parent / "x.png", "--out", out, "--overwrite", *options)


def test_an_engine_of_a_stranger_s_plugin_makes_the_pictures(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for backend in ("torch", "mine"):
        assert translated(model, monkeypatch, "--backend", backend) == 0
        made.append(np.asarray(Image.open(model.parent / "out" / "x.png"), dtype=int))
    assert abs(made[0] + made[1] - 255).max() <= 1
    assert translated(model, monkeypatch, "--backend", "mine", "--precision", "bf16") == 0


def test_the_engine_in_the_docs_computes_what_torch_does(model: Path, root: Path) -> None:
    (example,) = (
        source
        for source in re.findall(r"```python\n(.*?)```", (root / "docs" / "hooks.md").read_text(), re.DOTALL)
        if "def register_engines" in source
    )
    plugin = ModuleType("example")
    exec(compile(example, "docs/hooks.md", "exec"), plugin.__dict__)
    registry = Registry({"toys": toy, "example": plugin})
    x = torch.rand(2, 3, 16, 20) * 2 - 1
    other = i2i.load(model, registry=registry, backend="channels_last")
    torch.testing.assert_close(other.translate(x), i2i.load(model, registry=registry).translate(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--backend", "mime"],
            "no engine 'mime'. Did you mean 'mine'? Engines: absent, mine. torch is always available.",
        ),
        (
            ["--backend", "mine", "--precision", "fp16"],
            "the backend mine computes in fp32 or bf16, not in fp16. Use that, or the backend torch.",
        ),
        (["--backend", "absent"], "the backend absent is not installed: pip install 'tensors-of-mine>=2'."),
    ],
)
def test_an_engine_that_cannot_be_is_refused_before_weights_are_read(
    options: list[str], message: str, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (model / "model.safetensors").unlink()
    assert translated(model, monkeypatch, *options) == 2
    assert message in capsys.readouterr().err


def test_an_engine_of_a_disabled_plugin_is_named_as_such(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("I2I_DISABLE_PLUGINS", "export")
    with pytest.raises(UserError, match=r"no engine 'openvino'.*Disabled by I2I_DISABLE_PLUGINS: export"):
        i2i.load(model, registry=Registry(), backend="openvino")


def test_a_result_of_another_size_is_refused(model: Path) -> None:
    registry = Registry({"toys": toy, "strange": Strange(lambda translator: lambda x, source, target: x[:, :, ::2])})
    with pytest.raises(UserError, match=r"the backend mine made \(1, 3, 8, 16\) of \(1, 3, 16, 16\)"):
        i2i.load(model, registry=registry, backend="mine").translate(torch.zeros(1, 3, 16, 16))
