"""Results blended with their inputs: as a whole by a strength, in parts by a mask."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from torch import Tensor

from i2i.errors import UserError
from i2i.pictures import shown, to_picture, to_tensor
from i2i.protocols import Domain
from i2i.reading import read


@dataclass(frozen=True)
class Blend:
    """``strength`` 0 is the input, 1 the result; ``mask``, grey, is white where the result is wanted."""

    domain: Domain
    strength: float = 1.0
    mask: Image.Image | None = None

    @classmethod
    def of(cls, strength: float, mask: str | Path | Image.Image | None, source: Domain, target: Domain) -> "Blend":
        """A blend between two domains.

        Raises:
            UserError: the domains are not images with equal channels, or the strength is not between 0 and 1.
        """
        if not 0 <= strength <= 1:
            raise UserError(f"strength: {strength} is not between 0 (the input) and 1 (the result).")
        same = source.kind == target.kind == "image" and source.channels == target.channels
        if (strength < 1 or mask is not None) and not same:
            option = "strength" if strength < 1 else "mask"
            raise UserError(f"{option}: '{source.name}' and '{target.name}' are not both images with as many channels.")
        if isinstance(mask, str | Path):
            mask = shown(read(Path(mask), _GREY).pixels, _GREY)
        return cls(source, strength, None if mask is None else to_picture(to_tensor(mask, _GREY), _GREY))

    def __call__(self, given: Tensor, made: Image.Image) -> Image.Image:
        """The result *made*, blended with the pixels that were *given*, see ``i2i.reading.read``."""
        if self.strength == 1 and self.mask is None:
            return made
        before = shown(given, self.domain)
        made = Image.blend(before, made, self.strength)
        if self.mask is None:
            return made
        mask = self.mask if self.mask.size == made.size else self.mask.resize(made.size, Image.Resampling.BILINEAR)
        return Image.composite(made, before, mask)


_GREY = Domain("mask", "image", 1)
