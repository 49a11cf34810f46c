"""State-dict names: the published program's and ours. Only names change; a tensor means the same in both.

Published: one file for each generator (G_A translates a → b, G_B b → a). Ours, in one network: ``networks.a_b.…``. The
published indices count padding and activation layers too; a dropout moves those that follow it in a residual block.
"""

from collections.abc import Mapping

from torch import Tensor

from i2i.published import by_key, convolutions_in, renamed, stripped, without_stale_statistics


def from_published(states: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """``{"a_b": state dict, "b_a": state dict}``, as published files hold them, to one state dict of ours.

    Prefixes left by wrappers are removed, and so are the running statistics that old versions stored for instance norm.
    Whether there is dropout can be read from the names.

    Raises:
        UserError: a name does not belong to such a network.
    """
    ours: dict[str, Tensor] = {}
    for key, state in states.items():
        known = without_stale_statistics(stripped(state))
        dropout = any(name.endswith("conv_block.6.weight") and tensor.ndim == 4 for name, tensor in known.items())
        blocks = sum(name.endswith("conv_block.1.weight") for name in known)
        table = {theirs: mine for mine, theirs in _table(blocks, _downs(known, blocks), dropout).items()}
        ours |= {f"networks.{key}.{name}": tensor for name, tensor in renamed(known, table, "resnet").items()}
    return ours


def to_published(state: Mapping[str, Tensor], *, dropout: bool = False) -> dict[str, dict[str, Tensor]]:
    """The inverse: one state dict of ours to one for each direction. *dropout* is the network's option."""
    published = {}
    for key, part in by_key(state).items():
        blocks = sum(name.endswith("first.conv.weight") for name in part)
        published[key] = renamed(part, _table(blocks, _downs(part, blocks), dropout), "resnet")
    return published


def _downs(state: Mapping[str, Tensor], blocks: int) -> int:
    """All convolutions are the first, the last, two for each block, one down and one up for each halving."""
    return (convolutions_in(state) - 2 - 2 * blocks) // 2


def _table(blocks: int, downs: int, dropout: bool) -> dict[str, str]:
    """Our module names and the published ones."""
    first, second = 4 + 3 * downs, 4 + 3 * downs + blocks  # indices of the first block and of the first doubling
    table = {"stem.conv": "model.1", "stem.norm": "model.2", "last": f"model.{second + 3 * downs + 1}"}
    for i in range(downs):
        for side, index in (("down", 4 + 3 * i), ("up", second + 3 * i)):
            table |= {f"{side}.{i}.conv": f"model.{index}", f"{side}.{i}.norm": f"model.{index + 1}"}
    for i in range(blocks):
        for half, index in (("first", 1), ("second", 6 if dropout else 5)):
            block = f"model.{first + i}.conv_block"
            table |= {f"blocks.{i}.{half}.conv": f"{block}.{index}", f"blocks.{i}.{half}.norm": f"{block}.{index + 1}"}
    return table
