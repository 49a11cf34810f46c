"""Sizes that follow the pictures' own: the ``transform`` of a data set where nobody has said it.

Each data set of this package has an attribute ``fitted``: options as a recipe has them, to the same options with a transform.
"""

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from itertools import islice
from typing import Any, TypeVar

from pydantic import BaseModel

from i2i.data import spread
from i2i.errors import UserError
from i2i.recipe.options import complete_options
from i2i_data.columns import picture_in
from i2i_data.hub_stream import Streamed
from i2i_data.sides import Sides, log
from i2i_data.sizes import Size, size_of
from i2i_data.transforms import Transform, pair

SAMPLED, STREAMED = 200, 20
"""The number of pictures of each side whose headers are read; of a stream, its first rows."""
STEPS = (64, 32, 16, 8, 4)
"""Networks halve their maps: 2 times (``resnet``, ``unit``), 5 times (``spade``), or as often as the crop allows (``unet``)."""
LEAST_KEPT = 0.8
"""The least share of a side that a crop keeps; that of the published 256 of 286 is 0.9."""
RARE = 0.02
"""Pictures of less than half the usual size do not count if they are no more than this share."""
RESIZE, CROP = 286, 256
"""The largest sizes, which are the published ones."""
SINGLE = 128
"""The largest crop with ``zoom``, as of ``single``."""
SQUARE = 1.05
"""Up to these proportions pictures count as square."""

F = TypeVar("F", bound=Callable[..., Any])


def fits(factory: F) -> F:
    """Give a factory its attribute ``fitted``."""
    label = factory.__name__

    def fitted(options: Mapping[str, Any]) -> dict[str, Any]:
        """The options with a transform whose sizes follow the pictures' own and never enlarge them.

        What the options say of it stays. The headers of a sample of the pictures are read. Without a readable picture the
        options stay as they are.

        Raises:
            UserError: the options do not fit, there are no such files, or the crop is larger than the pictures.
        """
        said = _said(options.get("transform"))
        default: Transform = signature(factory).parameters["transform"].default
        if default.zoom and not said.keys() & {"resize", "short_side", "zoom"}:
            said = {"zoom": list(default.zoom), **said}
        if "resize" in said or ("crop" in said and ("short_side" in said or "zoom" in said)):
            return {**options, "transform": said}
        sizes = sizes_of(opened(factory, label, options))
        return {**options, "transform": fitting(sizes, said)} if any(sizes.values()) else dict(options)

    vars(factory)["fitted"] = fitted
    return factory


def opened(factory: Callable[..., Any], label: str, options: Mapping[str, Any]) -> Sides | Streamed:
    """The data set, without a word and without a look at its files.

    Raises:
        UserError: an option does not fit, or there are no such files.
    """
    keep = {"corrupt": "keep"} if "corrupt" in signature(factory).parameters else {}
    was, log.disabled = log.disabled, True
    try:
        made: Sides | Streamed = factory(**complete_options("dataset", label, factory, {**options, **keep}))
    finally:
        log.disabled = was
    return made


def _said(transform: Any) -> dict[str, Any]:
    """What the caller said of the transform, as a mapping."""
    if isinstance(transform, BaseModel):
        return transform.model_dump(mode="json", exclude_unset=True)
    return dict(transform) if isinstance(transform, Mapping) else {}  # anything else is refused with the other options


def sizes_of(dataset: Sides | Streamed) -> dict[str, list[Size]]:
    """The (height, width) of a sample of each side's pictures, without those that cannot be read."""
    if isinstance(dataset, Streamed):
        return {key: _first_rows(dataset, key) for key in dataset.columns}
    return {key: _known(side.size, spread(len(side), SAMPLED)) for key, side in dataset.sides.items()}


def _first_rows(stream: Streamed, key: str) -> list[Size]:
    rows, column = stream.readers[key].rows, stream.columns[key]
    ordered = type(rows)(rows.data, rows.source, None, rows.only)

    def look(row: Mapping[str, Any]) -> Size:
        source = picture_in(row[column.name], rows.source)
        return size_of(source, lambda: column.load(source).pixels)

    return _known(look, islice(ordered.passes(0), STREAMED))


def _known(look: Callable[[Any], Size], places: Any) -> list[Size]:
    found = []
    for place in places:
        try:
            found.append(look(place))
        except UserError:  # the data set itself says what is wrong with its files
            continue
    return found


def fitting(sizes: Mapping[str, Sequence[Size]], said: Mapping[str, Any]) -> dict[str, Any]:
    """The transform that *said* leaves open, for pictures of these (height, width).

    Square pictures get ``resize``, others ``short_side``, which keeps their proportions: the smallest picture's, at most the
    published 286. The crop is the largest that fits, rounded down to a number that can be halved often.

    Raises:
        UserError: the crop that was said is larger than the pictures.
    """
    least = min(smallest([min(size) for size in side]) for side in sizes.values() if side)
    if "short_side" in said:
        return {**said, "crop": halvable(min(said["short_side"], CROP))}
    if "zoom" in said:
        return {**said, "crop": halvable(min(SINGLE, max(1, int(least * said["zoom"][0]))))}
    resize = "resize" if _square([size for side in sizes.values() for size in side]) else "short_side"
    if "crop" not in said:
        side = min(least, RESIZE)
        return {resize: side, "crop": halvable(min(side, CROP)), **said}
    crop = pair(said["crop"])
    if max(crop) > least:
        raise UserError(
            f"transform: a crop of {crop[0]} x {crop[1]} is larger than the smallest picture, whose shorter side is {least}. "
            f"Give a crop of {halvable(least)}, or 'resize' too, which enlarges pictures."
        )
    factor = min(RESIZE / CROP, least / max(crop))
    scaled = [round(side * factor) for side in crop]
    return {**({resize: scaled[0]} if crop[0] == crop[1] else {"resize": scaled}), **said}


def smallest(sides: Sequence[int]) -> int:
    """The least of these lengths, without rare ones of less than half the median."""
    ordered = sorted(sides)
    usual = [side for side in ordered if side * 2 >= ordered[len(ordered) // 2]]
    return usual[0] if len(ordered) - len(usual) <= RARE * len(ordered) else ordered[0]


def _square(sizes: Sequence[Size]) -> bool:
    return all(max(size) <= SQUARE * min(size) for size in sizes)


def halvable(side: int) -> int:
    """The largest multiple of 64 up to *side*, or of 32, 16, 8 or 4 if that would cut off more than a fifth."""
    multiples = [side // step * step for step in STEPS]
    return next((multiple for multiple in multiples if multiple >= LEAST_KEPT * side), multiples[-1] or side)
