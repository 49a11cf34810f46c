"""The page of a comparison: one HTML file, readable without a network or a server."""

import html
import string
from collections.abc import Mapping, Sequence

from i2i.metrics import Figure
from i2i_evaluate.comparison import Comparison, Subject, differences, interval, protocols
from i2i_watch.grids import BYTES, address
from i2i_watch.page import curves, grouped, page


def headings(comparison: Comparison) -> list[tuple[str, Figure]]:
    """For each column, its name and one of its figures.

    A name has the direction where there are several, and a letter where the protocols of two columns still differ.
    """
    firsts = [next(figure for figure in figures if figure is not None) for figures in comparison.columns.values()]
    several = len({figure.protocol.get("direction") for figure in firsts}) > 1
    names = [f"{figure.name} {figure.protocol.get('direction', '') if several else ''}".strip() for figure in firsts]
    letters: dict[str, int] = {}
    found = []
    for name, figure in zip(names, firsts, strict=True):
        place = letters[name] = letters.get(name, -1) + 1
        mark = f" {string.ascii_uppercase[place % 26] * (place // 26 + 1)}" if names.count(name) > 1 else ""
        found.append((name + mark, figure))
    return found


def measured(heads: Sequence[tuple[str, Figure]]) -> list[tuple[str, str]]:
    """How the figures were measured: what is the same for all columns, and for each that differs what is its own."""
    common, own = protocols([figure for _, figure in heads])
    told = [(name, text) for (name, _), text in zip(heads, own, strict=True) if text]
    return [("All figures", common), *told] if common else told


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
    subjects = comparison.subjects
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in comparison.notes)
    groups, epochs = grouped([subject.curves for subject in subjects]), {_epoch(subject) for subject in subjects}
    epoch = epochs.pop() if len(epochs) == 1 else None
    body = (
        f"<h2>Figures</h2>{_figures(comparison)}<ul>{notes}</ul>{''.join(_kept(subject) for subject in subjects)}"
        f"{_pictures(comparison)}{curves(groups, epoch, _legend(subjects))}<h2>Recipes</h2>{_recipes(subjects)}"
    )
    return page(" / ".join(subject.name for subject in subjects), body, groups, epoch=epoch)


def _epoch(subject: Subject) -> int | None:
    train = subject.recipe.get("train")
    epoch = train.get("epoch") if isinstance(train, Mapping) else None
    return epoch if type(epoch) is int and epoch > 0 else None


def _pictures(comparison: Comparison) -> str:
    if comparison.grid is None:
        return ""
    source = html.escape(address(comparison.grid, BYTES))
    return f'<h2>Pictures</h2><div class="wide"><img alt="the same inputs through all models" src="{source}"></div>'


def _figures(comparison: Comparison) -> str:
    columns = list(comparison.columns.values())
    heads = headings(comparison)
    top = "".join(f"<th>{html.escape(name)}<br><small>{f.better} is better</small></th>" for name, f in heads)
    rows = ""
    for place, subject in enumerate(comparison.subjects):
        cells = ""
        for figures in columns:
            figure = figures[place]
            mark = ' class="best"' if figure is not None and figure is best(figures) else ""
            cells += f"<td{mark}>{html.escape(cell(figure))}</td>"
        rows += f"<tr><th>{html.escape(subject.name)}<br><small>step {subject.result.step}</small></th>{cells}</tr>"
    told = "".join(f"<li><b>{html.escape(name)}</b>: {html.escape(text)}</li>" for name, text in measured(heads))
    legend = "In brackets: 95 % bootstrap interval of the mean over pictures; after ±: standard deviation."
    return (
        f'<div class="wide"><table><tr><th></th>{top}</tr>{rows}</table></div><p><small>{legend}</small></p>'
        f"<h3>How they were measured</h3><ul>{told}</ul>"
    )


def _kept(subject: Subject) -> str:
    if subject.kept is None:
        return ""
    top = "".join(f"<th>{html.escape(word)}</th>" for word in subject.kept.headings)
    rows = "".join("<tr>" + "".join(f"<td>{html.escape(word)}</td>" for word in row) + "</tr>" for row in subject.kept.rows)
    return (
        f"<h3>{html.escape(subject.name)}: best and last</h3><p>{html.escape(subject.kept.chosen)}</p>"
        f'<div class="wide"><table><tr>{top}</tr>{rows}</table></div>'
    )


def _legend(subjects: Sequence[Subject]) -> str:
    """Which line is which run's."""
    line = '<svg viewBox="0 0 36 10" aria-hidden="true"><path d="M0,5H36" class="curve s{}"/></svg>'
    names = "".join(f"<span>{line.format(place % 7)}{html.escape(s.name)}</span>" for place, s in enumerate(subjects))
    return f'<p class="legend">{names}</p>'


def _recipes(subjects: Sequence[Subject]) -> str:
    rows = differences([subject.recipe for subject in subjects])
    if not rows:
        return "<p>The recipes are the same.</p>"
    top = "".join(f"<th>{html.escape(subject.name)}</th>" for subject in subjects)
    body = "".join(
        f"<tr><th>{html.escape(key)}</th>" + "".join(f"<td>{html.escape(value)}</td>" for value in values) + "</tr>"
        for key, values in rows.items()
    )
    return f'<div class="wide"><table><tr><th></th>{top}</tr>{body}</table></div>'
