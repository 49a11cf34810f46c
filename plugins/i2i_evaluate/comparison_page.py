"""The page of a comparison: one HTML file, readable without a network or a server."""

import base64
import html
import io
import string
from collections.abc import Mapping, Sequence

from PIL import Image

from i2i.metrics import Figure, described
from i2i_evaluate.comparison import Comparison, Subject, differences, interval
from i2i_watch.report import COLOURS, figure

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:80rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse}th,td{padding:.3rem .7rem;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}
img{max-width:100%;image-rendering:pixelated}svg{width:18rem;height:7rem;background:#f5f5f5}
figure{display:inline-block;margin:.5rem}figcaption{font-size:.85rem}small{color:#666}.best{font-weight:bold}"""


def headings(comparison: Comparison) -> list[tuple[str, str, Figure]]:
    """For each column, its name, the letter of its protocol if the name has several, and one of its figures."""
    names = [name for name, _ in comparison.columns]
    letters: dict[str, int] = {}
    found = []
    for (name, _), figures in comparison.columns.items():
        place = letters[name] = letters.get(name, -1) + 1
        mark = (string.ascii_uppercase[place % 26] * (place // 26 + 1)) if names.count(name) > 1 else ""
        found.append((name, mark, next(figure for figure in figures if figure is not None)))
    return found


def best(figures: Sequence[Figure | None]) -> Figure | None:
    """The best figure of a column with at least two."""
    there = [figure for figure in figures if figure is not None]
    if len(there) < 2:
        return None
    pick = max if there[0].better == "higher" else min
    return pick(there, key=lambda figure: figure.value)


def cell(figure: Figure | None) -> str:
    """A figure's value with its interval or spread."""
    if figure is None:
        return "-"
    if len(figure.images) > 1:
        low, high = interval(figure.images)
        return f"{figure.value:.4g} ({low:.4g} to {high:.4g})"
    return f"{figure.value:.4g}" + (f" ± {figure.spread:.2g}" if figure.spread is not None else "")


def render(comparison: Comparison) -> str:
    """The whole page as one self-contained string."""
    title = html.escape(" / ".join(subject.name for subject in comparison.subjects))
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in comparison.notes)
    picture = "" if comparison.grid is None else f"<h2>Pictures</h2>{_image(comparison.grid)}"
    kept = "".join(_kept(subject) for subject in comparison.subjects)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>'
        f"<h2>Figures</h2>{_figures(comparison)}<ul>{notes}</ul>{kept}{picture}"
        f"<h2>Curves</h2>{_curves(comparison.subjects)}<h2>Recipes</h2>{_recipes(comparison.subjects)}</html>\n"
    )


def _figures(comparison: Comparison) -> str:
    columns = list(comparison.columns.values())
    heads = headings(comparison)
    top = "".join(f"<th>{html.escape(f'{name} {mark}'.strip())}<br><small>{f.better}</small></th>" for name, mark, f in heads)
    rows = ""
    for place, subject in enumerate(comparison.subjects):
        cells = ""
        for figures in columns:
            figure = figures[place]
            mark = ' class="best"' if figure is not None and figure is best(figures) else ""
            cells += f"<td{mark}>{html.escape(cell(figure))}</td>"
        rows += f"<tr><th>{html.escape(subject.name)}<br><small>step {subject.result.step}</small></th>{cells}</tr>"
    told = "".join(
        f"<li><b>{html.escape(f'{name} {mark}'.strip())}</b>: {html.escape(described(f.protocol))}</li>"
        for name, mark, f in heads
    )
    legend = "In brackets: 95 % bootstrap interval of the mean over pictures; after ±: standard deviation."
    return f"<table><tr><th></th>{top}</tr>{rows}</table><p><small>{legend}</small></p><h2>Protocols</h2><ul>{told}</ul>"


def _kept(subject: Subject) -> str:
    if subject.kept is None:
        return ""
    top = "".join(f"<th>{html.escape(word)}</th>" for word in subject.kept.headings)
    rows = "".join("<tr>" + "".join(f"<td>{html.escape(word)}</td>" for word in row) + "</tr>" for row in subject.kept.rows)
    return (
        f"<h3>{html.escape(subject.name)}: best and last</h3><p>{html.escape(subject.kept.chosen)}</p>"
        f"<table><tr>{top}</tr>{rows}</table>"
    )


def _image(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img alt="the same inputs through all models" src="data:image/png;base64,{data}">'


def _curves(subjects: Sequence[Subject]) -> str:
    names = list(dict.fromkeys(key for s in subjects for line in s.curves for key in line if key != "step"))
    legend = " ".join(
        f'<span style="color:{COLOURS[i % len(COLOURS)]}">■ {html.escape(s.name)}</span>' for i, s in enumerate(subjects)
    )
    return f"<p>{legend}</p>" + "".join(_curve(name, [_points(s.curves, name) for s in subjects]) for name in names)


def _points(lines: Sequence[Mapping[str, float]], name: str) -> list[tuple[float, float]]:
    found = [(float(line["step"]), float(line[name])) for line in lines if name in line]
    return found[:: max(1, len(found) // 200)]


def _curve(name: str, runs: Sequence[Sequence[tuple[float, float]]]) -> str:
    """The curves of all runs in one frame, from the lowest to the highest value of any."""
    values = [v for points in runs for _, v in points]
    return figure(f"{html.escape(name)} ({min(values):.4g} to {max(values):.4g})", runs)


def _recipes(subjects: Sequence[Subject]) -> str:
    rows = differences([subject.recipe for subject in subjects])
    if not rows:
        return "<p>The recipes are the same.</p>"
    top = "".join(f"<th>{html.escape(subject.name)}</th>" for subject in subjects)
    body = "".join(
        f"<tr><th>{html.escape(key)}</th>" + "".join(f"<td>{html.escape(value)}</td>" for value in values) + "</tr>"
        for key, values in rows.items()
    )
    return f"<table><tr><th></th>{top}</tr>{body}</table>"
