"""The tables, and the page docs/quality.md."""

import json
from collections.abc import Sequence
from pathlib import Path

from arms import EXTRACTORS, LUMINANCE, REACH, USES
from figures import CROP, CROPS, ENLARGED, NEIGHBOURS, RETRIEVED
from runs import ARM, TESTED
from steptime import read_times
from tables import DRAWS, Ratio, Row, clean, figures_in, ratios, rows_of, spread, together
from targets import reached

SEEN = "†"
"""Stands at a figure by a network of whose family a judge or a loss of the arm has seen one."""

TEMPLATE = Path(__file__).parent / "page.md"


def page_of(out: Path, names: Sequence[str]) -> str:
    """The whole page from the figures that are there."""
    tested = _tested(out)
    splits = ["val", *(["test"] if tested else [])]
    tables = "\n\n".join(f"## On `{split}`\n\n{tables_of(out, names, split)}" for split in splits)
    rows = {name: found for name in names if (found := rows_of(out, name, "val"))}
    tried = "; ".join(
        f"{name}: {row.arm} (on {USES[name].tried[row.arm][0]})"
        for name, measured in rows.items()
        for row in measured
        if row.arm in USES[name].tried
    )
    return TEMPLATE.read_text(encoding="utf-8").format(
        minutes=_minutes(out, names),
        seeds=max((len(row.seeds) for measured in rows.values() for row in measured), default=0),
        machine=f"The {read_times(out).get('machine', 'machine: unknown')}.",
        tested=_told(tested),
        crops=CROPS,
        crop=CROP,
        enlarged=ENLARGED,
        retrieved=RETRIEVED,
        networks=" and ".join(f"`{net}`" for net in EXTRACTORS),
        neighbours=NEIGHBOURS,
        luminance=LUMINANCE,
        reach=REACH,
        seen=SEEN,
        draws=DRAWS,
        tried=tried or "none",
        others=_median_without(rows, "noto2flat"),
        tables=tables,
    )


def _tested(out: Path) -> list[dict[str, str]]:
    path = out / TESTED
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def _told(tested: Sequence[dict[str, str]]) -> str:
    """How often ``test`` was measured."""
    if not tested:
        return "`test` has not been measured yet."
    if len(tested) == 1:
        return f"`test` was measured once, at the end, on {tested[0]['when']}."
    return f"`test` was measured {len(tested)} times, first on {tested[0]['when']} and last on {tested[-1]['when']}."


def _minutes(out: Path, names: Sequence[str]) -> str:
    """What the runs took by their number of steps and the time of one: ``10 for day2night``."""
    times, found = read_times(out), {}
    for name in names:
        begun = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((out / name).glob(f"*/*/{ARM}"))]
        taken = {
            round(run["steps"] * times[name][run["arm"]]["wall"] / 60, 1) for run in begun if run["arm"] in times.get(name, {})
        }
        found[name] = f"{min(taken):g}" + (f" to {max(taken):g}" if max(taken) > min(taken) else "") if taken else "none"
    return ", ".join(f"{minutes} for {name}" for name, minutes in found.items())


def _median_without(rows: dict[str, list[Row]], left_out: str) -> str:
    """The median ratio of KID of the other uses."""
    each = ratios({name: measured for name, measured in rows.items() if name != left_out})["clean"]
    return f"{together(each).median:.2f}" if each else "not known"


def tables_of(out: Path, names: Sequence[str], split: str) -> str:
    """A table for each use that was measured, then the ratios."""
    measured = {name: rows for name in names if (rows := rows_of(out, name, split))}
    parts = [f"### {name}\n\n{table(out, name, rows)}" for name, rows in measured.items()]
    targets = "\n".join(f"- {line}" for line in reached(measured))
    return "\n\n".join([*parts, ratio_tables(measured), f"### Targets\n\n{targets}"])


def table(out: Path, name: str, rows: Sequence[Row]) -> str:
    """For each network a table: a row for each arm, a column for each figure, mean ± standard deviation over the seeds.

    The first has the figures without a network too.
    """
    figures, parts = figures_in(name, rows), []
    for net in EXTRACTORS:
        of_net = [figure for figure in figures if figure.endswith(f"[{net}]")]
        others = [figure for figure in figures if not parts and "[" not in figure]
        if of_net or others:
            parts.append(f"By `{net}`:\n\n{_table(out, name, rows, [*of_net, *others])}")
    return "\n\n".join(parts)


def _table(out: Path, name: str, rows: Sequence[Row], figures: Sequence[str]) -> str:
    times = read_times(out).get(name, {})
    lines = [["settings", "seeds", "s/step", *map(_heading, figures)]]
    for row in rows:
        seconds = f"{times[row.arm]['wall']:.3f}" if row.arm in times else ""
        cells = [_cell(name, row, figure) for figure in figures]
        lines.append([row.arm, str(len(row.seeds)), seconds, *cells])
    return markdown(lines)


def _heading(figure: str) -> str:
    return {"lights": "F1 of lights", "elsewhere": "F1 elsewhere"}.get(figure, figure.partition("[")[0])


def _cell(name: str, row: Row, figure: str) -> str:
    values = row.values(figure)
    mark = "" if clean(name, figure, [row.arm]) else SEEN
    return spread(values) + mark if values else ""


def ratio_tables(measured: dict[str, list[Row]]) -> str:
    """The ratios of recipe and published settings by each network, and all of them in a sentence."""
    parts = []
    for net, each in ratios(measured).items():
        if each:
            label = f"By `kid[{net}]`" if net != "clean" else "By the first network that neither of the two has seen"
            parts.append(f"{label}: {_sentence(each)}\n\n{markdown([_HEAD, *map(_ratio_row, each)])}")
    return "\n\n".join(["### KID of the recipe over KID of the published settings", *parts]) if parts else ""


_HEAD = ["use", "of the means", "by seed", "95 % of the draws", "figure"]


def _ratio_row(one: Ratio) -> list[str]:
    low, high = one.interval
    seeds = ", ".join(f"{pair:.2f}" for pair in one.seeds)
    return [one.use, f"{one.whole:.2f}" + ("" if one.clean else SEEN), seeds, f"{low:.2f} to {high:.2f}", one.figure]


def _sentence(each: Sequence[Ratio]) -> str:
    over = together(each)
    low, high = over.interval
    return f"median over {over.uses} uses {over.median:.2f} ({low:.2f} to {high:.2f}), largest {over.largest:.2f}."


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Rows as a table, the first its headings."""
    head, *rest = lines
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *rest))
