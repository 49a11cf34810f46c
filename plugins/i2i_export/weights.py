"""How the weights of an ONNX model are stored: in 32 or 16 bits, or in 8 bits with a scale for each output channel.

What is stored in fewer bits becomes float32 again before it is used, so the network computes in float32 everywhere. Runtimes do
that once, when they open a file: a Cast and a Mul of constants are constants. DequantizeLinear would say the same, but ONNX
Runtime then rounds what a linear layer multiplies to 8 bits too (differences of 5e-4), and repeats the conversion in each call.
"""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Weights = Literal["fp32", "fp16", "int8"]

HALVED = 64
"""A tensor of fewer numbers stays float32: the operation that turns it back would take as many bytes as it saves."""
QUANTISED = 1000
"""A convolution's or linear layer's weight of fewer numbers stays in 16 bits: with scales it would hardly be smaller."""


def stored(model: Any, weights: Weights) -> None:
    """Store the weights of an ``onnx_ir.Model`` in this way, in place.

    fp16: a tensor in float16 and a Cast. int8: for weights of convolutions and linear layers int8 in [-127, 127],
    a Cast and a Mul, w = q * scale, with scale = max |w| / 127 over each output channel (symmetric, no zero point); the rest as
    with fp16. Tensors with numbers that float16 does not hold stay float32.
    """
    if weights == "fp32":
        return
    import onnx_ir as ir

    for value in list(model.graph.initializers.values()):
        if value.dtype != ir.DataType.FLOAT or value.is_graph_output():
            continue
        numbers = value.const_value.numpy()
        axis = _output_axis(value) if weights == "int8" and numbers.size >= QUANTISED else None
        if axis is not None:
            _quantised(model.graph, value, numbers, axis)
        elif numbers.size >= HALVED and float(np.abs(numbers).max()) <= float(np.finfo(np.float16).max):
            _behind(model.graph, value, numbers.astype(np.float16))


def _quantised(graph: Any, value: Any, numbers: NDArray[np.float32], axis: int) -> None:
    """Replace a weight by integers and a scale for each place along its *axis*."""
    others = tuple(i for i in range(numbers.ndim) if i != axis)
    scale = np.abs(numbers).max(others, keepdims=True) / 127
    scale[scale == 0] = 1  # a channel of zeros
    integers = np.rint(numbers / scale).astype(np.int8)
    _behind(graph, value, integers, scale.astype(np.float32))


def _behind(graph: Any, value: Any, numbers: NDArray[Any], scale: NDArray[np.float32] | None = None) -> None:
    """Replace an initializer by *numbers*, and what turns them into float32, times a scale."""
    import onnx_ir as ir

    held = _constant(graph, f"{value.name}.stored", numbers)
    nodes = [ir.node("Cast", [held], {"to": int(ir.DataType.FLOAT)})]
    if scale is not None:
        nodes[0].outputs[0].name = f"{value.name}.cast"
        nodes.append(ir.node("Mul", [nodes[0].outputs[0], _constant(graph, f"{value.name}.scale", scale)]))
    result = nodes[-1].outputs[0]
    result.name, result.dtype, result.shape = value.name, ir.DataType.FLOAT, value.shape
    value.replace_all_uses_with(result)
    del graph.initializers[value.name]
    graph.insert_before(graph[0], nodes)


def _constant(graph: Any, name: str, numbers: NDArray[Any]) -> Any:
    import onnx_ir as ir

    made = ir.val(name, const_value=ir.tensor(numbers))
    graph.register_initializer(made)
    return made


def _output_axis(value: Any) -> int | None:
    """The axis of the output channels, if this is the weight of convolutions or linear layers and nothing else."""
    axes = set(_axes(value))
    return axes.pop() if len(axes) == 1 else None


def _axes(value: Any) -> Iterator[int | None]:
    for node, place in value.uses():
        if place != 1:
            yield None
        elif node.op_type == "Conv":
            yield 0
        elif node.op_type == "ConvTranspose" and _number(node, "group", 1) == 1:
            yield 1
        elif node.op_type == "Gemm":
            yield 0 if _number(node, "transB", 0) else 1
        elif node.op_type == "MatMul" and len(value.shape) == 2:
            yield 1
        else:
            yield None


def _number(node: Any, name: str, otherwise: int) -> int:
    found = node.attributes.get(name)
    return otherwise if found is None else int(found.as_int())
