"""State-dict names: the published program's and ours. Only names change; a tensor means the same in both.

Published, for each domain k: generators ``enc.model.…`` and ``dec.model.…``, discriminators ``cnns.…``.
Ours, in one network: ``vaes.k.enc.model.…``, ``judges.k.cnns.…``.
"""

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from i2i.published import bare, by_key

PREFIX = {"generator": "vaes", "discriminator": "judges"}
STALE = ("running_mean", "running_var", "num_batches_tracked")
Network = Literal["generator", "discriminator"]


def from_published(states: Mapping[str, Mapping[str, Tensor]], network: Network) -> dict[str, Tensor]:
    """``{"a": state dict, "b": state dict}``, as a published file holds it, to one state dict of ours.

    Prefixes left by wrappers are removed, and so are the running statistics that old versions stored for instance norm
    (in the generator, which has no batch norm).
    """
    ours = {}
    for key, state in states.items():
        for name, tensor in state.items():
            if network == "generator" and name.endswith(STALE):
                continue
            ours[f"{PREFIX[network]}.{key}.{bare(name)}"] = tensor
    return ours


def to_published(state: Mapping[str, Tensor], network: Network) -> dict[str, dict[str, Tensor]]:
    """The inverse: one state dict of ours to one for each domain key."""
    return by_key(state)
