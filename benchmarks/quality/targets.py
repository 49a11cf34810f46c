"""What was asked of the recipes, and what they reach: lines for the terminal and the page."""

from collections.abc import Mapping, Sequence
from statistics import mean, stdev

from arms import EXTRACTORS
from tables import Ratio, Row, clean, ratios, together

MEDIAN, LARGEST = 0.7, 0.95
"""Of the ratios of KID."""
ERROR = 2 / 3
"""Of noto to flat: the share of wrong first places against the better of untranslated pictures and published settings."""
SPREADS = 2
"""So many standard deviations is its LPIPS to be below both."""


def reached(measured: Mapping[str, Sequence[Row]]) -> list[str]:
    """A line for each target whose figures are there."""
    tables = {name: {row.arm: row for row in rows} for name, rows in measured.items()}
    lines = [_kid(net, each) for net, each in ratios(measured).items() if each]
    lines += [line for name, rows in tables.items() for line in _pairs(name, rows)]
    if "noto2flat" in tables:
        lines += [line for net in EXTRACTORS for line in _noto(tables["noto2flat"], net)]
    if "day2night" in tables:
        lines += _lights(tables["day2night"])
    return lines


def _kid(net: str, each: Sequence[Ratio]) -> str:
    over, word = together(each), "the first network not seen" if net == "clean" else net
    good = over.median <= MEDIAN and over.largest <= LARGEST
    low, high = over.interval
    return (
        f"{_mark(good)} KID by {word}: median ratio {over.median:.2f} ({low:.2f} to {high:.2f}) over {over.uses} uses, "
        f"largest {over.largest:.2f}; wanted {MEDIAN} and {LARGEST}"
    )


def _pairs(name: str, rows: Mapping[str, Row]) -> list[str]:
    """Whether PSNR or LPIPS, by a network that neither has seen, is no worse than with the published settings."""
    found = {
        figure: (mean(rows["recipe"].values(figure)), mean(rows["published"].values(figure)))
        for figure in ("psnr", *(f"lpips[{net}]" for net in EXTRACTORS))
        if _has(rows, figure, "recipe", "published") and clean(name, figure, ["recipe", "published"])
    }
    if not found:
        return []
    good = any(ours >= theirs if figure == "psnr" else ours <= theirs for figure, (ours, theirs) in found.items())
    told = ", ".join(f"{figure} {ours:.3g} (published {theirs:.3g})" for figure, (ours, theirs) in found.items())
    return [f"{_mark(good)} {name}: {told}; wanted one of them no worse"]


def _noto(rows: Mapping[str, Row], net: str) -> list[str]:
    right, likeness = f"retrieval[{net}]", f"lpips[{net}]"
    if not _has(rows, right, "recipe", "published", "untranslated"):
        return []
    error = {arm: 1 - mean(rows[arm].values(right)) for arm in ("recipe", "published", "untranslated")}
    best = min(error["published"], error["untranslated"])
    far = {arm: mean(rows[arm].values(likeness)) for arm in error}
    spread = max(_spread(rows[arm].values(likeness)) for arm in ("recipe", "published"))
    below = min(far["published"], far["untranslated"]) - far["recipe"]
    return [
        f"{_mark(error['recipe'] <= ERROR * best)} noto2flat, {right}: wrong at the first place {error['recipe']:.1%} "
        f"(published {error['published']:.1%}, untranslated {error['untranslated']:.1%}); wanted {ERROR * best:.1%}",
        f"{_mark(below >= SPREADS * spread > 0)} noto2flat, {likeness}: {far['recipe']:.3g} (published {far['published']:.3g}, "
        f"untranslated {far['untranslated']:.3g}); wanted {SPREADS} standard deviations ({SPREADS * spread:.2g}) below both",
    ]


def _lights(rows: Mapping[str, Row]) -> list[str]:
    """Above the affine map, and, as most places have lights somewhere, above what the same lights get elsewhere."""
    if not _has(rows, "lights", "recipe", "affine colours"):
        return []
    ours, affine = (mean(rows[arm].values("lights")) for arm in ("recipe", "affine colours"))
    other = mean(rows["recipe"].values("elsewhere"))
    return [
        f"{_mark(ours > affine)} day2night: F1 of lights {ours:.3f} (affine map {affine:.3f}; of another place {other:.3f})"
    ]


def _has(rows: Mapping[str, Row], figure: str, *arms: str) -> bool:
    return all(arm in rows and rows[arm].values(figure) for arm in arms)


def _spread(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0


def _mark(good: bool) -> str:
    return "reached:" if good else "missed: "
