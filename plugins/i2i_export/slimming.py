"""ONNX models in fewer bytes, of which a small network's graph would take more than its weights."""

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

NEUTRAL = {"Mul": 1.0, "Add": 0.0}
"""A tensor that is this everywhere changes nothing."""

DEFAULTS: Mapping[str, Mapping[str, Callable[[Any], bool]]] = {
    "Conv": {
        "group": lambda value: value == 1,
        "auto_pad": lambda value: value == "NOTSET",
        "dilations": lambda value: set(value) == {1},
        "strides": lambda value: set(value) == {1},
        "pads": lambda value: set(value) == {0},
        "kernel_shape": lambda value: True,  # that of the weight
    },
    "ReduceMean": {"noop_with_empty_axes": lambda value: value == 0, "keepdims": lambda value: value == 1},
    "Reshape": {"allowzero": lambda value: value == 0},
    "Pad": {"mode": lambda value: value == "constant"},
    "Shape": {"start": lambda value: value == 0},
}
DEFAULTS = {**DEFAULTS, "ConvTranspose": {name: DEFAULTS["Conv"][name] for name in ("group", "auto_pad", "dilations")}}
"""Attributes of operations that ONNX assumes where they are left out (its operators, versions 18 to 21)."""


def without_neutral(model: Any) -> None:
    """Leave out products with ones and sums with zeros, in an ``onnx_ir.Model``, where they do not change the shape either.

    torch's exporter writes both behind a norm without a gain and a shift; each would read and write a whole map.
    """
    from onnx_ir.passes.common import ShapeInferencePass

    ShapeInferencePass()(model)
    for node in list(model.graph):
        if node.op_type not in NEUTRAL or node.outputs[0].is_graph_output():
            continue
        for kept, other in (node.inputs, reversed(node.inputs)):
            if other.const_value is None or not _broadcast_into(other, kept):
                continue
            if (other.const_value.numpy() == NEUTRAL[node.op_type]).all():
                node.outputs[0].replace_all_uses_with(kept)
                model.graph.remove(node, safe=True)
                break


def _broadcast_into(other: Any, kept: Any) -> bool:
    """Whether the result of both has the shape of *kept*: the other has no more axes, and a length of 1 or the same."""
    if kept.shape is None or other.shape is None or len(other.shape) > len(kept.shape):
        return False
    pairs = zip(reversed(list(other.shape)), reversed(list(kept.shape)), strict=False)
    return all(a == 1 or (isinstance(a, int) and a == b) for a, b in pairs)


def slimmed(model: Any) -> None:
    """Short names for all but the inputs and outputs, no shapes, and no attributes that say what is assumed anyway."""
    names = (_short(i) for i in count())
    fixed = {value.name for value in (*model.graph.inputs, *model.graph.outputs)}
    for value in list(model.graph.initializers.values()):
        value.name = next(names)
    for node in model.graph.all_nodes():
        for name, assumed in DEFAULTS.get(node.op_type, {}).items():
            if name in node.attributes and assumed(node.attributes[name].value):
                del node.attributes[name]
        for value in node.outputs:
            if value.name and value.name not in fixed:
                value.name, value.shape, value.type = next(names), None, None  # which a runtime infers


def _short(number: int) -> str:
    """a, b … z, aa, ab …, without two of one name."""
    letters = ""
    while True:
        letters = chr(97 + number % 26) + letters
        number = number // 26 - 1
        if number < 0:
            return letters
