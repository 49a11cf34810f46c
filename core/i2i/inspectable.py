"""Data sets whose pictures can be inspected one by one, and by several threads at once."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar, runtime_checkable

from torch import Tensor

T = TypeVar("T")
R = TypeVar("R")


@runtime_checkable
class Inspectable(Protocol):
    """Optional methods of a data set with which its pictures can be inspected one by one.

    If it has the option ``corrupt``, the check sets this to ``keep``, and finds unreadable files by reading them.
    """

    notes: list[str]
    """Messages so far: files without a partner, files left out."""

    def inventory(self) -> Mapping[str, Sequence[str]]:
        """For each domain key the names of its pictures."""
        ...

    def raw(self, key: str, index: int) -> tuple[Tensor, tuple[str, ...]]:
        """One picture before the transforms, (C, H, W), and remarks on its file. Raises UserError naming the file."""
        ...

    def encoded(self, key: str, index: int) -> bytes:
        """One picture as the bytes of a picture file, or of a .npy file."""
        ...


def parallel(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """The results in order, computed by threads; decoding a picture releases Python's lock for the others."""
    pool = ThreadPoolExecutor(min(16, (os.cpu_count() or 1) + 2))
    try:
        yield from pool.map(work, items)
    finally:
        pool.shutdown(cancel_futures=True)
