"""A page in one file, which a browser shows from the disk: text, tables, curves and pictures; it asks the network for nothing.

Its policy allows only the script that i2i wrote, by its hash, and pictures in the page itself: so even what text from a recipe
or a log might smuggle in is neither executed nor fetched.
"""

import base64
import hashlib
import html
import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

Points = Sequence[tuple[float, float]]
"""Steps and values."""

MOST = 1000
"""Points of a curve."""
GROUPS = ("Losses", "Figures of the evaluation", "Gradients", "Learning rates", "Speed", "Other numbers")


def page(title: str, body: str, groups: Mapping[str, Mapping[str, Sequence[Points]]], **data: Any) -> str:
    """The page; *body* is HTML, *groups* are curves by group and name: one for each run, in the same colours.

    Further *data* are for the script: ``epoch``, the steps of an epoch, and ``grids``, ``[{"step": …, "src": …}]``.
    """
    charts = [
        {"charts": [{"name": name, "series": [{"points": _plain(p)} for p in runs]} for name, runs in group.items()]}
        for group in groups.values()
    ]
    told = json.dumps({"groups": charts, **data}, allow_nan=False, ensure_ascii=False).replace("<", "\\u003c")
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{_digest()}'"
    heading = html.escape(title)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{heading}</title>\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">\n'
        f"<style>{_file('page.css')}</style></head>\n<body><h1>{heading}</h1>\n{body}\n"
        f'<script type="application/json" id="data">{told}</script>\n<script>{_file("page.js")}</script></body></html>\n'
    )


@cache
def _file(name: str) -> str:
    return files("i2i_watch").joinpath(name).read_text(encoding="utf-8")


@cache
def _digest() -> str:
    return base64.b64encode(hashlib.sha256(_file("page.js").encode()).digest()).decode()


def _plain(points: Points) -> list[list[float | None]]:
    """As JSON: what is not finite is a gap."""
    return [[step, float(f"{value:.6g}") if math.isfinite(value) else None] for step, value in thinned(points)]


def thinned(points: Points, most: int = MOST) -> list[tuple[float, float]]:
    """At most about *most* points: of each stretch the lowest and the highest, so that peaks stay."""
    if len(points) <= most:
        return list(points)
    size, found = math.ceil(2 * len(points) / most), []
    for start in range(0, len(points) - 1, size):
        stretch = sorted(points[start : min(start + size, len(points) - 1)], key=lambda p: (math.isfinite(p[1]), p[1]))
        found += sorted({stretch[0], stretch[-1]})
    return [*found, points[-1]]


def curves(groups: Mapping[str, Mapping[str, Sequence[Points]]], epoch: int | None, legend: str = "") -> str:
    """The places of the curves, which the script draws, and what sets how it does."""
    if not groups:
        return '<h2>Curves</h2><p class="soft">No numbers are logged yet.</p>'
    units = "".join(f'<option value="{unit}">{unit}s</option>' for unit in ("step", "epoch"))
    controls = (
        '<label>Smoothing <input type="range" id="smoothing" min="0" max="99" value="0"><output id="share">0 %</output></label>'
        + (f'<label>Across <select id="axis">{units}</select></label>' if epoch else "")
    )
    drawn = ""
    for place, (title, charts) in enumerate(groups.items()):
        figures = "".join(
            f'<figure id="chart-{place}-{number}"><figcaption><b>{html.escape(name)}</b><output></output></figcaption></figure>'
            for number, name in enumerate(charts)
        )
        drawn += f'<h3>{html.escape(title)}</h3><div class="charts">{figures}</div>\n'
    return (
        f'<h2>Curves</h2>{legend}<div class="controls">{controls}</div>\n{drawn}<noscript>The curves need JavaScript; '
        'metrics.jsonl has their numbers.</noscript><p class="soft">Point at a curve, or move along it with the arrow keys, to '
        "read its values. Smoothed curves are running means; the faint ones are what was logged.</p>"
    )


def grouped(runs: Sequence[Sequence[Mapping[str, float]]]) -> dict[str, dict[str, list[Points]]]:
    """The curves of runs, from the lines of their metrics.jsonl: losses first, then figures, gradients, rates and speed."""
    names = dict.fromkeys(name for lines in runs for line in lines for name in line if name != "step")
    found: dict[str, dict[str, list[Points]]] = {group: {} for group in GROUPS}
    for name in names:
        points: list[Points] = [[(float(line["step"]), float(line[name])) for line in lines if name in line] for lines in runs]
        found[GROUPS[_group(name)]][name] = points
    return {group: charts for group, charts in found.items() if charts}


def _group(name: str) -> int:
    for place, starts in enumerate((("eval/",), ("gradient_norm",), ("lr_",), ("images_per_second", "waiting")), start=1):
        if name.startswith(starts):
            return place
    return 5 if name == "skipped" else 0
