"""From figures of places to numbers with their spread, and the ratios of recipe and published settings."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import numpy as np
from arms import EXTRACTORS
from figures import Arrays, wanted_of
from held import read
from numpy.typing import NDArray
from settings import arms_of, has_seen, place_of

DRAWS = 1000
BETTER = {"kid": "lower", "lpips": "lower"}
MAPS = ("untranslated", "affine colours")

Weights = NDArray[np.float64]
"""How often each place is drawn, (places,)."""


def kernel_distance(blocks: NDArray[Any], weights: Weights | None = None) -> float:
    """The kernel distance of pairs of different places (``figures.blocks``), each place counted as often as it was drawn.

    Unbiased for pictures of places that are drawn independently. A place that is drawn twice is not compared with itself.
    """
    w = np.ones(len(blocks)) if weights is None else weights
    whole, own = w @ blocks @ w, (w * w) @ np.diag(blocks)
    return float((whole - own) / (w.sum() ** 2 - w @ w))


def light_score(counts: NDArray[Any], weights: Weights | None = None) -> float:
    """F1 of all places together: precision of the lights made, recall of the true ones; 0 where there are none."""
    w = np.ones(len(counts)) if weights is None else weights
    made, right, true, found = (w[:, None] * counts).sum(0)
    precision, recall = right / max(made, 1), found / max(true, 1)
    return float(2 * precision * recall / max(precision + recall, 1e-12))


def value(figure: str, array: NDArray[Any], weights: Weights | None = None) -> float:
    """The number of a figure from what is kept of its places."""
    if figure.startswith("kid"):
        return kernel_distance(array, weights)
    if figure in ("lights", "elsewhere"):
        return light_score(array, weights)
    return float(np.average(array, weights=weights))


class Row(NamedTuple):
    """An arm of a use: the figures of each of its seeds, by name."""

    arm: str
    seeds: list[Arrays]

    def values(self, figure: str) -> list[float]:
        """A number for each seed."""
        return [value(figure, seed[figure]) for seed in self.seeds if figure in seed]


def rows_of(out: Path, name: str, split: str) -> list[Row]:
    """What was measured of a use: maps of colours first, then the arms in their order."""
    found = []
    for arm in (*MAPS, *arms_of(name)):
        folders = sorted((place_of(out, name, arm)).glob("[0-9]*"), key=lambda p: int(p.name))
        if seeds := [arrays for folder in folders if (arrays := read(folder / f"{split}-figures.npz"))]:
            found.append(Row(arm, seeds))
    return found


def figures_in(name: str, rows: Sequence[Row]) -> list[str]:
    """The names of the figures of a use that were measured, in the order of the table."""
    found = {figure for row in rows for seed in row.seeds for figure in seed}
    return [figure for figure in wanted_of(name, tuple(EXTRACTORS)) if figure in found]


def clean(name: str, figure: str, arms: Sequence[str]) -> bool:
    """Whether no judge or loss of these arms has seen the family of a figure's network."""
    net = figure.partition("[")[2].rstrip("]")
    return not any(has_seen(name, arm, net) for arm in arms if arm not in MAPS)


class Ratio(NamedTuple):
    """The kernel distance of the recipe over that of the published settings: of the means, by seed, and drawn anew."""

    use: str
    figure: str
    whole: float
    seeds: list[float]
    draws: NDArray[np.float64]
    clean: bool

    @property
    def interval(self) -> tuple[float, float]:
        """Where 95 % of the draws lie."""
        low, high = np.percentile(self.draws, [2.5, 97.5])
        return float(low), float(high)


def ratio(rows: Mapping[str, Row], name: str, figure: str, arm: str = "recipe", against: str = "published") -> Ratio | None:
    """The ratio of two arms of a use, unless one of them is not measured.

    Drawn anew are the places, the same for all runs, and the seeds of both arms.
    """
    sides = [[seed[figure] for seed in rows[key].seeds if figure in seed] if key in rows else [] for key in (arm, against)]
    if not all(sides):
        return None
    ours, theirs = ([value(figure, seed) for seed in seeds] for seeds in sides)
    draw = np.random.default_rng(0)
    places = len(sides[0][0])
    drawn = []
    for _ in range(DRAWS):
        weights = np.bincount(draw.integers(places, size=places), minlength=places).astype(np.float64)
        means = [mean(value(figure, seeds[i], weights) for i in draw.integers(len(seeds), size=len(seeds))) for seeds in sides]
        drawn.append(means[0] / means[1])
    pairs = [one / other for one, other in zip(ours, theirs, strict=False)]
    return Ratio(name, figure, mean(ours) / mean(theirs), pairs, np.array(drawn), clean(name, figure, (arm, against)))


def ratios(tables: Mapping[str, Sequence[Row]], nets: Iterable[str] = tuple(EXTRACTORS)) -> dict[str, list[Ratio]]:
    """For each network the ratios of all uses; under ``clean`` for each use that of the first network that no arm has seen."""
    found: dict[str, list[Ratio]] = {}
    for net in nets:
        each = [ratio({row.arm: row for row in rows}, name, f"kid[{net}]") for name, rows in tables.items()]
        found[net] = [one for one in each if one is not None]
    firsts: dict[str, Ratio] = {}
    for one in [one for net in nets for one in found[net] if one.clean]:
        firsts.setdefault(one.use, one)
    return {**found, "clean": [firsts[name] for name in tables if name in firsts]}


class Over(NamedTuple):
    """Ratios of several uses together."""

    median: float
    largest: float
    interval: tuple[float, float]
    uses: int


def together(each: Sequence[Ratio]) -> Over:
    """The median and the largest ratio; 95 % of the medians of the draws lie in the interval."""
    medians = np.median(np.stack([one.draws for one in each]), 0)
    low, high = np.percentile(medians, [2.5, 97.5])
    whole = [one.whole for one in each]
    return Over(float(np.median(whole)), max(whole), (float(low), float(high)), len(each))


def spread(values: Sequence[float], form: Callable[[float], str] = lambda x: f"{x:.3g}") -> str:
    """``21.3 ± 0.2``: mean and standard deviation over the seeds; the value alone where there is one."""
    return form(mean(values)) + (f" ± {stdev(values):.2g}" if len(values) > 1 else "")


def summary(out: Path, names: Sequence[str], split: str) -> dict[str, Any]:
    """All numbers for a file: each figure of each arm by seed, and the ratios."""
    tables = {name: rows_of(out, name, split) for name in names}
    found: dict[str, Any] = {
        name: {row.arm: {figure: row.values(figure) for figure in figures_in(name, [row])} for row in rows}
        for name, rows in tables.items()
    }
    told: dict[str, Any] = {}
    for net, each in ratios(tables).items():
        if each:
            one_by_one = {
                one.use: {
                    "ratio": one.whole,
                    "seeds": one.seeds,
                    "interval": one.interval,
                    "clean": one.clean,
                    "of": one.figure,
                }
                for one in each
            }
            told[net] = {"uses": one_by_one, **together(each)._asdict()}
    return {"split": split, "figures": found, "kid_ratios": told}
