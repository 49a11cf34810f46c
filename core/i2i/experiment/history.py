"""The numbers of a run as columns."""

import math
from pathlib import Path

from i2i.training.log import read_metrics


def columns(run: Path) -> dict[str, list[float]]:
    """The numbers of a run's ``metrics.jsonl`` by name, each list with one value for every step that was logged.

    ``step`` comes first; a number that was not measured at a step is NaN there.
    """
    rows: dict[float, dict[str, float]] = {}
    for line in read_metrics(run / "metrics.jsonl"):
        rows.setdefault(line["step"], {}).update(line)
    names = dict.fromkeys(name for row in rows.values() for name in row)
    return {name: [row.get(name, math.nan) for row in rows.values()] for name in names} or {"step": []}
