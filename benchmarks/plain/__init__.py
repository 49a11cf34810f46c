"""One training step of each architecture in plain torch, as the papers' programs do it: the baseline for our speed.

It uses textbook layers, one call for each use of a network, and an optimizer that updates the parameters one by one. The names
in the state dicts are those of our networks, so that both can start from the same weights. Nothing here imports i2i.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

Terms = dict[str, Tensor]


def adam(parameters: Iterable[nn.Parameter], lr: float, betas: tuple[float, float], decay: float = 0.0) -> torch.optim.Adam:
    """Adam as it was when the programs were written: parameter by parameter, operation by operation."""
    return torch.optim.Adam(parameters, lr=lr, betas=betas, weight_decay=decay, foreach=False, fused=False)


def nested(path: str, network: nn.Module) -> nn.Module:
    """The network under a dotted path of names: ``nested("a.b", net)`` has the parameters ``a.b.…``."""
    for name in reversed(path.split(".")):
        network = nn.ModuleDict({name: network})
    return network
