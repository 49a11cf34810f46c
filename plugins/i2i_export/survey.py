"""What can be exported of a model, said before anything is computed but a few small pictures."""

from collections.abc import Iterable, Iterator
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from i2i.building.naming import between
from i2i.building.needs import accepted
from i2i.errors import UserError
from i2i.protocols import Direction, Domain
from i2i.translation.translator import Translator
from i2i_export.drawing import drawn_by, ways_to_style
from i2i_export.plan import batch_of, on_the_cpu, smallest_of, trained_size

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""What an export to ONNX needs, and the page."""
MOST = 2**31
"""A file of ONNX has fewer bytes (https://protobuf.dev/programming-guides/proto-limits)."""

DRAWS = {
    "nothing": "draws nothing at random",
    "style": "draws a style",
    "everything": "draws random numbers for every pixel, or dropout",
}


def survey(translator: Translator) -> Iterator[str]:
    """Lines for people: the formats that this installation writes, then for each direction what a file of it would be."""
    yield f"formats: {'; '.join(_formats())}"
    if said := obstacle(translator.module):
        yield said
        return
    model = on_the_cpu(translator)
    try:
        for way in between(model.directions) or model.directions:
            yield from _direction(model, way)
    finally:
        translator.module.to(translator.device)


def obstacle(module: nn.Module) -> str:
    """Why a network cannot be exported whatever the format, as a sentence; or nothing."""
    odd = next(((name, part) for name, part in module.named_modules() if getattr(part, "exports", True) is False), None)
    if odd is None:
        return ""
    name, part = odd
    where = f" ({name})" if name else ""
    return (
        f"this model cannot be exported: its network {type(part).__name__}{where} declares exports = False, so its author "
        "knows that it cannot be traced. `i2i translate` and `i2i serve` compute it."
    )


def missing_packages() -> list[str]:
    """The packages that an export to ONNX lacks."""
    return [name for name in PACKAGES if find_spec(name) is None]


def numbers_of(model: Translator, way: Direction) -> int:
    """The number of weights that one direction uses: those that its result depends on."""
    weights = list(model.module.parameters())
    side = smallest_of(model, way)
    for weight in weights:
        weight.requires_grad_(True)
    try:
        with torch.enable_grad():
            x = torch.zeros(1, model.domains[way[0]].channels, side, side)
            made = model.module(x, *way).images[way[1]]
            found = torch.autograd.grad(made.sum(), weights, allow_unused=True)
    finally:
        model.module.requires_grad_(False)
    return sum(weight.numel() for weight, slope in zip(weights, found, strict=True) if slope is not None)


def check_size(model: Translator, way: Direction) -> None:
    """Raises UserError if the weights of a direction are more than an ONNX file holds, which is fp32 at first."""
    if 4 * sum(map(Tensor.numel, model.module.parameters())) < MOST:
        return
    if (numbers := numbers_of(model, way)) * 4 >= MOST:
        raise UserError(
            f"this direction has {numbers:,} weights, {numbers * 4 / 1e9:.1f} GB; a file of ONNX holds 2 GB. Take the format "
            "torch-export."
        )


def _formats() -> Iterable[str]:
    missing = missing_packages()
    lacks = f"needs {', '.join(missing)}: pip install 'i2i-framework[export]'" if missing else "ready"
    return f"onnx ({lacks})", "torch-export (ready)", f"web ({lacks}, with --runtime)"


def _direction(model: Translator, way: Direction) -> Iterator[str]:
    side, divisor = smallest_of(model, way), model.divisor
    h, w = trained_size(model, way[1])
    yield f"{model.label(way[0])} → {model.label(way[1])}:"
    sides = f"sides from {side} px" + (f", multiples of {divisor}" if divisor > 1 else "")
    yield f"  input image: {_kind(model.domains[way[0]])}, {sides}, {_batch(model, way)}"
    if "style" in accepted(model.module):
        yield f"  input style, with --style-input: {_kind(model.domains[way[1]])}, as {w} x {h} px in training"
    yield f"  output: {_kind(model.domains[way[1]])}"
    drawn = drawn_by(model, way)
    ways = ways_to_style(model, way, drawn)
    if drawn == "nothing" or ways:
        then = f": export it with {' or '.join(ways)}" if drawn != "nothing" else ""
        numbers = numbers_of(model, way)
        sizes = ", ".join(f"{numbers * size / 1e6:.2g} MB ({name})" for name, size in (("fp32", 4), ("fp16", 2), ("int8", 1)))
        yield f"  {DRAWS[drawn]}{then}"
        yield f"  {numbers:,} weights, in ONNX about {sizes}"
    else:
        yield f"  {DRAWS[drawn]}, so it cannot be exported: a file would always give the same ones"


def _kind(domain: Domain) -> str:
    if domain.kind == "labels":
        return f"'{domain.name}', labels of {domain.label_count} classes, one-hot"
    return f"'{domain.name}', {domain.channels} channel{'s' if domain.channels > 1 else ''} in [-1, 1]"


def _batch(model: Translator, way: Direction) -> str:
    return "one picture at a time, as pictures of a batch change each other" if batch_of(model, way) else "any number at once"
