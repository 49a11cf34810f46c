"""Results blended with their inputs: as a whole by a strength, in parts by a mask."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from i2i.errors import UserError
from i2i.pictures.pixels import prepared, shown
from i2i.protocols import Domain


@dataclass(frozen=True)
class Blend:
    """``strength`` 0 is the input, 1 the result; ``mask``, grey, is white where the result is wanted."""

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
            raise UserError(f"{option}: '{source.name}' and '{target.name}' must be images with the same number of channels.")
        return cls(strength, None if mask is None else shown(prepared(mask, _GREY), _GREY))

    @property
    def acts(self) -> bool:
        return self.strength < 1 or self.mask is not None

    def __call__(self, before: Image.Image, made: Image.Image) -> Image.Image:
        """The result *made*, blended with its input."""
        if not self.acts:
            return made
        made = Image.blend(before, made, self.strength)
        if self.mask is None:
            return made
        mask = self.mask if self.mask.size == made.size else self.mask.resize(made.size, Image.Resampling.BILINEAR)
        return Image.composite(made, before, mask)


_GREY = Domain("mask", "image", 1)
