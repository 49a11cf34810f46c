"""What the data sets of other libraries give, as the pictures of each domain."""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from i2i.errors import UserError, one_line

Key = str | int | None
"""Where in a row or a tuple a picture is; None if an item is the picture."""


@contextmanager
def seeded_libraries() -> Iterator[None]:
    """Within it, Python and NumPy draw from the seed of torch's default generator, which is the sample's own."""
    python, numpy, seed = random.getstate(), np.random.get_state(), torch.initial_seed()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def is_picture(value: object) -> bool:
    """Whether a part of a row or tuple is a picture; text may be a caption, and is none."""
    if isinstance(value, np.ndarray | Tensor):
        return value.ndim in (2, 3)
    if isinstance(value, Mapping):
        return {"bytes", "path"} == set(value)  # a picture of Hugging Face's, not decoded
    return isinstance(value, Image.Image | bytes | Path)


def keys_of(item: object) -> list[Key]:
    """Where the pictures in an item are: the names in a row, the places in a tuple."""
    if isinstance(item, str) or is_picture(item):
        return [None]
    if isinstance(item, Mapping):
        return [str(key) for key, value in item.items() if is_picture(value)]
    return [i for i, value in enumerate(item) if is_picture(value)] if isinstance(item, tuple | list) else []


def item_of(data: Any, index: int) -> Any:
    """An item, with the random numbers that belong to it."""
    with seeded_libraries():
        return data[index]


def first_item(data: Any, what: str) -> Any:
    """The first item of what should be a sequence.

    Raises:
        UserError: it is not one, it is empty, or it fails.
    """
    if isinstance(data, torch.utils.data.DataLoader):
        raise UserError(f"{what}: this is a DataLoader. Give its data set (.dataset): i2i makes the batches.")
    if isinstance(data, Mapping):
        parts = ", ".join(map(str, list(data)[:5]))
        raise UserError(f"{what}: this holds several data sets or columns ({parts}). Give one data set, such as data['train'].")
    if not (hasattr(data, "__len__") and hasattr(data, "__getitem__")) or isinstance(data, type):
        raise UserError(
            f"{what}: {described(data)} is not data. Give a folder, a list of pictures, or a data set with __len__ and "
            "__getitem__."
        )
    if len(data) == 0:
        raise UserError(f"{what}: it is empty.")
    try:
        return item_of(data, 0)
    except Exception as error:
        raise UserError(f"{what}: its item 0 cannot be read ({type(error).__name__}: {one_line(error)}).") from error


def described(value: object) -> str:
    """An object in a word or two: "the class Net", "an object of type int", "a float32 tensor of (3, 8, 8)"."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, Tensor | np.ndarray):
        dtype = str(value.dtype).removeprefix("torch.")
        return f"{'an' if dtype[0] == 'i' else 'a'} {dtype} {type(value).__name__.lower()} of {tuple(value.shape)}"
    return f"an object of type {type(value).__name__}"


class Reader:
    """Reads the items of a data set of pairs once for both sides, so that what is random in them is the same."""

    def __init__(self, data: Any, keys: Sequence[Key]) -> None:
        self.data, self.keys = data, list(keys)
        self.kept: dict[tuple[int, Key], Any] = {}

    def picture(self, index: int, key: Key) -> Any:
        """The picture under a key; only a later key's is taken from the item that was read last."""
        if key == self.keys[0] or (index, key) not in self.kept:
            item = item_of(self.data, index)
            self.kept = {(index, one): _part(item, one, index) for one in self.keys}
        return self.kept.pop((index, key))


class Pictures(Sequence[Any]):
    """The pictures of one domain."""

    def __init__(self, reader: Reader, key: Key) -> None:
        self.reader, self.key = reader, key

    def __len__(self) -> int:
        return len(self.reader.data)

    def __getitem__(self, index: Any) -> Any:
        found = self.reader.picture(index, self.key)
        return (found["bytes"] or Path(found["path"])) if isinstance(found, Mapping) else found


def one_side(data: Any, what: str) -> Sequence[Any]:
    """The pictures of a list or data set of one domain: of a row or tuple its only one, or that called ``image``.

    Raises:
        UserError: it has no pictures, or several in an item.
    """
    if isinstance(data, list | tuple) and data and keys_of(data[0]) == [None]:
        return data
    item = first_item(data, what)
    keys = keys_of(item)
    chosen = [key for key in keys if key == "image"] or keys
    if not chosen:
        raise UserError(f"{what}: its item 0 holds no picture: it is {_inside(item)}.")
    if len(chosen) > 1 and isinstance(item, Mapping):
        raise UserError(f"{what}: its rows hold several pictures ({', '.join(map(str, keys))}). Keep one column.")
    return Pictures(Reader(data, chosen[:1]), chosen[0])


def every_side(data: Any, what: str) -> dict[str, Sequence[Any]]:
    """The pictures of each domain of a data set whose items hold several: by the names in a row, or a, b … of a tuple.

    Raises:
        UserError: an item holds only one.
    """
    item = first_item(data, what)
    keys = keys_of(item)
    if len(keys) < 2:
        raise UserError(
            f"{what}: its items hold {'one picture' if keys else 'no picture'}: item 0 is {_inside(item)}. Give two data sets "
            "or lists, one for each domain, or one whose items are pairs (a, b)."
        )
    reader = Reader(data, keys)
    names = keys if isinstance(item, Mapping) else [chr(ord("a") + i) for i in range(len(keys))]
    return {str(name): Pictures(reader, key) for name, key in zip(names, keys, strict=True)}


def _part(item: Any, key: Key, index: int) -> Any:
    try:
        return item if key is None else item[key]
    except (KeyError, IndexError, TypeError) as error:
        raise UserError(f"item {index} of the data set holds nothing under {key!r}: it is {_inside(item)}.") from error


def _inside(item: object) -> str:
    if isinstance(item, Mapping):
        return f"a row with {', '.join(f'{key} ({type(value).__name__})' for key, value in item.items())}"
    if isinstance(item, tuple | list):
        return f"a {type(item).__name__} of {', '.join(type(value).__name__ for value in item) or 'nothing'}"
    return described(item)
