"""report.html: one page that shows a run, readable without a network or a server."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from i2i.files import write_text
from i2i.hooks import hookimpl
from i2i.training.log import read_metrics
from i2i.training.samples import newest
from i2i.training.state import Run

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222}
img{max-width:100%;image-rendering:pixelated}svg{width:15rem;height:6rem;background:#f5f5f5}
figure{display:inline-block;margin:.5rem}figcaption{font-size:.85rem}pre{background:#f5f5f5;padding:1rem;overflow:auto}"""
PAGE = "report.html"
COLOURS = ("#06c", "#c30", "#080", "#a0a", "#a60", "#088", "#555")
"""Of the curves in a figure."""


class Report:
    """Writes the page at every checkpoint and at the end."""

    @hookimpl
    def checkpoint_saved(self, run: Run) -> None:
        self._write(run)

    @hookimpl
    def run_ended(self, run: Run) -> None:
        self._write(run)

    @hookimpl
    def closing_lines(self, run: Run) -> dict[str, str]:
        assert run.out is not None
        return {"report": str(run.out / PAGE)}

    def _write(self, run: Run) -> None:
        assert run.out is not None
        title = f"{run.out.name}: step {run.step} of {run.recipe.train.steps}"
        page = render(title, newest(run.out), read_metrics(run.out / "metrics.jsonl"), run.recipe.to_yaml())
        write_text(run.out / PAGE, page)


def render(title: str, grid: Path | None, metrics: list[dict[str, Any]], recipe: str) -> str:
    """The page as one self-contained string."""
    names = list(dict.fromkeys(name for line in metrics for name in line if name != "step"))
    curves = "".join(_curve(name, [(m["step"], m[name]) for m in metrics if name in m]) for name in names)
    picture = ""
    if grid is not None:
        data = base64.b64encode(grid.read_bytes()).decode()
        picture = f'<h2>{html.escape(grid.stem)}</h2><img alt="samples" src="data:image/png;base64,{data}">'
    heading = html.escape(title)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{heading}</title><style>{_STYLE}</style>'
        f"<h1>{heading}</h1>{picture}<h2>Curves</h2>{curves}<h2>Recipe</h2><pre>{html.escape(recipe)}</pre></html>\n"
    )


def _curve(name: str, points: list[tuple[float, float]]) -> str:
    """One curve as SVG, thinned to 200 points, from its lowest to its highest value."""
    points = points[:: max(1, len(points) // 200)]
    low, high = min(v for _, v in points), max(v for _, v in points)
    return figure(f"{html.escape(name)}: {points[-1][1]:.4g} (range {low:.4g} to {high:.4g})", [points])


def figure(caption: str, curves: Sequence[Sequence[tuple[float, float]]]) -> str:
    """Curves in one frame, from the lowest to the highest value of any; *caption* is HTML."""
    every = [point for points in curves for point in points]
    low, high = min(v for _, v in every), max(v for _, v in every)
    first, last = min(s for s, _ in every), max(s for s, _ in every)
    lines = ""
    for place, points in enumerate(curves):
        path = " ".join(
            f"{100 * (s - first) / max(1, last - first):.2f},{38 - 36 * (v - low) / max(1e-12, high - low):.2f}"
            for s, v in points
        )
        colour = COLOURS[place % len(COLOURS)]
        lines += f'<polyline points="{path}" fill="none" stroke="{colour}" vector-effect="non-scaling-stroke"/>'
    frame = f'<svg viewBox="0 0 100 40" preserveAspectRatio="none">{lines}</svg>'
    return f"<figure>{frame}<figcaption>{caption}</figcaption></figure>"
