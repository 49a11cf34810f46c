"""What the page knows of a model, as one mapping for ``GET /api/model`` and for the ``manifest.json`` of an export."""

import colorsys
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from PIL import Image

from i2i.building.naming import between
from i2i.building.needs import accepted
from i2i.pictures.labels import colors_of, numbers_of_classes
from i2i.protocols import Direction, Domain
from i2i.translation.conversion import reflected
from i2i.translation.together import SIDE
from i2i.translation.translator import Translator
from i2i_page.facts import facts
from i2i_provenance.metadata import packet


def describe(
    translator: Translator,
    *,
    id: str,
    title: str,
    samples: Sequence[Mapping[str, str]] = (),
    card: str = "",
    drawings: Collection[str] = (),
) -> dict[str, Any]:
    """The description of a model: plain values only, ready for JSON.

    ``samples`` are mappings with a ``direction`` ("a:b") and a ``url``; ``card`` is Markdown, see ``facts.card_of``.
    ``drawings`` are the keys of domains whose pictures are line drawings (:func:`is_drawing`), for which the page has a pen.
    """
    taken = accepted(translator.module)
    directions = ways(translator)
    return {
        "id": id,
        "title": title,
        "directions": [_direction(translator.domains, way, label) for label, way in directions.items()],
        "domains": {key: _domain(translator, key, key in drawings) for key in translator.domains},
        "any_source": translator.any_source,
        "draws": "style" in taken or any(translator.dependence(way, (SIDE, SIDE)).seed for way in directions.values()),
        "style": "style" in taken,
        "mix": {"style", "mix"} <= set(taken),
        "scales": any(domain.preparation.size is not None for domain in translator.domains.values()),
        "divisor": translator.divisor,
        "smallest": len(reflected(1, translator.divisor)[1]),
        "samples": [dict(sample) for sample in samples],
        "facts": facts(translator),
        "card": card,
        "provenance": packet(translator.config, translator.use),
    }


def ways(translator: Translator) -> dict[str, Direction]:
    """The directions that the page offers, by what it calls them: ``labels → day``, or ``to night`` if any source will do."""
    if translator.any_source:
        return {f"to {name}": translator.direction(name) for name in translator.targets}
    found = between(translator.directions) or list(translator.directions)
    return {" → ".join(map(translator.label, way)): way for way in found}


def is_drawing(picture: Image.Image) -> bool:
    """Whether a picture is dark lines or shapes on white: much is nearly white, little of a middle brightness, some dark."""
    grey = np.asarray(picture.convert("L"))
    white, dark = float((grey > 230).mean()), float((grey < 90).mean())
    return white > 0.35 and 1 - white - dark < 0.15 and dark > 0.002


def _direction(domains: Mapping[str, Domain], way: Direction, label: str) -> dict[str, Any]:
    source, target = (domains[key] for key in way)
    blends = source.kind == target.kind == "image" and source.channels == target.channels
    return {"id": ":".join(way), "source": way[0], "target": way[1], "label": label, "blends": blends}


def _domain(translator: Translator, key: str, line: bool) -> dict[str, Any]:
    domain = translator.domains[key]
    size = (translator.recorded.get("sizes") or {}).get(key)
    return {
        "name": translator.label(key),
        "kind": domain.kind,
        "channels": domain.channels,
        "classes": _classes(domain) if domain.kind == "labels" else [],
        "line": line,
        "preparation": json.loads(json.dumps(asdict(domain.preparation))),  # its tuples as lists
        "size": list(size) if size else None,
    }


def _classes(domain: Domain) -> list[dict[str, Any]]:
    """For each class its name, its colour on the page, and the number that stands for it in a label file."""
    count = domain.label_count
    names = domain.classes or tuple(f"class {i}" for i in range(count))
    colors = [tuple(color) for color in colors_of(domain).tolist()] if domain.colors else [_color(i) for i in range(count)]
    numbers = numbers_of_classes(domain).tolist()
    return [
        {"name": name, "color": "#{:02x}{:02x}{:02x}".format(*color), "value": number}
        for name, color, number in zip(names, colors, numbers, strict=True)
    ]


def _color(place: int) -> tuple[int, int, int]:
    """Neighbours differ in hue by the golden angle, and in lightness and saturation by turns."""
    rgb = colorsys.hls_to_rgb(place * 0.381966 % 1, (0.55, 0.36, 0.72)[place % 3], (0.6, 0.75, 0.55)[place // 3 % 3])
    red, green, blue = (round(255 * value) for value in rgb)
    return red, green, blue
