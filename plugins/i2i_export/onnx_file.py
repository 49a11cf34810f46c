"""A traced network as an ONNX model: its weights computed, nothing in it that only helps to debug, and its file."""

import json
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from i2i.errors import UserError
from i2i_export.plan import Plan
from i2i_export.slimming import slimmed, without_neutral
from i2i_export.tracing import cause, reason

Run = Callable[..., Tensor]
"""Computes what a file holds, of the plan's inputs."""

GROWING = {"ConstantOfShape", "Expand", "Tile", "Range"}
"""Operations whose results are not stored in the file, as they may be much larger than their inputs."""


def onnx_model(plan: Plan, program: torch.export.ExportedProgram) -> Any:
    """The network as an ``onnx_ir.Model``, with its weights in float32.

    What only depends on weights, such as those under spectral norm, is computed now.

    Raises:
        UserError: it has an operation that ONNX lacks.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made: Any = torch.onnx.export(
                program, (), dynamo=True, input_names=plan.input_names, output_names=["translation"], verbose=False
            )
    except Exception as error:  # torch raises a dozen kinds here
        raise UserError(f"this model cannot be exported to ONNX: {reason(cause(error))}.") from error
    _tidied(made.model)
    return made.model


def save_onnx(model: Any, facts: Mapping[str, Any], path: Path) -> None:
    """Write the file, with the facts, as JSON, in its metadata.

    Raises:
        UserError: it would have more than 2 GB.
    """
    import onnx_ir as ir

    for value, told in zip((*model.graph.inputs, *model.graph.outputs), _tensors(facts), strict=True):
        value.shape = ir.Shape(told["shape"])
    model.metadata_props.clear()
    model.metadata_props.update({name: json.dumps(value) for name, value in facts.items()})
    slimmed(model)
    try:
        ir.save(model, path)
    except OSError:
        raise
    except Exception as error:  # a file of more than 2 GB
        raise UserError(f"this model cannot be saved as ONNX: {reason(error)}.") from error


def onnx_session(path: Path) -> Run:
    """ONNX Runtime with the file, as it computes it by default.

    Raises:
        UserError: the runtime lacks one of its operations.
    """
    try:
        session: Any = import_module("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])
    except OSError:
        raise
    except Exception as error:  # ONNX Runtime's own kinds
        raise UserError(f"this model cannot be saved as ONNX: {reason(error)}.") from error
    names = [one.name for one in session.get_inputs()]

    def run(*inputs: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, dict(zip(names, (one.numpy() for one in inputs), strict=True)))[0])

    return run


def _tensors(facts: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*facts["i2i.inputs"], facts["i2i.output"]]


def _tidied(model: Any) -> None:
    import onnx_ir.passes.common as common
    from onnxscript.optimizer import fold_constants_ir

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fold_constants_ir(
            model,
            input_size_limit=2**31,
            output_size_limit=2**31,
            should_fold=lambda node: False if node.op_type in GROWING else None,
        )
        for tidying in (
            common.RemoveUnusedNodesPass(),
            common.CommonSubexpressionEliminationPass(),
            common.DeduplicateInitializersPass(),
            common.ClearMetadataAndDocStringPass(),
        ):
            tidying(model)
        without_neutral(model)
        common.RemoveUnusedNodesPass()(model)  # with the initializers of what was neutral
    model.graph.metadata_props.clear()
    for value in (*model.graph.initializers.values(), *model.graph.inputs, *model.graph.outputs):
        value.metadata_props.clear()
    for node in model.graph.all_nodes():
        node.name = None
        for value in node.outputs:
            value.metadata_props.clear()
            if not value.is_graph_output():
                value.shape = value.type = None  # which a runtime infers
