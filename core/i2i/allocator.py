"""Memory on Linux: a step or a picture frees hundreds of megabytes, and the next one needs the same amount again.

The C library returns large blocks to the system at once. Getting them back costs a page fault for every 4 KiB, up to a fifth of
the time of a training step on CPUs (``benchmarks/training.py``; compare ``--same-memory``).
"""

import ctypes
import sys
from collections.abc import Callable

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Parameters of glibc's mallopt(3)."""


def return_freed_memory() -> None:
    """Give freed memory back to the system, whatever :func:`keep_freed_memory` has set: before work that needs other sizes.

    It takes some milliseconds for each gigabyte.
    """
    if (trim := _of_the_c_library("malloc_trim")) is not None:
        trim(0)


def keep_freed_memory() -> bool:
    """Keep the memory that this process frees until it ends; returns whether the C library accepted the setting.

    The memory of the process then never shrinks. The setting affects the whole process, so it is for commands that do one
    job, not for libraries and servers.
    """
    mallopt = _of_the_c_library("mallopt")
    if mallopt is None:
        return False
    return all(mallopt(parameter, value) == 1 for parameter, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1)))


def _of_the_c_library(name: str) -> Callable[..., int] | None:
    """A function of glibc; musl and other systems have none of that name."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None
