"""What is known of a model, in words: a few rows for the page, and its card."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from i2i.building.naming import between
from i2i.errors import UserError, printable
from i2i.translation.translator import Translator
from i2i_provenance.metadata import origins

LONGEST = 300
"""Letters of a fact; a model's file may hold any text."""
CARD_BYTES = 2**18
"""A card of more bytes is cut."""

_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n+", re.DOTALL)


def facts(translator: Translator) -> list[list[str]]:
    """Rows of two texts: what it was trained on and how, how large it is, which licence applies. The unknown is left out."""
    recorded = translator.recorded
    recipe: Mapping[str, Any] = recorded.get("recipe") or {}
    converted: Mapping[str, Any] = recorded.get("converted") or {}
    parameters = sum(parameter.numel() for parameter in translator.module.parameters())
    rows = {
        "Translates": "; ".join(" → ".join(map(translator.label, way)) for way in between(translator.directions)),
        "Trained on": _data(translator, recipe),
        "Converted from": str(converted.get("from") or ""),
        "Losses": _losses(recipe),
        "Steps": f"{recorded['step']:,}" if isinstance(recorded.get("step"), int) else "",
        "Trained at": _size(recorded.get("sizes")),
        "Networks": ", ".join(dict.fromkeys(_network(origin) for origin in origins(translator.config))),
        "Parameters": _rounded(parameters),
        "Licence of the weights": str(converted.get("licence") or ""),
        "Licence of the data": _data_licence(translator, recipe),
        "Made with": f"i2i {translator.config.get('i2i') or ''}".strip(),
    }
    return [[name, printable(text)[:LONGEST]] for name, text in rows.items() if text]


def card_of(translator: Translator, folder: Path, title: str) -> str:
    """The Markdown of a model's card without its front matter: the README.md beside it, else one of what is known.

    A link out of the folder is not followed, as a stranger's could lead to any file of this machine.
    """
    for place in (folder / "README.md", folder / "model" / "README.md"):
        if place.is_file() and place.resolve().is_relative_to(folder.resolve()):
            with place.open("rb") as file:
                return _FRONT_MATTER.sub("", file.read(CARD_BYTES).decode(errors="replace").replace("\r\n", "\n"))
    from i2i_push.card import Facts, card

    return _FRONT_MATTER.sub("", card(translator, Facts(f"./{title}")))


def _data(translator: Translator, recipe: Mapping[str, Any]) -> str:
    dataset = recipe.get("dataset")
    if not isinstance(dataset, Mapping):
        return ""
    names = " and ".join(dict.fromkeys(translator.label(key) for key in translator.domains))
    paired = dataset.get("paired")
    told = {True: ", paired", False: ", not paired"}.get(paired, "") if isinstance(paired, bool) else ""
    return f"{dataset.get('name')}: {names}{told}"


def _losses(recipe: Mapping[str, Any]) -> str:
    loss = recipe.get("loss")
    listed = loss if isinstance(loss, list) else [loss]
    return ", ".join(str(one["name"]) for one in listed if isinstance(one, Mapping) and "name" in one)


def _data_licence(translator: Translator, recipe: Mapping[str, Any]) -> str:
    dataset = recipe.get("dataset")
    try:
        name = str(dataset["name"]) if isinstance(dataset, Mapping) else ""
        return str(getattr(translator.registry.get("dataset", name).factory, "licence", None) or "") if name else ""
    except UserError:  # the plugin is not installed
        return ""


def _network(origin: Mapping[str, Any]) -> str:
    return f"{origin.get('plugin', '')}:{origin.get('name', '')} {origin.get('version') or ''}".strip()


def _size(sizes: Any) -> str:
    if not isinstance(sizes, Mapping):
        return ""
    return ", ".join(dict.fromkeys(f"{width} x {height}" for height, width in sizes.values()))


def _rounded(count: int) -> str:
    return f"{count / 1e6:.3g} million" if count >= 1e6 else f"{count:,}"
