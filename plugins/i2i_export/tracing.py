"""The graph of a network, for any size that its plan allows."""

import operator
import warnings
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from i2i.errors import UserError, one_line
from i2i_export.plan import Plan, random_inputs


def traced(plan: Plan) -> torch.export.ExportedProgram:
    """The traced network, without the names of the files that its lines came from.

    Raises:
        UserError: it cannot be traced.
    """
    divisor, least = plan.divisor, plan.smallest // plan.divisor
    # An oblong of at least two multiples: nothing is taken for constant or equal that only happens to be so here.
    size = (plan.batch or 2, plan.smallest + divisor, plan.smallest + 2 * divisor)
    image, *style = plan.inputs(size, random_inputs)
    try:
        with torch.no_grad(), warnings.catch_warnings(), _single_positions(least == 1):
            warnings.simplefilter("ignore")  # torch's remarks on its own parts
            program = torch.export.export(plan.network, (image, *style), dynamic_shapes=_dynamic(plan, divisor, least))
    except Exception as error:  # torch raises a dozen kinds here
        told = "specialized it to be a constant" in str(error)
        hint = " Its network turns a size into a constant, as len(x) and int(…) do; x.shape[0] does not." if told else ""
        raise UserError(f"this model cannot be exported: {reason(error)}.{hint}") from error
    _tidy(program)
    return program


def style_shape(program: torch.export.ExportedProgram) -> tuple[int | None, int | None] | None:
    """Height and width of the style that the network takes, None for any; None if it has no such input."""
    names = program.graph_signature.user_inputs
    found = [node.meta["val"] for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    if len(found) < 2:
        return None
    h, w = (side if isinstance(side, int) else None for side in found[1].shape[2:])
    return h, w


def decomposed(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """The same of simpler operations: without this a program with a part outside of autocast cannot be saved."""
    with torch.no_grad(), warnings.catch_warnings(), _single_positions(True):
        warnings.simplefilter("ignore")
        simpler: torch.export.ExportedProgram = program.run_decompositions({})
    _tidy(simpler)
    return simpler


def cause(error: BaseException) -> BaseException:
    """The original error: torch's own mostly says where to report it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def reason(error: BaseException) -> str:
    """An error of another program in one line."""
    return f"{type(error).__name__}: {one_line(error, 400).rstrip('.')}"


def _dynamic(plan: Plan, divisor: int, least: int) -> tuple[dict[int, Any], ...]:
    batch = torch.export.Dim("batch", min=1) if plan.batch is None else torch.export.Dim.STATIC
    rows, columns = (divisor * torch.export.Dim(name, min=least) for name in ("rows", "columns"))
    image = {0: batch, 2: rows, 3: columns}
    if not plan.style_sizes:
        return (image,)
    side = torch.export.Dim.AUTO if len(plan.style_sizes) > 1 else torch.export.Dim.STATIC
    return image, {2: side, 3: side}


def _tidy(program: torch.export.ExportedProgram) -> None:
    for node in _nodes(program):
        node.meta.pop("stack_trace", None)  # with the paths of this installation
        if node.target is operator.rshift:  # of sizes, which ONNX can only divide
            node.target, node.args = operator.floordiv, (node.args[0], 2 ** node.args[1])


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
