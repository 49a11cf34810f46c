"""A trained generator as one file that runs without i2i: ONNX, or a program of ``torch.export``.

The file holds one direction, from (B, C, H, W) to (B, C', H, W), with any B, and any H and W that are multiples of its
divisor. It is checked against the model at several sizes before it is written.
"""

import json
import operator
import secrets
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from i2i.conversion import reflected
from i2i.errors import UserError
from i2i.inference import Translator
from i2i.protocols import Direction

Form = Literal["onnx", "torch-export"]

TOLERANCE = 1e-4
"""The largest difference from the model that is accepted, for values in [-1, 1]."""


@dataclass(frozen=True)
class Exported:
    """The file, the sizes (B, H, W) that were tried, and the largest difference from the model."""

    path: Path
    sizes: tuple[tuple[int, int, int], ...]
    difference: float


class _OneWay(nn.Module):
    """One direction as an ordinary network."""

    def __init__(self, module: nn.Module, way: Direction) -> None:
        super().__init__()
        self.module, self.way = module, way

    def forward(self, image: Tensor) -> Tensor:
        made: Tensor = self.module(image, *self.way).images[self.way[1]]
        return made


def export(
    translator: Translator,
    form: Form,
    path: str | Path,
    to: str | None = None,
    source: str | None = None,
    *,
    overwrite: bool = False,
) -> Exported:
    """Export one direction of a model; the file appears only if it does what the model does.

    Raises:
        UserError: a package is missing, the model cannot be exported, or the exported file gives other results.
    """
    path, way = Path(path), translator.direction(to, source)
    suffix = {"onnx": ".onnx", "torch-export": ".pt2"}[form]
    if path.suffix != suffix:
        raise UserError(f"{path}: the file's name must end in {suffix}.")
    if path.exists() and not overwrite:
        raise UserError(f"{path}: already there. Choose another name, or ask to overwrite.")
    if not path.parent.is_dir():
        raise UserError(f"{path.parent}: there is no such folder.")
    _check_packages(form)
    network = _OneWay(translator.module.eval().cpu(), way).eval()
    partial = path.with_name(f".{secrets.token_hex(6)}{suffix}")
    try:
        network.requires_grad_(False)
        run = (_to_onnx if form == "onnx" else _to_program)(network, translator, way, partial)
        sizes = _sizes(translator)
        difference = max(_difference(network, run, translator, way, size) for size in sizes)
        if not difference <= TOLERANCE:
            raise UserError(
                f"the exported model differs from the model by {difference:.2g}; {TOLERANCE:.0e} is allowed. Nothing was "
                "written. A model that draws numbers (dropout, styles) while it translates cannot be exported."
            )
        partial.replace(path)
    except OSError as error:
        raise UserError(f"{path}: it cannot be written ({error.strerror or error}).") from error
    finally:
        for left in path.parent.glob(f"{partial.name}*"):
            left.unlink(missing_ok=True)
        translator.module.to(translator.device)
    return Exported(path, sizes, difference)


def _check_packages(form: Form) -> None:
    wanted = ("onnx", "onnxscript", "onnxruntime") if form == "onnx" else ()
    if missing := [name for name in wanted if find_spec(name) is None]:
        raise UserError(
            f"the export to ONNX needs {', '.join(missing)}. Install the extra: pip install 'i2i-framework[export]'."
        )


def _sizes(translator: Translator) -> tuple[tuple[int, int, int], ...]:
    """(B, H, W): a small square, of twice the divisor or a little more, and two oblongs."""
    divisor = int(getattr(translator.module, "divisor", 1))
    side = max(len(reflected(1, divisor)[1]), 2 * divisor)
    return (1, side, side), (2, side + divisor, side), (3, side, side + 2 * divisor)


def _example(translator: Translator, way: Direction, size: tuple[int, int, int]) -> Tensor:
    """Random images, or random one-hot labels, (B, C, H, W)."""
    b, h, w = size
    domain = translator.domains[way[0]]
    generator = torch.Generator().manual_seed(b + h + w)
    if domain.kind == "image":
        return torch.rand(b, domain.channels, h, w, generator=generator) * 2 - 1
    ids = torch.randint(0, domain.channels, (b, h, w), generator=generator)
    return nn.functional.one_hot(ids, domain.channels).permute(0, 3, 1, 2).float()


def _program(network: nn.Module, translator: Translator, way: Direction) -> torch.export.ExportedProgram:
    divisor = int(getattr(translator.module, "divisor", 1))
    batch, height, width = (torch.export.Dim(name, min=2 if i else 1) for i, name in enumerate(("batch", "rows", "columns")))
    b, h, w = _sizes(translator)[1]
    example = _example(translator, way, (b, h + divisor, w + 2 * divisor))
    shapes = ({0: batch, 2: divisor * height, 3: divisor * width},)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's remarks on its own parts
            traced = torch.export.export(network, (example,), dynamic_shapes=shapes)
            program: torch.export.ExportedProgram = traced.run_decompositions({})
    except Exception as error:  # torch raises a dozen kinds here
        reason = " ".join(str(error).split())[:400]
        raise UserError(f"this model cannot be exported: {type(error).__name__}: {reason}") from error
    for node in program.graph.nodes:
        if node.target is operator.rshift:  # of sizes, which ONNX can only divide
            node.target, node.args = operator.floordiv, (node.args[0], 2 ** node.args[1])
    return program


def _to_program(network: nn.Module, translator: Translator, way: Direction, path: Path) -> Callable[[Tensor], Tensor]:
    program = _program(network, translator, way)
    torch.export.save(program, path, extra_files={"i2i.json": json.dumps(_facts(translator, way))})
    return torch.export.load(path).module()


def _to_onnx(network: nn.Module, translator: Translator, way: Direction, path: Path) -> Callable[[Tensor], Tensor]:
    program = _program(network, translator, way)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made: Any = torch.onnx.export(
                program, (), dynamo=True, input_names=["image"], output_names=["translation"], verbose=False
            )
    except Exception as error:  # torch raises a dozen kinds here
        reason = " ".join(str(error).split())[:400]
        raise UserError(f"this model cannot be exported to ONNX: {type(error).__name__}: {reason}") from error
    made.model.metadata_props.update({name: json.dumps(value) for name, value in _facts(translator, way).items()})
    made.save(path, external_data=False)
    runtime = import_module("onnxruntime")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(None, {"image": x.numpy()})[0])


def _facts(translator: Translator, way: Direction) -> Mapping[str, Any]:
    """What a caller has to know, kept in the file."""
    extra: Any = translator.config.get("extra", {})
    converted = extra.get("converted", {}) if isinstance(extra, Mapping) else {}
    return {
        "i2i.source": translator.domains[way[0]].name,
        "i2i.target": translator.domains[way[1]].name,
        "i2i.preparation": asdict(translator.domains[way[0]].preparation),
        "i2i.divisor": int(getattr(translator.module, "divisor", 1)),
        "i2i.licence": converted.get("licence", ""),
    }


def _difference(
    network: nn.Module, run: Callable[[Tensor], Tensor], translator: Translator, way: Direction, size: tuple[int, int, int]
) -> float:
    x = _example(translator, way, size)
    with torch.no_grad():
        expected = network(x)
        made = run(x)
    with suppress(RuntimeError):
        return float((made - expected).abs().max())
    return float("inf")
