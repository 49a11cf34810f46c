"""Random numbers that leave no trace: what is drawn within is repeatable, and nobody outside notices."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Within it torch's default generators start from *seed*; afterwards they go on as if nothing had been drawn."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    devices = list(range(torch.accelerator.device_count())) if accelerator is not None else []
    with torch.random.fork_rng(devices, device_type=accelerator.type if accelerator is not None else "cuda"):
        torch.manual_seed(seed)
        yield
