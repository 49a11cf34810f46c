"""The best model that a run kept, beside its last one: the figures of both on the same held-out pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from i2i.errors import UserError
from i2i.files import UNREADABLE, present, read_json
from i2i.metrics import Better, Figure
from i2i.training.log import read_metrics
from i2i.translation.checkpoints import BEST

FOLDER, METRICS = "best", "metrics.jsonl"


@dataclass(frozen=True)
class Kept:
    """The figures of the best model, which is that of ``step``; ``last`` has those of the last evaluation, at ``last_step``.

    ``name`` is the figure by which it was chosen, the mean over the directions: ``value`` and ``last_value``. A figure that was
    not measured again is None.
    """

    name: str
    better: Better
    step: int
    value: float
    figures: Sequence[Figure]
    last_step: int
    last: Sequence[float | None]

    @property
    def last_value(self) -> float | None:
        """The last value of the figure by which the best is chosen."""
        found = [value for figure, value in zip(self.figures, self.last, strict=True) if is_called(figure.name, self.name)]
        there = [value for value in found if value is not None]
        return sum(there) / len(there) if len(there) == len(found) > 0 else None

    @property
    def headings(self) -> list[str]:
        """Of a table of all figures."""
        best, last = f"best, step {self.step}", f"last, step {self.last_step}"
        return ["figure", "better", *([f"best and last, step {self.step}"] if self.step == self.last_step else [best, last])]

    @property
    def rows(self) -> list[list[str]]:
        """Of that table."""
        several = len({figure.protocol.get("direction") for figure in self.figures}) > 1
        found = []
        for figure, last in zip(self.figures, self.last, strict=True):
            way = f" {figure.protocol.get('direction', '')}" if several else ""
            values = [figure.value] if self.step == self.last_step else [figure.value, last]
            shown = ["-" if value is None else f"{value:.4g}" for value in values]
            found.append([figure.name + way, figure.better, *shown])
        return found

    @property
    def chosen(self) -> str:
        """What was looked at, and by what the best was chosen."""
        protocol = self.figures[0].protocol
        return f"{protocol.get('pictures', 'the')} pictures of the split {protocol.get('split', '?')}, best by {self.name}"

    def __str__(self) -> str:
        told = f"{self.name} {self.value:.4g} ({self.better} is better)"
        if self.step == self.last_step:
            return f"step {self.step}, the last: {told}"
        last = "not measured" if self.last_value is None else f"{self.last_value:.4g}"
        return f"step {self.step}: {told}; the last, step {self.last_step}: {last}"


def kept(run: Path) -> Kept | None:
    """What a run folder says of its best model and its last one; None where it keeps no best, or its files are damaged."""
    try:
        found = read_json(present(run / FOLDER) / BEST)
        figures = [Figure.from_json(figure) for figure in found["figures"]]
        name, value, step = str(found["keep_best"]), float(found["value"]), int(found["step"])
        better, names = next(figure.better for figure in figures if is_called(figure.name, name)), list(named(figures))
    except (*UNREADABLE, StopIteration, UserError):
        return None
    lines = [line for line in read_metrics(run / METRICS) if any(name in line for name in names)]
    last = lines[-1] if lines else {"step": step}
    return Kept(name, better, step, value, figures, int(last["step"]), [last.get(name) for name in names])


def named(figures: Sequence[Figure]) -> dict[str, float]:
    """The figures by name for metrics.jsonl, as ``eval/psnr``; with the direction where there are several."""
    ways = {figure.protocol["direction"] for figure in figures}
    return {f"eval/{f.name}" + (f" {f.protocol['direction']}" if len(ways) > 1 else ""): f.value for f in figures}


def is_called(figure: str, name: str) -> bool:
    """Whether a figure has that name, with or without its extractor."""
    return name in (figure, figure.partition("[")[0])
