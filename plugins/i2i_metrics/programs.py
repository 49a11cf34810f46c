"""Opens a program of ``torch.export`` after checking everything in the file that would be unpickled or evaluated.

``torch.export.load`` unpickles what the archive asks it to, loads native libraries from it, evaluates its symbolic sizes as
Python text and falls back to an older form that unpickles more. Here a file is read once; torch's reader is asked what is in
it, and opens it if every pickle passes torch's restricted unpickler and the program calls operators and nothing else.
"""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export.pt2_archive import constants
from torch.export.pt2_archive._package import PT2ArchiveReader, load_pt2

from i2i.errors import UserError, one_line

_NATIVE = (constants.AOTINDUCTOR_DIR, constants.EXECUTORCH_DIR, constants.MTIA_DIR)
_OBJECTS = (constants.CUSTOM_OBJ_FILENAME_PREFIX, constants.OPAQUE_OBJ_FILENAME_PREFIX)
_PLAIN = (constants.EXTRA_DIR, ".data/", "byteorder", "archive_")
_ARITHMETIC = "abs|add|and_|eq|floordiv|ge|getitem|gt|le|lshift|lt|mod|mul|ne|neg|not_|or_|pos|pow|rshift|sub|truediv"
_OPERATOR = re.compile(
    r"torch\.ops\.(aten|prims|higher_order|quantized_decomposed|torchvision)\.(?!from_file)\w+(\.\w+)?"
    rf"|torch\._?sym_\w+|_operator\.({_ARITHMETIC})|math\.(ceil|floor|trunc)"
)
_QUOTED = re.compile(r"'\w{1,40}'")
_WORD = re.compile(
    r"[A-Z]\w*|[a-z]+\d+|positive|nonnegative|negative|nonzero|integer|real|finite|oo|int_oo|floor|ceiling|e|\d\w*"
)


def opened(path: Path) -> nn.Module:
    """The program in a file ``.pt2``, as a module.

    Raises:
        UserError: it is not a program, or it has code in a pickle, native code, or objects other than tensors.
    """
    content = io.BytesIO(path.read_bytes())
    try:
        _check(PT2ArchiveReader(content))
        content.seek(0)
        program = load_pt2(content).exported_programs["model"]
        return program.module(check_guards=False)  # guards are Python text, which would be executed
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except Exception as error:  # any problem that torch finds in a file
        reason = one_line(error)
        raise UserError(
            f"{path}: this is not an exported program that torch can open ({type(error).__name__}: {reason})."
        ) from error


def _check(archive: PT2ArchiveReader) -> None:
    names = archive.get_file_names()
    raw, pickled = set[str](), set[str]()
    for name in names:
        if name.startswith(_NATIVE) or Path(name).name.startswith(_OBJECTS):
            raise UserError(f"'{name}' is native code or an object other than a tensor, and is not opened.")
        if name.startswith(constants.MODELS_DIR):
            _check_program(json.loads(archive.read_string(name)))
        elif name.endswith(".json") and not name.startswith(_PLAIN):
            for payload in json.loads(archive.read_string(name))["config"].values():
                (pickled if payload["use_pickle"] else raw).add(f"{name.rpartition('/')[0]}/{payload['path_name']}")
    for name in names:
        told = name.endswith(".json") or name.startswith((constants.MODELS_DIR, *_PLAIN))
        if name in pickled or not (told or name in raw):
            _check_pickle(name, archive.read_bytes(name))


def _check_pickle(name: str, content: bytes) -> None:
    if not content:
        return
    try:
        torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:
        reason = one_line(error)
        raise UserError(f"its part '{name}' holds more than tensors and was not executed ({reason}).") from error


def _check_program(program: Any) -> None:
    """Nodes call operators of torch and arithmetic; symbolic sizes are made of sympy's classes, numbers and symbols."""
    for part in _parts(program):
        called = [part["target"]] if {"target", "inputs", "outputs"} <= set(part) else []
        called += [part["as_operator"]] if "as_operator" in part else []
        for target in called:
            if not isinstance(target, str) or not _OPERATOR.fullmatch(target):
                raise UserError(f"it calls {str(target)[:100]!r}, which is not an operator of torch.")
        if "expr_str" in part:
            words = re.findall(r"\w+", _QUOTED.sub("0", str(part["expr_str"])))
            if not all(_WORD.fullmatch(word) for word in words) or re.search(
                r"['\"\\:;\[\]{}]", _QUOTED.sub("0", part["expr_str"])
            ):
                raise UserError(f"its size {part['expr_str'][:100]!r} is not a formula.")


def _parts(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping within."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
