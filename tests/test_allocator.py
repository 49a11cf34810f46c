"""Freed memory is used again instead of being taken from the system anew."""

import subprocess
import sys
from pathlib import Path

import pytest

from i2i import allocator

ALLOCATING = """
import resource
from i2i.allocator import keep_freed_memory

kept = {keep} and keep_freed_memory()
for _ in range(10):
    block = bytearray(b"1") * (64 * 2**20)
    del block
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def faults(keep: bool) -> tuple[bool, int]:
    said = subprocess.run([sys.executable, "-c", ALLOCATING.format(keep=keep)], capture_output=True, text=True, check=True)
    kept, count = said.stdout.split()
    return kept == "True", int(count)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's settings")
def test_a_block_that_was_freed_costs_no_new_pages() -> None:
    kept, count = faults(keep=True)
    if not kept:
        pytest.skip("this C library has no mallopt")
    pages = 64 * 2**20 // 4096
    assert count < 2 * pages  # once for the first of the ten blocks, and what Python itself takes
    if "[always]" not in Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text():  # huge pages hide the difference
        assert faults(keep=False)[1] > 4 * count


def test_elsewhere_it_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not allocator.keep_freed_memory()
