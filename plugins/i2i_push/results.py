"""Figures in the form in which the hub reads them: ``.eval_results/i2i.yaml``."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from i2i.errors import UserError
from i2i.metrics import Figure, described
from i2i.recipe.nodes import dump
from i2i.registry import Registry
from i2i_evaluate.comparison import spread_of

RESULTS_ON_HUB = ".eval_results/i2i.yaml"


def names_on_hub(dataset: Mapping[str, Any] | None, registry: Registry) -> list[str]:
    """The data sets on the hub from which a component (its ``name`` and options) reads, as its factory's ``on_hub`` says."""
    options = dict(dataset or {})
    try:
        factory = registry.get("dataset", str(options.pop("name", ""))).factory
        return list(getattr(factory, "on_hub", lambda _: [])(options))
    except UserError:  # the plugin is not installed
        return []


def results_on_hub(figures: Sequence[Figure], registry: Registry) -> str:
    """The YAML of all figures that were measured on one data set of the hub, or nothing.

    The task is the figure's name, with the direction if there are several; the notes are the rest of its protocol.
    """
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    several = len({figure.protocol.get("direction") for figure in figures}) > 1
    entries = []
    for figure in figures:
        data = figure.protocol.get("data")
        names = names_on_hub(data, registry) if isinstance(data, Mapping) else []
        if len(names) == 1 and math.isfinite(figure.value):
            task = _as_id(f"{figure.name} {figure.protocol.get('direction') if several else ''}")
            entries.append(EvalResultEntry(names[0], task, figure.value, notes=_notes(figure)))
    return dump(eval_result_entries_to_yaml(entries)) if entries else ""


def _notes(figure: Figure) -> str:
    """How it was measured, without the data set's options, which may be places on this machine."""
    protocol = described({key: value for key, value in figure.protocol.items() if key != "data"})
    spread = f"95 % interval or spread: {spread_of(figure)}." if spread_of(figure) else ""
    return " ".join(filter(None, [f"{figure.better.capitalize()} is better.", spread, protocol]))


def _as_id(text: str) -> str:
    """A text as an identifier: ``fid[efficientnet_lite0]`` becomes ``fid-efficientnet_lite0``."""
    return re.sub(r"[^\w.]+", "-", text.replace("→", "to")).strip("-").lower()
