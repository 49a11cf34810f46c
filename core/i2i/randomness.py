"""The random numbers of a process: saved, restored, and drawn without side effects."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def mix(*numbers: int) -> int:
    """A 64-bit seed from several non-negative numbers; similar numbers give unrelated seeds."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


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
