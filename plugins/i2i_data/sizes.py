"""The size of a picture by its file's header."""

from collections.abc import Callable

from PIL import ExifTags
from torch import Tensor

from i2i.pictures.files import opened_picture
from i2i.pictures.sources import NPY, TIFF, Source, head_of

Size = tuple[int, int]
"""(height, width)."""


def size_of(source: Source, load: Callable[[], Tensor]) -> Size:
    """The (height, width) of a picture as it is read; only of arrays and TIFF are the pixels (…, H, W) loaded.

    Raises:
        UserError: it is missing, empty, no picture or too large.
    """
    if head_of(source).startswith((NPY, *TIFF)):
        height, width = load().shape[-2:]
        return height, width
    with opened_picture(source) as opened:
        # Only JPEGs have an orientation in practice, and asking a PNG for it would decode it.
        turned = opened.format in ("JPEG", "MPO") and opened.getexif().get(ExifTags.Base.Orientation) in range(5, 9)
        return (opened.width, opened.height) if turned else (opened.height, opened.width)
