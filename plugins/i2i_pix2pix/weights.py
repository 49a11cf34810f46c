"""State-dict names: the published program's and ours. Only names change; a tensor means the same in both.

Published: one file for each network. Ours: ``networks.a_b.…`` for the generator of a → b, ``networks.b.…`` for the judge
of b.
"""

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from i2i.errors import UserError

WRAPPERS = ("module.", "_orig_mod.")
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
Network = Literal["unet", "patchgan", "pixel"]


def from_published(states: Mapping[str, Mapping[str, Tensor]], network: Network) -> dict[str, Tensor]:
    """``{"a_b": state dict}`` (generator) or ``{"b": state dict}`` (discriminator) to one state dict of ours.

    Prefixes left by wrappers are removed, and so are the running statistics that old versions stored for instance norm.

    Raises:
        UserError: a name does not belong to such a network.
    """
    ours: dict[str, Tensor] = {}
    for key, state in states.items():
        bare = {_bare(name): tensor for name, tensor in state.items()}
        bare = {name: tensor for name, tensor in bare.items() if not _is_stale(name, bare)}
        table = {theirs: mine for mine, theirs in _table(network, bare).items()}
        ours |= {f"networks.{key}.{name}": tensor for name, tensor in _renamed(bare, table, network).items()}
    return ours


def to_published(state: Mapping[str, Tensor], network: Network) -> dict[str, dict[str, Tensor]]:
    """The inverse: one state dict of ours to one for each key."""
    split: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        _, key, bare = name.split(".", 2)
        split.setdefault(key, {})[bare] = tensor
    return {key: _renamed(part, _table(network, part), network) for key, part in split.items()}


def _table(network: Network, state: Mapping[str, Tensor]) -> dict[str, str]:
    """Our module names and the published ones, for a network with as many convolutions as *state* has."""
    convolutions = sum(tensor.ndim == 4 for tensor in state.values())
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


def _renamed(state: Mapping[str, Tensor], table: Mapping[str, str], network: str) -> dict[str, Tensor]:
    renamed = {}
    for name, tensor in state.items():
        module, _, leaf = name.rpartition(".")
        if module not in table:
            raise UserError(f"'{name}' is no name in a '{network}' of this depth: the weights belong to another network")
        renamed[f"{table[module]}.{leaf}"] = tensor
    return renamed


def _is_stale(name: str, state: Mapping[str, Tensor]) -> bool:
    """Whether it is a statistic of a norm without weights, which is an instance norm."""
    module, _, leaf = name.rpartition(".")
    return leaf in STATISTICS and f"{module}.weight" not in state


def _bare(name: str) -> str:
    while name.startswith(WRAPPERS):
        name = name.split(".", 1)[1]
    return name
