"""A trained generator as one file that runs without i2i: ONNX, or a program of ``torch.export``.

The file holds one direction, from (B, C, H, W) to (B, C', H, W), with any B, and any H and W that are multiples of its
divisor and no smaller than its smallest side. Before it is written it has to give what the translator gives, at the size of
the training pictures and at others.
"""

import json
import operator
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from i2i.adapters import OneDirection
from i2i.errors import UserError, one_line
from i2i.files import new_file
from i2i.protocols import Direction
from i2i.translation.conversion import reflected
from i2i.translation.translator import Translator
from i2i_export.baked import ordinary_side, styled

Form = Literal["onnx", "torch-export"]
Size = tuple[int, int, int]
"""B, H, W."""

TOLERANCE = 1e-4
"""The largest difference from the model that is accepted, for values in [-1, 1]."""
UNKNOWN = 256
"""The side of the training pictures where the model does not record it, as for converted weights: that of the papers."""
LARGEST = 1024
"""Larger training pictures are checked at this side: config.json may come from a stranger."""


@dataclass(frozen=True)
class Exported:
    """The file, the sizes (B, H, W) that were tested, and the largest difference from the model."""

    path: Path
    sizes: tuple[Size, ...]
    difference: float


@dataclass(frozen=True)
class _Plan:
    """What is exported, and for which sizes. ``batch`` is 1 where pictures of one batch would change each other, else None.

    ``translator`` has its style fixed in its module; ``expected`` gives what *style* says with the model as it is.
    """

    translator: Translator
    expected: Callable[[Tensor], Tensor]
    style: Mapping[str, Any]
    way: Direction
    network: nn.Module
    divisor: int
    smallest: int
    batch: Literal[1] | None

    def up(self, side: float) -> int:
        """The side, or the next larger one that the file accepts."""
        return max(self.smallest, -(-int(side) // self.divisor) * self.divisor)

    def sizes(self) -> tuple[Size, ...]:
        """The smallest square, the size of training pictures, a rectangle, and a larger rectangle in the other orientation."""
        h, w = (self.up(side) for side in _trained(self.translator, self.way[0]))
        wider = self.up(w + max(w // 4, 1))
        taller = self.up(max(h + h // 2, wider + 1))
        batches = (1, 1, 1, 1) if self.batch else (3, 1, 2, 1)
        places = (self.smallest, self.smallest), (h, w), (h, wider), (taller, wider)
        return tuple((b, *place) for b, place in zip(batches, places, strict=True))

    def example(self, size: Size) -> Tensor:
        """Random images, or random one-hot labels, (B, C, H, W)."""
        b, h, w = size
        domain = self.translator.domains[self.way[0]]
        generator = torch.Generator().manual_seed(b + h + w)
        if domain.kind == "image":
            return torch.rand(b, domain.channels, h, w, generator=generator) * 2 - 1
        ids = torch.randint(0, domain.channels, (b, h, w), generator=generator)
        return nn.functional.one_hot(ids, domain.channels).permute(0, 3, 1, 2).float()

    def facts(self) -> Mapping[str, Any]:
        """What a caller must know, for the metadata of the file."""
        converted = self.translator.recorded.get("converted") or {}
        return {
            "i2i.source": self.translator.domains[self.way[0]].name,
            "i2i.target": self.translator.domains[self.way[1]].name,
            "i2i.preparation": asdict(self.translator.domains[self.way[0]].preparation),
            "i2i.divisor": self.divisor,
            "i2i.smallest": self.smallest,
            "i2i.use": dict(self.translator.use),
            "i2i.style": dict(self.style),
            "i2i.licence": converted.get("licence", ""),
        }


def export(
    translator: Translator,
    format: Form,
    path: str | Path,
    to: str | None = None,
    source: str | None = None,
    *,
    style: str | Path | None = None,
    style_seed: int | None = None,
    overwrite: bool = False,
) -> Exported:
    """Export the direction from *source* to *to*; the file appears only if it does what the translator does.

    If a generator takes a style, that of the picture *style*, or the one drawn from *style_seed*, is fixed in the file.

    Raises:
        UserError: a package is missing, the model cannot be exported, or the exported file gives other results.
    """
    path, way = Path(path), translator.direction(to, source)
    suffix = {"onnx": ".onnx", "torch-export": ".pt2"}[format]
    if path.suffix != suffix:
        raise UserError(f"{path}: the file's name must end in {suffix}.")
    if path.exists() and not overwrite:
        raise UserError(f"{path}: it exists already. Choose another name, or overwrite it (--overwrite).")
    if not path.parent.is_dir():
        raise UserError(f"{path.parent}: there is no such folder.")
    if odd := [part for part in translator.module.modules() if getattr(part, "exports", True) is False]:
        raise UserError(f"this model cannot be exported: its network {type(odd[0]).__name__} declares exports = False.")
    _check_packages(format)
    module = translator.module.eval().cpu().requires_grad_(False)
    plain = replace(translator, module=module, device=torch.device("cpu"), precision="fp32", engine=None)
    try:
        with new_file(path, suffix) as partial:
            plan = _plan(plain, way, style, style_seed)
            run = (_to_onnx if format == "onnx" else _to_program)(plan, partial)
            sizes = plan.sizes()
            difference = max(_difference(plan, run, size) for size in sizes)
    except OSError as error:
        raise UserError(f"{path}: it cannot be written ({error.strerror or error}).") from error
    finally:
        translator.module.to(translator.device)
    return Exported(path, sizes, difference)


def _check_packages(form: Form) -> None:
    wanted = ("onnx", "onnxscript", "onnxruntime") if form == "onnx" else ()
    if missing := [name for name in wanted if find_spec(name) is None]:
        raise UserError(
            f"the export to ONNX needs {', '.join(missing)}. Install the extra: pip install 'i2i-framework[export]'."
        )


def _plan(model: Translator, way: Direction, style: str | Path | None, seed: int | None) -> _Plan:
    """The smallest side is the translator's, which pads smaller pictures, or else what every generator has to take."""
    translator, given, told = styled(model, way, style, seed)
    network = OneDirection(translator.module, way, translator.domains[way[1]].kind == "image").eval()
    divisor = int(getattr(translator.module, "divisor", 1))
    padded = len(reflected(1, divisor)[1])
    smallest = padded if _takes(network, translator, way, padded) else ordinary_side(divisor)
    found = translator.dependence(way, (smallest, smallest))
    if found.seed:
        raise UserError(
            "this model draws random numbers (dropout, styles) in inference, but a file would always give the same ones. "
            "If it draws only a style, fix it with --style or --style-seed; otherwise it cannot be exported."
        )

    def expected(x: Tensor) -> Tensor:
        return model.batch(x, way, given, seed or 0, tile=0)

    return _Plan(translator, expected, told, way, network, divisor, smallest, 1 if found.others else None)


def _takes(network: nn.Module, translator: Translator, way: Direction, side: int) -> bool:
    try:
        with torch.inference_mode():
            network(torch.zeros(1, translator.domains[way[0]].channels, side, side))
    except (UserError, RuntimeError):
        return False
    return True


def _trained(translator: Translator, key: str) -> tuple[int, int]:
    """Height and width of the domain's training pictures."""
    h, w = (translator.recorded.get("sizes") or {}).get(key, (UNKNOWN, UNKNOWN))
    return min(h, LARGEST), min(w, LARGEST)


def _program(plan: _Plan) -> torch.export.ExportedProgram:
    """The traced network, without the names of the files that its lines came from."""
    divisor, least = plan.divisor, plan.smallest // plan.divisor
    batch = torch.export.Dim("batch", min=1) if plan.batch is None else torch.export.Dim.STATIC
    rows, columns = (divisor * torch.export.Dim(name, min=least) for name in ("rows", "columns"))
    # An oblong of at least two multiples: nothing is taken for constant or equal that only happens to be so here.
    example = plan.example((plan.batch or 2, plan.smallest + divisor, plan.smallest + 2 * divisor))
    try:
        with torch.no_grad(), warnings.catch_warnings(), _single_positions(least == 1):
            warnings.simplefilter("ignore")  # torch's remarks on its own parts
            traced = torch.export.export(plan.network, (example,), dynamic_shapes=({0: batch, 2: rows, 3: columns},))
            # A program with a part outside of autocast cannot be saved without this.
            program: torch.export.ExportedProgram = traced.run_decompositions({})
    except Exception as error:  # torch raises a dozen kinds here
        told = "specialized it to be a constant" in str(error)
        hint = " Its network turns a size into a constant, as len(x) and int(…) do; x.shape[0] does not." if told else ""
        raise UserError(f"this model cannot be exported: {_reason(error)}.{hint}") from error
    for node in _nodes(program):
        node.meta.pop("stack_trace", None)  # with the paths of this installation
        if node.target is operator.rshift:  # of sizes, which ONNX can only divide
            node.target, node.args = operator.floordiv, (node.args[0], 2 ** node.args[1])
    return program


def _single_positions(wanted: bool) -> AbstractContextManager[object]:
    """Allow the deepest map to have a single row or column; otherwise torch adds guards against it, only for memory layout.

    torch's own exporter to ONNX sets the same switch.
    """
    return torch.fx.experimental._config.patch(backed_size_oblivious=True) if wanted else nullcontext()  # type: ignore[attr-defined]


def _nodes(program: torch.export.ExportedProgram) -> Iterable[Any]:
    """The nodes of the graph and of the graphs within it."""
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            yield from module.graph.nodes


def _to_program(plan: _Plan, path: Path) -> Callable[[Tensor], Tensor]:
    program = _program(plan)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on tensors that are parts of larger ones
            torch.export.save(program, path, extra_files={"i2i.json": json.dumps(plan.facts())})
            return torch.export.load(path).module()
    except OSError:
        raise
    except Exception as error:  # torch raises a dozen kinds here
        raise UserError(f"this model cannot be saved as a program: {_reason(error)}.") from error


def _to_onnx(plan: _Plan, path: Path) -> Callable[[Tensor], Tensor]:
    program = _program(plan)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made: Any = torch.onnx.export(
                program, (), dynamo=True, input_names=["image"], output_names=["translation"], verbose=False
            )
    except Exception as error:  # torch raises a dozen kinds here
        raise UserError(f"this model cannot be exported to ONNX: {_reason(_cause(error))}.") from error
    for node in made.model.graph.all_nodes():
        node.metadata_props.pop("pkg.torch.onnx.stack_trace", None)
    made.model.metadata_props.update({name: json.dumps(value) for name, value in plan.facts().items()})
    try:
        made.save(path, external_data=False)
        session: Any = import_module("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])
    except OSError:
        raise
    except Exception as error:  # a file of more than 2 GB, an operator that the runtime lacks
        raise UserError(f"this model cannot be saved as ONNX: {_reason(error)}.") from error
    return lambda x: torch.from_numpy(session.run(None, {"image": x.numpy()})[0])


def _difference(plan: _Plan, run: Callable[[Tensor], Tensor], size: Size) -> float:
    """The largest difference from the translator's result on an example of this size.

    Raises:
        UserError: the file fails there, or the difference is too large.
    """
    x = plan.example(size)
    here = f"on a batch of {size[0]}, {size[1]} px high and {size[2]} px wide"
    expected = plan.expected(x)
    try:
        with torch.no_grad():
            difference = float((run(x) - expected).abs().max())
    except Exception as error:  # of torch's, of the runtime's
        raise UserError(f"the exported model fails {here}: {_reason(error)}. Nothing was written.") from error
    if not difference <= TOLERANCE:
        raise UserError(
            f"the exported model differs from the model by {difference:.2g} {here}; {TOLERANCE:.0e} is allowed. Nothing was "
            "written."
        )
    return difference


def _cause(error: BaseException) -> BaseException:
    """The original error: torch's own mostly says where to report it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {one_line(error, 400).rstrip('.')}"
