"""The random numbers of a process: saved, restored, and drawn without side effects."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch
from torch import Tensor


def mix(*numbers: int) -> int:
    """A 64-bit seed from several non-negative numbers; similar numbers give unrelated seeds."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


_PART: ContextVar[tuple[int, int, int, int]] = ContextVar("part", default=(0, 0, 0, 0))
"""Top, left, height and width, if a network sees only a part of a picture."""


@contextmanager
def part_of_a_picture(top: int, left: int, height: int, width: int) -> Iterator[None]:
    """A context for tiling code, in which ``noise_like`` returns the noise of the whole picture at the tile's position."""
    token = _PART.set((top, left, height, width))
    try:
        yield
    finally:
        _PART.reset(token)


def noise_like(x: Tensor) -> Tensor:
    """Standard normal noise with the shape, type, device and layout of x, for networks that draw noise for every pixel.

    Each number depends on its indices and on one number from torch's default generator, for any memory layout of x
    (``torch.randn_like`` returns different numbers for channels-last). Within a tile, maps (B, C, h, w) of its proportions get
    the noise of the whole picture at that position, so tiles fit together. It is about ten times slower than ``randn_like``.

    SplitMix64 (Steele et al. 2014) over the indices one after the other; the inverse error function of its highest bits.
    """
    top, left, height, width = _PART.get()
    first = [0] * x.ndim
    if x.ndim == 4 and height * x.shape[3] == width * x.shape[2] > 0:
        first = [0, 0, top * x.shape[2] // height, left * x.shape[3] // width]
    hashed = torch.randint(2**62, (), device=x.device)
    for start, size in zip(first, x.shape, strict=True):
        z = hashed[..., None] + torch.arange(start, start + size, device=x.device) * -0x61C8864680B583EB
        for shift, factor in ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15)):
            z = (z ^ ((z >> shift) & (2 ** (64 - shift) - 1))) * factor
        hashed = z ^ ((z >> 31) & (2**33 - 1))
    odd = 2 * ((hashed >> 40) & (2**23 - 1)) + 1
    return torch.empty_like(x).copy_(torch.erfinv(odd.float() * 2**-23 - 1) * 2**0.5)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """A context in which torch's default generators start from *seed*; afterwards they are as they were."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    devices = list(range(torch.accelerator.device_count())) if accelerator is not None else []
    with torch.random.fork_rng(devices, device_type=accelerator.type if accelerator is not None else "cuda"):
        torch.manual_seed(seed)
        yield


def drawing_state() -> tuple[Any, ...]:
    """Python's generator and torch's for the CPU and the accelerator: equal before and after code that draws nothing.

    All of them are on the host, so nothing waits for a device.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    states = [torch.get_rng_state(), *([torch.get_device_module(accelerator).get_rng_state()] if accelerator else [])]
    return (random.getstate(), *(state.numpy().tobytes() for state in states))


def random_state() -> dict[str, Any]:
    """The state of torch's default generators and of Python's."""
    version, numbers, gauss = random.getstate()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    python = {"version": version, "numbers": torch.tensor(numbers, dtype=torch.int64, device="cpu"), "gauss": gauss}
    return {"torch": torch.get_rng_state(), "cuda": cuda, "python": python}


def restore_random_state(state: dict[str, Any]) -> None:
    """Restore a state that ``random_state`` returned."""
    torch.set_rng_state(state["torch"].cpu())
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([one.cpu() for one in state["cuda"]])
    python = state["python"]
    random.setstate((python["version"], tuple(python["numbers"].tolist()), python["gauss"]))


@contextmanager
def undrawn() -> Iterator[None]:
    """A context after which the generators of ``random_state`` are in the same state as before."""
    before = random_state()
    try:
        yield
    finally:
        restore_random_state(before)
