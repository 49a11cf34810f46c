"""Picture files: opening those of the formats on our list, in one place, and writing them whole or not at all."""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from i2i.errors import UserError
from i2i.files import new_file
from i2i.pictures.formats import FORMATS, READS, VIDEO, refused_format
from i2i.pictures.sources import Blob, Source, check_size, head_of, too_large

MAX_PIXELS = 2**26
"""The largest picture that is read unless the caller says otherwise: 67 million pixels, 8192 x 8192."""


def read_picture(source: str | Source, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Read one picture: upright (its EXIF orientation is applied), decoded, the first frame of an animation.

    The mode is the file's own; :func:`i2i.pictures.pixels.to_tensor` converts it. The size is checked before
    anything is decoded.

    Raises:
        UserError: there is no such file, or it is empty, corrupt, truncated, too large or not a picture.
    """
    with opened_picture(Path(source) if isinstance(source, str) else source, max_pixels) as opened:
        return upright(opened)


@contextmanager
def opened_picture(
    source: Source, max_pixels: int = MAX_PIXELS, formats: Sequence[str] = FORMATS
) -> Iterator[ImageFile.ImageFile]:
    """A picture file that is open and not decoded yet. No other place opens one.

    The content decides what format it is, whatever its name is, and only *formats* are opened: some of the others Pillow would
    hand to another program, as an EPS to Ghostscript. The size is checked. What goes wrong while the picture is open is said
    of the file.

    Raises:
        UserError: the file is missing, empty, corrupt, truncated, too large, no picture or of another format.
    """
    if isinstance(source, Path):
        _check_file(source)
    elif not source.data:
        raise UserError(f"{source}: it is empty (0 bytes). Give a picture.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata, and on sizes that are checked here
        try:
            file = io.BytesIO(source.data) if isinstance(source, Blob) else source
            with Image.open(file, formats=list(formats)) as opened:
                check_size(source, opened.width, opened.height, max_pixels)
                assert isinstance(opened, ImageFile.ImageFile)
                yield opened
        except UserError:
            raise
        except UnidentifiedImageError as error:
            form = refused_format(head_of(source, 512))
            told = "not a picture of a known format. Give a PNG, JPEG or the like."
            raise UserError(f"{source}: {told if form is None else _not_on_the_list(form)}") from error
        except Image.DecompressionBombError as error:
            pixels = re.search(r"\d+", str(error))
            raise too_large(source, f"{pixels[0] if pixels else 'too many'} pixels", max_pixels) from error
        except PermissionError as error:
            raise UserError(f"{source}: no permission to read it. Change its permissions, or give another file.") from error
        except Exception as error:  # Pillow's decoders raise nearly everything on a broken file
            reason = str(error) or type(error).__name__
            raise UserError(f"{source}: the picture is corrupt or truncated ({reason}). Replace the file.") from error


def _not_on_the_list(form: str) -> str:
    if form == VIDEO:
        return "this is a video, not a picture. Save its frames as PNG; `i2i translate` takes a video's path."
    return f"this is a picture in the format {form}; i2i reads {READS}. Convert it to PNG."


def check_format(picture: Image.Image, where: str = "the picture") -> None:
    """Refuse a picture that a caller has opened and not decoded yet, if its format is not on the list."""
    if getattr(picture, "tile", None) and picture.format not in (*FORMATS, "MPO"):
        raise UserError(f"{where}: {_not_on_the_list(str(picture.format))}")


def upright(picture: Image.Image) -> Image.Image:
    """A copy, decoded, with the EXIF orientation applied; where the EXIF data cannot be read, the picture as it is."""
    check_format(picture)
    picture.load()
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # EXIF data are often broken, and the pixels are fine
        return picture.copy()


def _check_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise UserError(f"{path}: this is a folder. Name the pictures in it, for instance {path / '*.png'}.")
        if not path.exists():
            raise UserError(f"{path}: there is no such file. Check the path.")
        if not path.is_file():
            raise UserError(f"{path}: this is not an ordinary file. Give a picture file.")
        if path.stat().st_size == 0:
            raise UserError(f"{path}: the file is empty (0 bytes). Replace it with a picture.")
    except OSError as error:
        raise UserError(f"{path}: it cannot be read ({error.strerror}). Check the path and its permissions.") from error


def save_picture(picture: Image.Image, path: str | Path, **options: Any) -> None:
    """Write a picture in the format of the name's suffix; the file appears whole or not at all.

    ``options`` are those of the format's writer in Pillow.

    Raises:
        UserError: the suffix names no format, or the place cannot be written to.
    """
    path = Path(path)
    form = Image.registered_extensions().get(path.suffix.lower())
    if form not in Image.SAVE:
        raise UserError(f"{path}: pictures cannot be written as '{path.suffix}'. Use .png.")
    try:
        with new_file(path) as partial, partial.open("wb") as file:
            picture.save(file, form, **options)
    except OSError as error:
        raise UserError(f"{path}: the picture cannot be written ({error.strerror or error}).") from error
