"""Sheets of held-out results to look at."""

from collections.abc import Sequence
from pathlib import Path

import torch
from figures import distance
from held import from_bytes, held_out, read, to_bytes, translated
from settings import arms_of, place_of
from tables import MAPS

from i2i.data import spread
from i2i.pictures.pixels import save_picture
from i2i.pictures.sheet import Column, contact_sheet
from i2i.protocols import Domain

RESULTS, COMPARED = 24, 10
"""Pictures on a sheet of one arm, and of all arms side by side."""
_COLOURS = Domain("colours", "image", 3)


def draw_all(out: Path, name: str, split: str, seed: int = 0, wanted: Sequence[str] = ()) -> list[Path]:
    """Sheets in ``OUT/sheets``: 24 results of each arm (input, output, truth), and all arms of a use side by side."""
    source, truth, (given, target) = held_out(name, split)
    made, written = {}, []
    for arm in (*MAPS, *arms_of(name, wanted)):
        folder = place_of(out, name, arm) / str(0 if arm in MAPS else seed)
        if kept := read(folder / f"{split}-pictures.npz"):
            made[arm] = from_bytes(torch.from_numpy(kept["made"]))
    for arms, count in [*(([arm], RESULTS) for arm in made if arm not in MAPS), (list(made), COMPARED)]:
        chosen = spread(len(source), min(count, len(source)))
        middle: list[Column] = [(arm, made[arm][chosen], _COLOURS) for arm in arms]
        columns: list[Column] = [(given.name, source[chosen], given), *middle, (f"true {target.name}", truth[chosen], target)]
        label = place_of(out, name, arms[0]).name if count == RESULTS else "all"
        path = out / "sheets" / f"{name}-{split}-{label}-{seed}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_picture(contact_sheet(columns), path)
        written.append(path)
    return written


def draw_halves(name: str, model: Path, split: str, rows: int, net: str, path: Path) -> None:
    """A sheet of results: left some of the half that is nearer to the truths by LPIPS of *net*, right some of the other."""
    source, truth, (given, target) = held_out(name, split)
    made = from_bytes(translated(name, model, split))
    with torch.inference_mode():
        order = distance(net)(made, from_bytes(to_bytes(truth))).argsort()
    columns: list[Column] = []
    for half in order.chunk(2):
        chosen = half[spread(len(half), rows)]
        sides: list[Column] = [(given.name, source[chosen], given), ("result", made[chosen], _COLOURS)]
        columns += [*sides, (f"true {target.name}", truth[chosen], target)]
    save_picture(contact_sheet(columns), path)
