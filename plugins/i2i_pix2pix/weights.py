"""State-dict names: the published program's and ours. Only names change; a tensor means the same in both.

Published: one file for each network. Ours: ``networks.a_b.…`` for the generator of a → b, ``networks.b.…`` for the judge
of b.
"""

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from i2i.published import by_key, convolutions_in, renamed, stripped, without_stale_statistics

Network = Literal["unet", "patchgan", "pixel"]


def from_published(states: Mapping[str, Mapping[str, Tensor]], network: Network) -> dict[str, Tensor]:
    """``{"a_b": state dict}`` (generator) or ``{"b": state dict}`` (discriminator) to one state dict of ours.

    Prefixes left by wrappers are removed, and so are the running statistics that old versions stored for instance norm.

    Raises:
        UserError: a name does not belong to such a network.
    """
    ours: dict[str, Tensor] = {}
    for key, state in states.items():
        known = without_stale_statistics(stripped(state))
        table = {theirs: mine for mine, theirs in _table(network, known).items()}
        ours |= {f"networks.{key}.{name}": tensor for name, tensor in renamed(known, table, network).items()}
    return ours


def to_published(state: Mapping[str, Tensor], network: Network) -> dict[str, dict[str, Tensor]]:
    """The inverse: one state dict of ours to one for each key."""
    return {key: renamed(part, _table(network, part), network) for key, part in by_key(state).items()}


def _table(network: Network, state: Mapping[str, Tensor]) -> dict[str, str]:
    """Our module names and the published ones, for a network with the number of convolutions in *state*."""
    convolutions = convolutions_in(state)
    if network == "unet":
        return _unet(convolutions // 2)
    prefix = "net" if network == "pixel" else "model"
    table = {"blocks.0.conv": f"{prefix}.0", "logits": f"{prefix}.{3 * convolutions - 4}"}
    for i in range(1, convolutions - 1):
        table |= {f"blocks.{i}.conv": f"{prefix}.{3 * i - 1}", f"blocks.{i}.norm": f"{prefix}.{3 * i}"}
    return table


def _unet(downs: int) -> dict[str, str]:
    """The published levels are nested: each is the entry 3 (the first: 1) of the one around it."""
    table = {"encoder.0.conv": "model.model.0", "decoder.0.conv": "model.model.3"}
    for i in range(1, downs):
        level = "model.model.1.model." + "3.model." * (i - 1)
        innermost = i == downs - 1
        indices = {"encoder": (1, 2), "decoder": (3, 4) if innermost else (5, 6)}
        for side, (conv, norm) in indices.items():
            table[f"{side}.{i}.conv"] = f"{level}{conv}"
            if side == "decoder" or not innermost:
                table[f"{side}.{i}.norm"] = f"{level}{norm}"
    return table
