"""State-dict names: the published program's and ours. Only names change; a tensor means the same in both.

Published are three state dicts: ``netG``, ``netD`` and, with the VAE, ``netE``. Ours are the generator's, which holds the
encoder, and the discriminator's.
"""

import re
from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from i2i.protocols import Direction
from i2i.published import bare

Network = Literal["generator", "discriminator"]
BLOCKS = ("head_0", "G_middle_0", "G_middle_1", "up_0", "up_1", "up_2", "up_3", "up_4")
LAYERS = {"param_free_norm": "norm", "mlp_shared.0": "shared", "mlp_gamma": "gamma", "mlp_beta": "beta"}
OUTER = {"fc": "first", "conv_img": "last"}
STYLE = {"fc_mu": "mean", "fc_var": "logvar"}
PARTS = ("conv", "norm")


def from_published(
    states: Mapping[str, Mapping[str, Tensor]], network: Network, direction: Direction = ("a", "b")
) -> dict[str, Tensor]:
    """``{"netG": …, "netE": …}`` or ``{"netD": …}`` to one state dict of ours; prefixes left by wrappers are removed."""
    source, target = direction
    generator = f"networks.{source}_{target}"
    rename = {
        "netG": lambda name: f"{generator}.{_generator_name(name)}",
        "netE": lambda name: f"{generator}.encoder.{_encoder_name(name)}",
        "netD": lambda name: f"judges.{target}.{_discriminator_name(name)}",
    }
    wanted = ("netG", "netE") if network == "generator" else ("netD",)
    return {rename[net](bare(name)): t for net in wanted for name, t in states.get(net, {}).items()}


def to_published(
    state: Mapping[str, Tensor], network: Network, direction: Direction = ("a", "b")
) -> dict[str, dict[str, Tensor]]:
    """The inverse, for one direction of the state dict."""
    source, target = direction
    prefix = f"networks.{source}_{target}." if network == "generator" else f"judges.{target}."
    ours = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    published: dict[str, dict[str, Tensor]] = {}
    for name, tensor in ours.items():
        if network == "discriminator":
            published.setdefault("netD", {})[_published_discriminator(name, ours)] = tensor
        elif name.startswith("encoder."):
            published.setdefault("netE", {})[_published_encoder(name.removeprefix("encoder."))] = tensor
        else:
            published.setdefault("netG", {})[_published_generator(name)] = tensor
    return published


def _generator_name(name: str) -> str:
    first, rest = name.split(".", 1)
    if first in OUTER:
        return f"{OUTER[first]}.{rest}"
    for theirs, ours in LAYERS.items():
        rest = rest.replace(f".{theirs}.", f".{ours}.")
    return f"blocks.{BLOCKS.index(first)}.{rest}"


def _published_generator(name: str) -> str:
    first, rest = name.split(".", 1)
    for theirs, ours in OUTER.items():
        if first == ours:
            return f"{theirs}.{rest}"
    number, rest = rest.split(".", 1)
    for theirs, ours in LAYERS.items():
        rest = rest.replace(f".{ours}.", f".{theirs}.")
    return f"{BLOCKS[int(number)]}.{rest}"


def _encoder_name(name: str) -> str:
    first, rest = name.split(".", 1)
    if first in STYLE:
        return f"{STYLE[first]}.{rest}"
    part, leaf = rest.split(".")
    return f"layers.{int(first.removeprefix('layer')) - 1}.{PARTS[int(part)]}.{leaf}"


def _published_encoder(name: str) -> str:
    first, rest = name.split(".", 1)
    for theirs, ours in STYLE.items():
        if first == ours:
            return f"{theirs}.{rest}"
    number, part, leaf = rest.split(".")
    return f"layer{int(number) + 1}.{PARTS.index(part)}.{leaf}"


def _discriminator_name(name: str) -> str:
    """``discriminator_0.model1.0.0.weight_orig`` is the convolution of a layer with a norm; without one, a 0 is missing."""
    found = re.fullmatch(r"discriminator_(\d+)\.model(\d+)\.0(?:\.([01]))?\.(\w+)", name)
    if found is None:
        raise KeyError(f"not a name in a published SPADE discriminator: {name}")
    scale, layer, part, leaf = found.groups()
    return f"scales.{scale}.{layer}.{PARTS[int(part or 0)]}.{leaf}"


def _published_discriminator(name: str, state: Mapping[str, Tensor]) -> str:
    """A convolution has a bias exactly if no norm follows."""
    _, scale, layer, part, leaf = name.split(".")
    bare = f"scales.{scale}.{layer}.conv.bias" in state
    inner = "0" if bare else f"0.{PARTS.index(part)}"
    return f"discriminator_{scale}.model{layer}.{inner}.{leaf}"
