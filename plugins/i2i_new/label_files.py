"""Whether files are label maps, and what their numbers or colours are."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from i2i.data import spread
from i2i.errors import UserError
from i2i.pictures.files import read_picture
from i2i.pictures.formats import SIXTEEN_BITS
from i2i.pictures.sources import JPEG, NPY, Source, head_of

LOOKED_AT = 12
"""The number of files by which label maps are recognised; of these all are then read, for at most SECONDS."""
SECONDS = 5.0
FLAT = 0.75
"""In a label map at least this share of the pixels equals its right neighbour."""
MOST_CLASSES, MOST_COLORS = 300, 64
"""With more numbers or colours pictures are not taken for label maps. COCO-Stuff has 182 classes."""
IGNORED = 255
"""By convention the number of pixels without a class."""


@dataclass(frozen=True)
class Labels:
    """The options of a data set that say what the files hold, and the reasons in words."""

    options: dict[str, Any]
    why: list[str]


def label_maps(sources: Sequence[Source]) -> Labels | None:
    """What the files hold if they are label maps: few numbers or colours, in areas; None for other pictures."""
    if not sources:
        return None
    looked = [_Map.of(sources[i]) for i in spread(len(sources), LOOKED_AT)]
    some = [one for one in looked if one is not None]
    if len(some) < len(looked) or len({one.colored for one in some}) > 1:
        return None
    counts, read = _counted(sources)
    most = MOST_COLORS if some[0].colored else MOST_CLASSES
    if not counts or len(counts) < 2 or len(counts) > most:
        return None
    how = f"all {read} files were read" if read == len(sources) else f"{read} of {len(sources)} files were read"
    if some[0].colored:
        return _by_color(counts, how, read < len(sources))
    return _by_number(counts, how, some[0].has_palette)


@dataclass(frozen=True)
class _Map:
    """One file: its distinct values with their counts, a colour as one number."""

    values: NDArray[np.int64]
    counts: NDArray[np.int64]
    colored: bool
    has_palette: bool

    @classmethod
    def of(cls, source: Source, known: bool = False) -> "_Map | None":
        """None where a file cannot be a label map: another kind, one that cannot be read, or, unless *known*, no areas."""
        head = head_of(source)
        if head.startswith((JPEG, NPY)):
            return None
        try:
            picture = read_picture(source)
        except UserError:
            return None
        colored = picture.mode in ("RGB", "RGBA")
        if not colored and picture.mode not in ("1", "L", "P", *SIXTEEN_BITS):
            return None
        array = np.asarray(picture.convert("RGB") if colored else picture).astype(np.int64)
        plain = (array[..., 0] << 16 | array[..., 1] << 8 | array[..., 2]) if colored else array
        if not known and (plain.shape[1] < 2 or float((plain[:, 1:] == plain[:, :-1]).mean()) < FLAT):
            return None
        values, counts = np.unique(plain, return_counts=True)
        return cls(values, counts, colored, picture.mode == "P")


def _counted(sources: Sequence[Source]) -> tuple[Counter[int], int]:
    """The pixels of each value, and the number of files that were read before the time was over."""
    counts: Counter[int] = Counter()
    end, read = time.monotonic() + SECONDS, 0
    for i in np.random.default_rng(0).permutation(len(sources)).tolist():
        if time.monotonic() > end or len(counts) > MOST_CLASSES:
            break
        read += 1
        if found := _Map.of(sources[i], known=True):
            counts.update(dict(zip(found.values.tolist(), found.counts.tolist(), strict=True)))
    return counts, read


def _by_color(counts: Counter[int], how: str, unseen: bool) -> Labels:
    colors = [[code >> 16, code >> 8 & 255, code & 255] for code, _ in counts.most_common()]
    why = [f"Label maps: areas in {len(colors)} colours, which become the classes 0 to {len(colors) - 1} ({how})."]
    options: dict[str, Any] = {"colors": colors}
    if unseen:
        options["dont_care"] = [IGNORED]
        why.append("Colours that were not seen become one more class, 'don't care'.")
    return Labels(options, why)


def _by_number(counts: Counter[int], how: str, has_palette: bool) -> Labels | None:
    values = sorted(counts)
    ignored = [IGNORED] if len(values) > 2 and values[-1] == IGNORED and values[-2] < IGNORED - 50 else []
    kept = [value for value in values if value not in ignored]
    classes = kept[-1] + 1
    if values[0] < 0 or classes > MOST_CLASSES:
        return None
    unused = sorted(set(range(classes)) - set(kept))
    if len(unused) > len(kept) + 8 and not has_palette:  # greys such as 0, 128, 255
        return _by_color(Counter({value << 16 | value << 8 | value: counts[value] for value in values}), how, False)
    why = [f"Label maps: the numbers {_ranges(kept)} ({how})."]
    if ignored:
        why.append(f"{IGNORED} stands for pixels without a class, as is usual: they become one more class, 'don't care'.")
    if unused:
        why.append(f"The numbers {_ranges(unused)} do not occur; they cost nothing but a channel each.")
    return Labels({"classes": classes, **({"dont_care": ignored} if ignored else {})}, why)


def _ranges(numbers: Sequence[int]) -> str:
    """``0 to 3, 7``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    told = [f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    return ", ".join(told[:8]) + (", …" if len(told) > 8 else "")
