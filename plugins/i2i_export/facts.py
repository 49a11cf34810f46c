"""What a caller must know to use an exported file: its metadata, under keys that stay. docs/export.md describes them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from i2i.pictures.labels import numbers_of_classes
from i2i.protocols import Domain
from i2i.translation.model_folder import own_version
from i2i.translation.translator import Translator
from i2i_export.plan import Plan
from i2i_provenance.metadata import fingerprint

FORMAT = 1
"""The version of these facts. It changes if a key changes its meaning or goes; keys that come do not count."""


def facts_of(plan: Plan, style: tuple[int | None, int | None] | None, weights: str) -> dict[str, Any]:
    """Plain values, ready for JSON. *style* is the height and width of a style that is an input, None for any."""
    model, (here, there) = plan.translator, plan.way
    converted = model.recorded.get("converted") or {}
    inputs = [_input("image", model, here, [plan.batch or "batch", plan.source.channels, "rows", "columns"])]
    if style is not None:
        sides = [name if side is None else side for name, side in zip(("style_rows", "style_columns"), style, strict=True)]
        inputs.append(_input("style", model, there, [1, plan.target.channels, *sides]))
    return {
        "i2i.format": FORMAT,
        "i2i.version": own_version(),
        "i2i.provenance": fingerprint(model.config),
        "i2i.source": plan.source.name,
        "i2i.target": plan.target.name,
        "i2i.inputs": inputs,
        "i2i.output": _tensor("translation", plan.target, [plan.batch or "batch", plan.target.channels, "rows", "columns"]),
        "i2i.divisor": plan.divisor,
        "i2i.smallest": plan.smallest,
        "i2i.weights": weights,
        "i2i.use": dict(model.use),
        "i2i.style": dict(plan.style),
        "i2i.licence": converted.get("licence", ""),
    }


def _input(name: str, model: Translator, key: str, shape: Sequence[int | str]) -> dict[str, Any]:
    size = (model.recorded.get("sizes") or {}).get(key)
    domain = model.domains[key]
    trained = None if size is None else list(size)
    return {**_tensor(name, domain, shape), "size": trained, "preparation": asdict(domain.preparation)}


def _tensor(name: str, domain: Domain, shape: Sequence[int | str]) -> dict[str, Any]:
    """Its axes, numbers or names of those that vary; and the values that it has."""
    found = {"name": name, "domain": domain.name, "kind": domain.kind, "shape": list(shape), "type": "float32"}
    if domain.kind == "image":
        return {**found, "range": [-1, 1]}
    return {**found, "range": [0, 1], "classes": _classes(domain), "instances": domain.instances}


def _classes(domain: Domain) -> list[Mapping[str, Any]]:
    """In the order of the channels: name, colour (RGB, 0-255) if the data set has any, the number that files hold for it."""
    numbers = numbers_of_classes(domain).tolist()
    names = domain.classes or [str(number) for number in numbers]
    colors = [list(color) for color in domain.colors] if domain.colors else [None for _ in numbers]
    return [{"name": name, "color": color, "value": number} for name, color, number in zip(names, colors, numbers, strict=True)]
