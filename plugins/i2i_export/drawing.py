"""What a model draws at random in inference: nothing, a style, or numbers that no file can hold."""

from typing import Literal

from torch import Tensor

from i2i.building.needs import accepted
from i2i.errors import UserError
from i2i.protocols import Direction
from i2i.translation.translator import Translator
from i2i_export.baked import styled
from i2i_export.plan import dependence_of, random_inputs, smallest_of, trained_size

Drawn = Literal["nothing", "style", "everything"]
"""What changes from seed to seed: nothing; a style, the same numbers for pictures of all sizes; or dropout, or noise for every
pixel."""


def drawn_by(model: Translator, way: Direction) -> Drawn:
    """Measured by translating small random pictures under two seeds, then with the numbers of one of them fixed."""
    side = smallest_of(model, way)
    if not dependence_of(model, way, side).seed:
        return "nothing"
    try:
        fixed, _, _ = styled(model, way, None, 0)
        larger = side + 2 * model.divisor
        return "everything" if dependence_of(fixed, way, larger).seed else "style"
    except UserError:  # it draws other numbers there
        return "everything"


def ways_to_style(model: Translator, way: Direction, drawn: Drawn) -> list[str]:
    """The options with which a model that draws so translates in a known style, and draws nothing any more."""
    ways = ["--style-seed"] if drawn == "style" else []
    if "style" not in accepted(model.module):
        return ways
    given = dependence_of(model, way, smallest_of(model, way), example_style(model, way))
    return ways if given.seed else ["--style", *ways, "--style-input"]


def example_style(model: Translator, way: Direction) -> Tensor:
    """(1, C_target, h, w), of the size of the target's training pictures."""
    return random_inputs(model.domains[way[1]], (1, *trained_size(model, way[1])))
