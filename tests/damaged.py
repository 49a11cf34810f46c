"""Good files, and what becomes of them by a seed: flipped bits, parts missing, repeated or of another file, odd values."""

import csv
import io
import json
import random
import tarfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import tifffile
import torch
from PIL import Image

from i2i_provenance.metadata import png_options

UNWANTED = "this"
"""A module that Python has and nothing imports: a name in a file must not import it."""

ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 2**31, 2**63, 2**64, 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf")),
    *("", "x", "a" * 5000, "\x00", "\x1b[2J", "../../etc/passwd", "/dev/zero", "\ud800", "é", "1e5", "os:system"),
    *(UNWANTED, f"{UNWANTED}:s", f"{UNWANTED}.s"),
    *([], {}, [[]], [1, 2], {"name": "x"}, {"a": {"b": []}}),
)
"""Values that are put in the place of others."""


def mutated(good: bytes, others: list[bytes], draw: random.Random, text: bool) -> bytes:
    """One to four changes of a good file."""
    data = bytearray(good)
    for _ in range(draw.choice((1, 1, 2, 4))):
        change = draw.choice(_CHANGES if not text else (*_CHANGES, _structure, _structure, _structure, _structure))
        data = bytearray(change(bytes(data), others, draw))
    return bytes(data[: 2**22])


def _flips(data: bytes, others: list[bytes], draw: random.Random) -> bytes:
    made = bytearray(data)
    for _ in range(draw.choice((1, 1, 3, 30))):
        if made:
            made[draw.randrange(len(made))] ^= 1 << draw.randrange(8)
    return bytes(made)


def _cut(data: bytes, others: list[bytes], draw: random.Random) -> bytes:
    at = draw.randrange(len(data) + 1)
    return data[:at] if draw.random() < 0.5 else data[:at] + data[min(len(data), at + draw.choice((1, 4, 100))) :]


def _splice(data: bytes, others: list[bytes], draw: random.Random) -> bytes:
    other = draw.choice(others)
    return data[: draw.randrange(len(data) + 1)] + other[draw.randrange(len(other) + 1) :]


def _number(data: bytes, others: list[bytes], draw: random.Random) -> bytes:
    """A whole number of 1 to 8 bytes is overwritten, mostly near the beginning, where headers are."""
    size = draw.choice((1, 2, 4, 8))
    if len(data) < size:
        return data
    at = draw.randrange(min(len(data) - size, 64) + 1) if draw.random() < 0.6 else draw.randrange(len(data) - size + 1)
    value = draw.choice((0, 1, 2 ** (8 * size) - 1, 2 ** (8 * size - 1), 2 ** (8 * size - 2), draw.randrange(256**size)))
    return data[:at] + value.to_bytes(size, draw.choice(("little", "big"))) + data[at + size :]


def _repeat(data: bytes, others: list[bytes], draw: random.Random) -> bytes:
    at = draw.randrange(len(data) + 1)
    return data[:at] + data[at : at + draw.choice((1, 16, 400))] * draw.choice((2, 50, 2000)) + data[at:]


def _structure(data: bytes, others: list[bytes], draw: random.Random) -> bytes:
    """A value somewhere in JSON is replaced, removed, or put into lists; a recipe may be JSON as well."""
    try:
        top = json.loads(data)
    except (ValueError, RecursionError):
        return _flips(data, others, draw)
    every = list(places(top))
    if not every:
        return json.dumps(draw.choice(ODD)).encode("utf-8", "surrogatepass")
    holder, key = draw.choice(every)
    match draw.randrange(4):
        case 0:
            del holder[key]
        case 1:
            holder[key] = [holder[key]] * draw.choice((1, 2, 3000))
        case _:
            holder[key] = draw.choice(ODD)
    return json.dumps(top).encode("utf-8", "surrogatepass")


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Everything within JSON: its list or mapping, and its index or key there."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


_CHANGES = (_flips, _cut, _splice, _number, _number, _repeat)


def pictures() -> list[bytes]:
    """Small pictures of many formats, and arrays."""
    rng = np.random.default_rng(0)
    rgb = Image.fromarray(rng.integers(0, 256, (24, 20, 3), dtype=np.uint8))
    made = [_saved(rgb, form) for form in ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "TGA", "ICO", "AVIF")]
    made += [_saved(rgb.quantize(4), "PNG"), _saved(rgb.convert("RGBA"), "PNG"), _saved(rgb.convert("L"), "TIFF")]
    made += [_saved(rgb, "PNG", **png_options({"i2i": "0.1.0"})), _saved(rgb, "JPEG", exif=_turned())]
    for array in (rng.integers(0, 3, (20, 24)), rng.random((20, 24, 3)).astype(np.float32)):
        file = io.BytesIO()
        np.save(file, array)
        made.append(file.getvalue())
    for array in (rng.integers(0, 2**16, (20, 24, 3), dtype=np.uint16), rng.integers(0, 256, (3, 20, 24), dtype=np.uint8)):
        file = io.BytesIO()
        tifffile.imwrite(file, array, compression="zlib", photometric="rgb" if array.shape[2] == 3 else "minisblack")
        made.append(file.getvalue())
    return made


def maps() -> list[bytes]:
    """Label maps of four classes: palette and grey PNG, 16 bits, TIFF, and arrays with and without instances."""
    ids = np.random.default_rng(0).integers(0, 4, (20, 24), dtype=np.uint8)
    picture = Image.fromarray(ids)
    painted = picture.convert("P")
    painted.putpalette([0, 0, 0, 250, 0, 0, 0, 0, 250, 9, 9, 9])
    made = [_saved(picture, "PNG"), _saved(painted, "PNG"), _saved(Image.fromarray(ids.astype(np.uint16)), "PNG")]
    made.append(_saved(picture, "TIFF"))
    file = io.BytesIO()
    np.save(file, ids)
    return [*made, file.getvalue()]


def checkpoint() -> bytes:
    """A published checkpoint: a file of torch, which is a zip with a pickle."""
    file = io.BytesIO()
    torch.save({"model.1.weight": torch.zeros(4, 3, 7, 7), "model.1.bias": torch.zeros(4)}, file)
    return file.getvalue()


def tables() -> list[bytes]:
    """Parquet files with pairs of picture files: compressed, in one group of rows and in three, and with the index's mark."""
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as parquet  # type: ignore[import-untyped]

    cells = [{"bytes": picture, "path": None} for picture in pictures()[:3]]
    table = pa.table({"imageA": cells, "imageB": cells})
    made = []
    for options in ({}, {"compression": "none", "row_group_size": 1}, {"use_dictionary": False, "compression": "gzip"}):
        file = io.BytesIO()
        parquet.write_table(table, file, **options)
        made.append(file.getvalue())
    return made


def archives() -> list[bytes]:
    """Tar shards, as WebDataset has them: pictures, and members of the kinds that its readers decode."""
    made = []
    for form in (tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=form) as archive:
            for number, picture in enumerate(pictures()[:2]):
                members = {"a.png": picture, "b.png": picture, "json": b'{"x": 1}', "pth": checkpoint(), "npy": maps()[-1]}
                for end, data in members.items():
                    told = tarfile.TarInfo(f"{number:04d}.{end}")
                    told.size = len(data)
                    archive.addfile(told, io.BytesIO(data))
        made.append(file.getvalue())
    return made


def listed(picture: str) -> bytes:
    """A table of pairs as text."""
    text = io.StringIO()
    csv.writer(text).writerows([("imageA", "imageB"), *[(picture, picture)] * 3])
    return text.getvalue().encode()


def networks() -> list[bytes]:
    """ONNX models, which i2i writes and does not read."""
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 8, 8]) for name in ("image", "translation")]
    graph = helper.make_graph([helper.make_node("Tanh", ["image"], ["translation"])], "g", values[:1], values[1:])
    model = helper.make_model(graph)
    helper.set_model_props(model, {"i2i.inputs": "[]", "i2i.output": "{}"})
    return [bytes(model.SerializeToString())]


def _saved(picture: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif
