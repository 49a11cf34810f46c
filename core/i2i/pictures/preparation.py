"""What happens to the pixels of a file before a network sees them; see ``protocols.Preparation``."""

import re
from dataclasses import replace
from math import inf

import torch
from torch import Tensor

from i2i.errors import UserError
from i2i.pictures.files import MAX_PIXELS
from i2i.protocols import Domain, Preparation

Resize = int | str
"""To what pictures are scaled at use: ``as-trained``, ``none``, the shorter side in pixels, or ``WIDTHxHEIGHT``."""


def to_size(domain: Domain, resize: Resize) -> Domain:
    """The domain whose pictures are scaled like this, and otherwise prepared as before.

    ``as-trained`` is how its data set scaled them, ``none`` keeps their own sizes. A number is the shorter side, as in a data
    set's ``short_side``: it sets how large things look to the network and keeps the proportions. ``768x512`` is width and
    height, whatever the proportions were.

    Raises:
        UserError: it is none of these, or has more than MAX_PIXELS.
    """
    word = str(resize)
    if word == "as-trained":
        return domain
    found = re.fullmatch(r"([1-9]\d{0,8})(?:x([1-9]\d{0,8}))?", word)
    if found is None and word != "none":
        raise UserError(
            f"resize: '{word}' is not a size. Give the shorter side in pixels (512), WIDTHxHEIGHT (768x512), none "
            "or as-trained."
        )
    width, height = (int(found[1]), int(found[2] or found[1])) if found else (1, 1)
    if width * height > MAX_PIXELS:
        raise UserError(f"resize: {word} is more than {MAX_PIXELS} pixels, the limit. Give a smaller size.")
    cover = found is not None and found[2] is None
    size = (height, width) if found else None
    return replace(domain, preparation=replace(domain.preparation, size=size, cover=cover))


def fitted(pixels: Tensor, domain: Domain, where: str = "the picture", max_pixels: int = MAX_PIXELS) -> Tensor:
    """Pixels (C, H, W) at the size at which the network knows its pictures.

    Raises:
        UserError: that would be more than *max_pixels*.
    """
    size = network_size(domain.preparation, (pixels.shape[-2], pixels.shape[-1]))
    if size[0] * size[1] > max_pixels:
        raise UserError(
            f"{where}: the model scales it to {size[1]} x {size[0]} = {size[0] * size[1]} pixels; the limit is {max_pixels}. "
            "Give a picture of other proportions, or keep its own size (resize: none)."
        )
    return resized(pixels, size, domain.kind == "labels")


def network_size(preparation: Preparation, size: tuple[int, int]) -> tuple[int, int]:
    """The size (height, width) that a file of that size is scaled to."""
    if preparation.size is None:
        return size
    if not preparation.cover:
        return preparation.size
    height, width = preparation.size
    factor = max(height / size[0], width / size[1])
    return max(height, round(size[0] * factor)), max(width, round(size[1] * factor))


def resized(pixels: Tensor, size: tuple[int, int], labels: bool) -> Tensor:
    """Images by antialiased bicubic interpolation, as the published programs do; label ids by their nearest neighbour."""
    if tuple(pixels.shape[-2:]) == size:
        return pixels
    from torchvision.transforms.v2 import InterpolationMode  # type: ignore[import-untyped]
    from torchvision.transforms.v2 import functional as F
    from torchvision.tv_tensors import Image, Mask  # type: ignore[import-untyped]

    mode = InterpolationMode.NEAREST_EXACT if labels else InterpolationMode.BICUBIC
    made: Tensor = F.resize((Mask if labels else Image)(pixels), list(size), interpolation=mode, antialias=not labels)
    return made.as_subclass(Tensor)


def finished(pixels: Tensor, labels: bool) -> Tensor:
    """Pixels (…, H, W), uint8 or float32 in [0, 1], as a sample: float32 in [-1, 1]; label ids as int64."""
    if labels:
        return pixels.to(torch.int64, copy=True, memory_format=torch.contiguous_format)
    plain = pixels.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
    return plain.div_(127.5).sub_(1) if pixels.dtype == torch.uint8 else plain.clamp_(0, 1).mul_(2).sub_(1)


def described(domain: Domain) -> str:
    """The preparation in words for people; nothing where a file is taken as it is."""
    made, told = domain.preparation, []
    if made.size is not None:
        how = "keeping its proportions, so as to cover" if made.cover else "to"
        told.append(f"a file is scaled {how} {made.size[1]} x {made.size[0]}")
    if domain.kind == "image":
        told += [f"transparency is {'dropped' if made.alpha == 'drop' else 'laid on black'}"] if made.alpha != "white" else []
        told += [f"the values {made.range[0]:g} and {made.range[1]:g} become -1 and 1"] if made.range is not None else []
    elif made.colored:
        told.append("a file holds the classes' colours")
    else:
        told += [f"the number v in a file is the class v {made.offset:+d}"] if made.offset else []
        told += ["in a file, " + ", ".join(f"{v} is the class {i}" for v, i in made.values)] if made.values else []
    return "; ".join(told)


def check_preparation(domain: Domain) -> None:
    """What a stranger's config.json says of a domain's preparation, once its types are right.

    Raises:
        ValueError: a value is out of its bounds.
    """
    made = domain.preparation
    classes = [label for _, label in made.values] + ([] if made.unknown is None else [made.unknown])
    if any(not 0 <= label < domain.label_count for label in classes):
        raise ValueError(f"preparation names a class that is not one of the {domain.label_count} of '{domain.name}'")
    numbers = [made.offset, *(number for pair in made.values for number in pair), made.unknown or 0]
    if made.range is not None and not -inf < made.range[0] < made.range[1] < inf:
        raise ValueError("preparation.range must be two numbers in ascending order")
    if max(map(abs, numbers)) >= 2**31 or len(made.values) > 2**16:
        raise ValueError("preparation has too many values, or too large ones")
    if made.size is not None and not (min(made.size) >= 1 and made.size[0] * made.size[1] <= MAX_PIXELS):
        raise ValueError(f"preparation.size must lie within {MAX_PIXELS} pixels")
