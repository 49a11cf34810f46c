"""Other engines that compute a trained generator: ``torch.compile``, ONNX Runtime, OpenVINO.

An engine is called as the generator is, and gives what it gives. High resolution goes through torch in any case, as tiles
need to look into the network.
"""

import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor

from i2i.errors import UserError, one_of
from i2i.protocols import Direction, Translation
from i2i.telemetry import without_openvino_telemetry

if TYPE_CHECKING:
    from i2i.inference import Translator

Backend = Literal["torch", "compile", "onnxruntime", "openvino"]

_PRECISIONS: dict[str, tuple[str, ...]] = {
    "torch": ("fp32", "bf16", "fp16"),
    "compile": ("fp32", "bf16", "fp16"),
    "onnxruntime": ("fp32",),
    "openvino": ("fp32", "bf16"),
}


def with_backend(translator: "Translator", backend: str) -> "Translator":
    """The translator with its network computed by *backend*.

    Raises:
        UserError: there is no such backend, its package is missing, or it cannot compute in the translator's precision.
    """
    known = get_args(Backend)
    one_of(backend, known, "backend")
    if translator.precision not in _PRECISIONS[backend]:
        able = " or ".join(name for name in known if translator.precision in _PRECISIONS[name])
        raise UserError(f"the backend {backend} does not compute in {translator.precision}. Take {able}.")
    if backend == "torch":
        return translator
    if backend == "compile":
        return replace(translator, engine=Compiled(translator.module.eval()))
    if find_spec(backend) is None:
        extra = {"onnxruntime": "export", "openvino": "openvino"}[backend]
        raise UserError(f"the backend {backend} is not installed: pip install 'i2i-framework[{extra}]'.")
    start = _onnxruntime if backend == "onnxruntime" else _openvino
    return replace(translator, engine=Exported(translator, backend, start))


class Compiled:
    """The generator by ``torch.compile``; where that fails, the generator itself, with one line on standard error."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module
        # The same random numbers as without the compiler, which otherwise draws its own: one seed, one result.
        self.compiled: Callable[..., Translation] | None = torch.compile(module, options={"fallback_random": True})

    def __call__(self, x: Tensor, source: str, target: str, **given: Tensor) -> Translation:
        if self.compiled is not None:
            try:
                return self.compiled(x, source, target, **given)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:
                self.compiled = None
                reason = next(iter(str(error).strip().splitlines()), "")[:200]
                print(f"i2i: torch.compile fails here, going on without it: {type(error).__name__}: {reason}", file=sys.stderr)
        made: Translation = self.module(x, source, target, **given)
        return made


class Exported:
    """The generator through ONNX, one file for each direction, made and checked against the generator when first asked for."""

    def __init__(self, translator: "Translator", backend: str, start: Callable[..., Callable[[Tensor], Tensor]]) -> None:
        self.translator, self.backend, self.start = translator, backend, start
        self.runs: dict[Direction, Callable[[Tensor], Tensor]] = {}

    def __call__(self, x: Tensor, source: str, target: str, **given: Tensor) -> Translation:
        if given:
            raise UserError(f"the backend {self.backend} takes no {' or '.join(given)}. Use the backend torch.")
        if (source, target) not in self.runs:
            self.runs[source, target] = self._exported(source, target)
        return Translation({target: self.runs[source, target](x.cpu()).to(x.device)})

    def _exported(self, source: str, target: str) -> Callable[[Tensor], Tensor]:
        from i2i.export import export

        plain = torch.autocast(self.translator.device.type, enabled=False)
        with tempfile.TemporaryDirectory() as folder, torch.inference_mode(False), plain:
            path = Path(folder) / "model.onnx"
            try:
                export(self.translator, "onnx", path, target, source)
            except UserError as error:
                raise UserError(f"the backend {self.backend} needs ONNX: {error} Or use the backend torch.") from error
            return self.start(path.read_bytes(), self.translator)


def _onnxruntime(model: bytes, translator: "Translator") -> Callable[[Tensor], Tensor]:
    runtime = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    wanted = ["CUDAExecutionProvider"] if translator.device.type == "cuda" else []
    providers = [name for name in wanted if name in runtime.get_available_providers()]
    session: Any = runtime.InferenceSession(model, options, providers=[*providers, "CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(None, {"image": x.numpy()})[0])


def _openvino(model: bytes, translator: "Translator") -> Callable[[Tensor], Tensor]:
    with without_openvino_telemetry():
        core: Any = import_module("openvino").Core()
    hints = {
        "INFERENCE_PRECISION_HINT": "bf16" if translator.precision == "bf16" else "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = core.compile_model(core.read_model(model), "CPU", hints)
    return lambda x: torch.from_numpy(compiled(x.numpy())[0].copy())
