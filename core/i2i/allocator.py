"""Memory on Linux: a step or a picture frees hundreds of megabytes, and the next one needs as much again.

The C library gives large blocks back to the system at once. Taking them again costs a fault for each page of 4 KiB, up to a
fifth of a training step's time on CPUs (``benchmarks/training.py``, beside ``--same-memory``).
"""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Parameters of glibc's mallopt(3)."""


def keep_freed_memory() -> bool:
    """Keep what this process frees for its next use, until it ends; whether the C library took the setting.

    The process's memory then never shrinks. It changes the whole process, so commands that do one job ask for it, and
    libraries and servers do not.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return False
    return all(mallopt(parameter, value) == 1 for parameter, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1)))
