"""What tests of architectures share: random batches, gradients, and how often a network is called."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i.protocols import Domain


def random_batch(domains: Mapping[str, Domain], size: int = 16) -> dict[str, Tensor]:
    """Two random images of each domain, (2, C, size, size): uniform in [-1, 1], labels one-hot."""
    images = {k: torch.rand(2, d.channels, size, size) * 2 - 1 for k, d in domains.items()}
    for key, domain in domains.items():
        if domain.kind == "labels":
            ids = torch.randint(domain.channels, (2, size, size))
            images[key] = F.one_hot(ids, domain.channels).permute(0, 3, 1, 2).float()
    return images


def all_learn(parameters: Iterable[nn.Parameter]) -> bool:
    """Whether every parameter has a finite gradient."""
    return all(p.grad is not None and bool(p.grad.isfinite().all()) for p in parameters)


class Counted:
    """A bare callable that counts the calls of a network by the keys that they name."""

    def __init__(self, network: nn.Module) -> None:
        self.network, self.calls = network, Counter[str]()

    def __call__(self, x: Tensor, *rest: Any) -> Any:
        self.calls["".join(part for part in rest if isinstance(part, str))] += 1
        return self.network(x, *rest)
