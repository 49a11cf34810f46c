"""A request's body as files and values: a form, or a picture as it is. Nothing is written to disk."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, FormParser, parse_options_header

from i2i.errors import UserError, nearest, one_line
from i2i.pictures.sources import Blob
from i2i_serve.refusals import RefusalError
from i2i_serve.service import Asked

FILES = ("image", "style", "style2")
VALUES = ("model", "direction", "to", "source", "seed", "mix", "own_size")
PARTS = 32
LONGEST = 1000
"""The most parts of a form, and characters of a value."""

_FORM, _URLENCODED = "multipart/form-data", "application/x-www-form-urlencoded"
_RAW = ("", "application/octet-stream", _URLENCODED)
"""Types of a body that is a picture; the last is what curl says if nobody tells it otherwise."""
_NO = ("", "0", "false", "no", "off")
_YES = ("1", "true", "yes", "on")


@dataclass(frozen=True)
class Form:
    """The files and the other values of a request."""

    files: dict[str, Blob] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)


def check_type(content_type: str) -> None:
    """Refuse a body that is neither a form nor a picture, before it is read.

    Raises:
        RefusalError: it is of another type.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind != _FORM and kind not in _RAW and not kind.startswith("image/"):
        told = (
            f"bodies of the type {one_line(kind, 100)} are not read. Send a form with the file 'image', or the picture itself."
        )
        raise RefusalError(415, "type", told)


def asked_of(body: bytes, content_type: str, query: Mapping[str, str]) -> tuple[Asked, str | None]:
    """What a request asks for, and of which model. The form's values come before those in the address.

    Raises:
        UserError: the form cannot be read, or has unknown or wrong values.
    """
    kind = content_type.partition(";")[0].strip().lower()
    form = _parts(body, content_type) if kind == _FORM else Form({"image": Blob(body, "the picture")} if body else {})
    values = {**query, **form.values}
    for name in values:
        if name in FILES:
            raise UserError(f"{name}: this is text, not a file. Send the picture's bytes: curl -F {name}=@picture.png")
        if name not in VALUES:
            raise UserError(f"{one_line(name, 100)}: there is no such field.{nearest(name, [*FILES, *VALUES])} Leave it out.")
    for name, value in values.items():
        if len(value) > LONGEST:
            raise UserError(f"{name}: the value has more than {LONGEST} characters. Give a shorter one.")
    if "style2" in form.files and "style" not in form.files:
        raise UserError("style2: there is no first style to mix it with. Send the file 'style' too.")
    styles = [form.files[name] for name in FILES[1:] if name in form.files]
    given: dict[str, Any] = {name: values[name] for name in ("direction", "to", "source", "mix") if values.get(name)}
    asked = Asked(form.files.get("image"), styles=styles, own_size=_flag(values.get("own_size", "")), **given)
    return (asked if not values.get("seed") else Asked(**{**vars(asked), "seed": values["seed"]})), values.get("model") or None


def _flag(word: str) -> bool:
    if word.lower() not in (*_YES, *_NO):
        raise UserError(f"own_size: '{word}' is neither true nor false.")
    return word.lower() in _YES


def _parts(body: bytes, content_type: str) -> Form:
    form, ended = Form(), []

    def count(name: str) -> str:
        if name in form.files or name in form.values:
            raise UserError(f"{one_line(name, 100)}: the form has it twice. Send it once.")
        if len(form.files) + len(form.values) >= PARTS:
            raise UserError(f"the form has more than {PARTS} parts. Send only the fields that i2i names.")
        return name

    def on_field(given: Field) -> None:
        form.values[count(_text(given.field_name))] = _text(given.value)

    def on_file(given: File) -> None:
        name = count(_text(given.field_name))
        if name not in FILES:
            raise UserError(f"{one_line(name, 100)}: there is no such file.{nearest(name, FILES)} Leave it out.")
        form.files[name] = Blob(given.file_object.getvalue(), _name(_text(given.file_name)))  # type: ignore[union-attr]

    boundary = parse_options_header(content_type)[1].get(b"boundary")
    try:
        keep = {"MAX_MEMORY_FILE_SIZE": float("inf")}
        parser = FormParser(_FORM, on_field, on_file, lambda: ended.append(True), boundary=boundary, config=keep)
        parser.write(body)
    except (FormParserError, UnicodeError, AssertionError) as error:
        raise UserError(f"the form cannot be read ({one_line(error)}). Send it as browsers and curl -F do.") from error
    if not ended:
        raise UserError("the form breaks off before its end. Send it again.")
    return form


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="replace")


def _name(given: str) -> str:
    """What messages call a file: the last part of its name, as the client's folders are nobody's business."""
    return one_line(PurePosixPath(given.replace("\\", "/")).name or "the picture", 100)
