"""Resizing, cropping and augmentation: torchvision v2 on tv_tensors, one random state for all sides of a pair."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, NamedTuple, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode  # type: ignore[import-untyped]
from torchvision.transforms.v2 import functional as F
from torchvision.tv_tensors import Image, Mask, TVTensor  # type: ignore[import-untyped]

from i2i.errors import UserError
from i2i.pictures.preparation import finished, network_size, resized
from i2i.protocols import Domain, Preparation

Pixels = Annotated[int, Field(ge=1, le=2**15)]
Share = Annotated[float, Field(ge=0, le=1)]
Factor = Annotated[float, Field(gt=0, le=16)]


def pair(size: int | tuple[int, int]) -> tuple[int, int]:
    """(height, width)."""
    return (size, size) if isinstance(size, int) else size


class Transform(BaseModel):
    """What happens to a picture between its file and the network.

    In training, in the order of the fields. Held-out pictures are not varied: they are scaled to the crop instead of to the
    larger size, and cut at the centre where they stick out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    resize: Pixels | tuple[Pixels, Pixels] | None = None
    """Scale to a square of this side, or to [height, width]."""
    short_side: Pixels | None = None
    """Scale the shorter side to this, in place of resize."""
    zoom: tuple[Factor, Factor] | None = None
    """Scale by a factor from [low, high]."""
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Turn by up to this number of degrees; corners are mirrored."""
    crop: Pixels | tuple[Pixels, Pixels] | None = None
    """Cut out a square of this side, or [height, width], at random."""
    flip: bool = True
    """Mirror half of the pictures, left and right."""
    jitter: Share = 0.0
    """The strength of SimCLR's colour changes."""
    cutout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Grey out a square; its side is this fraction of the picture's."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.resize is not None and self.short_side is not None:
            raise ValueError("resize and short_side exclude each other: give one of them")
        if self.zoom is not None and self.zoom[0] > self.zoom[1]:
            raise ValueError(f"zoom must be [low, high], not {list(self.zoom)}")
        if self.resize is not None and self.crop is not None and self.zoom is None:
            (h, w), (ch, cw) = pair(self.resize), pair(self.crop)
            if ch > h or cw > w:
                raise ValueError(f"a crop of {ch} x {cw} is larger than the size {h} x {w} that resize gives")
        return self

    @property
    def preparation(self) -> Preparation:
        """The size at which a network sees pictures: the one that held-out pictures are scaled to. A crop alone sets none."""
        size = self.resize or self.short_side
        if size is None:
            return Preparation()
        return Preparation(size=pair(self.crop or size), cover=self.short_side is not None)

    def known(self, domain: Domain) -> Domain:
        """The domain with the size at which a network sees its pictures."""
        made = self.preparation
        return replace(domain, preparation=replace(domain.preparation, size=made.size, cover=made.cover))


PUBLISHED = Transform(resize=286, crop=256)
"""Resize to 286 x 286, crop 256 x 256, flip: pix2pix (Isola et al. 2017) and CycleGAN (Zhu et al. 2017)."""

Varied = Annotated[Transform, Field(description="How pictures are scaled, cropped and augmented.")]


class Drawn(NamedTuple):
    """The choices for one sample; every side of a pair gets the same ones."""

    size: tuple[int, int]
    angle: float
    top: int
    left: int
    crop: tuple[int, int]
    flip: bool
    colours: tuple[float, float, float, float] | None
    hole: tuple[int, int, int] | None


def transformed(sides: Sequence[TVTensor], transform: Transform, train: bool, where: str) -> list[Tensor]:
    """The sides of one sample, all (C, H, W) of one size, as the contract wants them.

    Images, uint8 or float32 in [0, 1], become float32 in [-1, 1]; masks become int64 and keep their values exactly.
    """
    size = (int(sides[0].shape[-2]), int(sides[0].shape[-1]))
    drawn = draw(transform, size, where) if train else held_out(transform, size, where)
    return [_finished(_varied(side, drawn), drawn) for side in sides]


def draw(transform: Transform, size: tuple[int, int], where: str) -> Drawn:
    """Random choices for a picture of *size*, from torch's default generator."""
    h, w = scaled(transform, size)
    if transform.zoom is not None:
        factor = _uniform(*transform.zoom)
        h, w = max(1, round(h * factor)), max(1, round(w * factor))
    ch, cw = pair(transform.crop) if transform.crop is not None else (h, w)
    _check_crop((ch, cw), (h, w), where)
    angle = _uniform(-transform.rotate, transform.rotate) if transform.rotate else 0.0
    top, left = int(torch.randint(h - ch + 1, ())), int(torch.randint(w - cw + 1, ()))
    flip = transform.flip and bool(torch.rand(()) < 0.5)
    return Drawn((h, w), angle, top, left, (ch, cw), flip, _colours(transform.jitter), _hole(transform.cutout, (ch, cw)))


def held_out(transform: Transform, size: tuple[int, int], where: str) -> Drawn:
    """The fixed choices for a picture that is not trained on: the crop shows as much of it as possible."""
    h, w = network_size(transform.preparation, size)
    ch, cw = pair(transform.crop) if transform.crop is not None else (h, w)
    _check_crop((ch, cw), (h, w), where)
    return Drawn((h, w), 0.0, (h - ch) // 2, (w - cw) // 2, (ch, cw), False, None, None)


def mirrored(side: TVTensor, rows: int, columns: int) -> TVTensor:
    """(C, H, W) to (C, H + 2 rows, W + 2 columns), reflected at the edges as often as it takes; values stay exact."""
    h, w = side.shape[-2:]
    plain = side.as_subclass(Tensor)[:, _reflection(h, rows)][:, :, _reflection(w, columns)]
    return type(side)(plain)


def _reflection(length: int, pad: int) -> Tensor:
    """Indices of a line of pixels extended by *pad* at both ends, mirrored without repeating the edge."""
    if length == 1:
        return torch.zeros(1 + 2 * pad, dtype=torch.long)
    period = 2 * length - 2
    at = torch.arange(-pad, length + pad) % period
    return torch.minimum(at, period - at)


def scaled(transform: Transform, size: tuple[int, int]) -> tuple[int, int]:
    """The (height, width) that a picture of *size* is scaled to in training, before zoom and crop."""
    if transform.resize is not None:
        return pair(transform.resize)
    if transform.short_side is not None:
        factor = transform.short_side / min(size)
        return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))
    return size


def _check_crop(crop: tuple[int, int], size: tuple[int, int], where: str) -> None:
    if crop[0] > size[0] or crop[1] > size[1]:
        raise UserError(
            f"{where}: a crop of {crop[0]} x {crop[1]} (height x width) does not fit in {size[0]} x {size[1]} pixels. Choose "
            "a smaller transform.crop, or enlarge the pictures with transform.resize or transform.short_side."
        )


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))


def _colours(strength: float) -> tuple[float, float, float, float] | None:
    """Brightness, contrast and saturation factors and a hue shift; the ranges of SimCLR (Chen et al. 2020, appendix A)."""
    if strength == 0:
        return None
    span = 0.8 * strength
    brightness, contrast, saturation = (_uniform(max(0.0, 1 - span), 1 + span) for _ in range(3))
    return brightness, contrast, saturation, _uniform(-0.2 * strength, 0.2 * strength)


def _hole(share: float, crop: tuple[int, int]) -> tuple[int, int, int] | None:
    """Top, left and side of a square within the crop (DeVries & Taylor 2017)."""
    side = round(share * min(crop))
    if side == 0:
        return None
    return int(torch.randint(crop[0] - side + 1, ())), int(torch.randint(crop[1] - side + 1, ())), side


def _varied(side: TVTensor, drawn: Drawn) -> TVTensor:
    """The geometry and, for images, the colours. Masks are scaled and rotated by nearest neighbour."""
    image = isinstance(side, Image)
    if side.shape[-2:] != drawn.size:
        side = type(side)(resized(side.as_subclass(Tensor), drawn.size, labels=not image))
    if drawn.angle:
        side = _rotated(side, drawn.angle, InterpolationMode.BILINEAR if image else InterpolationMode.NEAREST)
    side = F.crop(side, drawn.top, drawn.left, *drawn.crop)
    if drawn.flip:
        side = F.horizontal_flip(side)
    return _recoloured(side, drawn.colours) if image and drawn.colours is not None else side


def _rotated(side: TVTensor, angle: float, mode: InterpolationMode) -> TVTensor:
    """Rotated about its centre; the corners are filled with the picture's mirror image, so no value is made up."""
    h, w = side.shape[-2:]
    diagonal = math.hypot(h, w)
    rows, columns = math.ceil((diagonal - h) / 2), math.ceil((diagonal - w) / 2)
    turned = F.rotate(mirrored(side, rows, columns), angle, interpolation=mode)
    return F.crop(turned, rows, columns, h, w)


def _recoloured(image: TVTensor, colours: tuple[float, float, float, float]) -> TVTensor:
    brightness, contrast, saturation, hue = colours
    image = F.adjust_contrast(F.adjust_brightness(image, brightness), contrast)
    return F.adjust_hue(F.adjust_saturation(image, saturation), hue) if image.shape[0] == 3 else image


def _finished(side: TVTensor, drawn: Drawn) -> Tensor:
    plain = finished(side.as_subclass(Tensor), labels=isinstance(side, Mask))
    if drawn.hole is not None and isinstance(side, Image):
        top, left, size = drawn.hole
        plain[:, top : top + size, left : left + size] = 0  # mid grey
    return plain
