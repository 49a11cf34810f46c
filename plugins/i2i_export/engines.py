"""Engines that compute a trained generator: ``torch.compile``, ONNX Runtime, OpenVINO."""

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from i2i.errors import UserError, first_line
from i2i.protocols import Direction, Translation
from i2i.translation.translator import Translator
from i2i_export.export import export


class Compiled:
    """The generator with ``torch.compile``; if that fails, the generator itself, with one line on standard error."""

    precisions = ("fp32", "bf16", "fp16")

    def __init__(self, translator: Translator) -> None:
        self.module = translator.module.eval()
        # The same random numbers as without the compiler, which otherwise draws its own: one seed, one result.
        compiled = torch.compile(self.module, options={"fallback_random": True})
        self.compiled: Callable[..., Translation] | None = compiled

    def __call__(self, x: Tensor, source: str, target: str, **given: Tensor) -> Tensor:
        if self.compiled is not None:
            try:
                return self.compiled(x, source, target, **given).images[target]
            except torch.OutOfMemoryError:
                raise
            except Exception as error:
                self.compiled = None
                told = f"{type(error).__name__}: {first_line(error)[:200]}"
                print(f"i2i: torch.compile fails here; continuing without it: {told}", file=sys.stderr)
        made: Translation = self.module(x, source, target, **given)
        return made.images[target]


class _ThroughOnnx:
    """The generator through ONNX, one file for each direction, made and checked against the generator when first asked for."""

    name: str

    def __init__(self, translator: Translator) -> None:
        self.translator = translator
        self.runs: dict[Direction, Callable[[Tensor], Tensor]] = {}

    def __call__(self, x: Tensor, source: str, target: str) -> Tensor:
        if (source, target) not in self.runs:
            self.runs[source, target] = self._exported(source, target)
        return self.runs[source, target](x.cpu())

    def _exported(self, source: str, target: str) -> Callable[[Tensor], Tensor]:
        plain = torch.autocast(self.translator.device.type, enabled=False)
        with tempfile.TemporaryDirectory() as folder, torch.inference_mode(False), plain:
            path = Path(folder) / "model.onnx"
            try:
                export(self.translator, "onnx", path, target, source)
            except UserError as error:
                raise UserError(f"the backend {self.name} needs ONNX: {error} Or use the backend torch.") from error
            return self.start(path.read_bytes())

    def start(self, model: bytes) -> Callable[[Tensor], Tensor]:
        """A session that computes the network in these bytes, on the CPU."""
        raise NotImplementedError


class OnnxRuntime(_ThroughOnnx):
    """ONNX Runtime, on the translator's GPU if its build supports one."""

    name = "onnxruntime"
    needs = dict.fromkeys(("onnxruntime", "onnx", "onnxscript"), "i2i-framework[export]")
    precisions = ("fp32",)

    def start(self, model: bytes) -> Callable[[Tensor], Tensor]:
        runtime = import_module("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        wanted = ["CUDAExecutionProvider"] if self.translator.device.type == "cuda" else []
        providers = [name for name in wanted if name in runtime.get_available_providers()]
        session: Any = runtime.InferenceSession(model, options, providers=[*providers, "CPUExecutionProvider"])
        return lambda x: torch.from_numpy(session.run(None, {"image": x.numpy()})[0])


class OpenVino(_ThroughOnnx):
    """OpenVINO on the CPU."""

    name = "openvino"
    needs = dict.fromkeys(("openvino", "onnxruntime", "onnx", "onnxscript"), "i2i-framework[openvino]")
    precisions = ("fp32", "bf16")

    def start(self, model: bytes) -> Callable[[Tensor], Tensor]:
        with without_openvino_telemetry():
            core: Any = import_module("openvino").Core()
        hints = {
            "INFERENCE_PRECISION_HINT": "bf16" if self.translator.precision == "bf16" else "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
        }
        compiled = core.compile_model(core.read_model(model), "CPU", hints)
        return lambda x: torch.from_numpy(compiled(x.numpy())[0].copy())


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
    try:
        return (Path.home() / "intel" / name).read_text(encoding="utf-8").strip() == "1"
    except (OSError, ValueError):
        return False
