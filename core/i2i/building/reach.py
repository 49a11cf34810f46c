"""Parts of a network that get no gradient: optional parts are left out, others never learn.

A network, or a part of it, names optional parts in an attribute ``parts``: ``{"style": ("encoder", "mapping")}``. The key is
the keyword or the extra that they are needed for. Parts that are left out are None from then on.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

from torch import nn


def optional(network: nn.Module) -> list[tuple[str, str]]:
    """The names of optional parts, each with what it is needed for."""
    told = [(place, getattr(module, "parts", None)) for place, module in network.named_modules()]
    given = [(place, parts) for place, parts in told if isinstance(parts, Mapping)]
    return [(f"{place}.{name}".lstrip("."), use) for place, parts in given for use, names in parts.items() for name in names]


def unreached(network: nn.Module, reached: Collection[nn.Parameter], needed: Collection[str]) -> tuple[list[str], str | None]:
    """Of what would train and is not *reached*: the optional parts that are not *needed*, and the first other part, if any."""
    trains = {f"{name}.": p in reached for name, p in network.named_parameters() if p.requires_grad}

    def idle(part: str) -> bool:
        found = [there for name, there in trains.items() if name.startswith(part)]
        return bool(found) and not any(found)

    kept = {part for part, use in optional(network) if use in needed}
    left = list(dict.fromkeys(part for part, _ in optional(network) if part not in kept and idle(f"{part}.")))
    gone = tuple(f"{part}." for part in left)
    first = next((name for name, there in trains.items() if not there and not name.startswith(gone)), "")
    outer = ["", *(first[: dot.end()] for dot in re.finditer(r"\.", first))] if first else []
    return left, next((part[:-1] for part in outer if idle(part)), None)


def leave_out(network: nn.Module, parts: Collection[Any]) -> nn.Module:
    """A network without these optional parts, and without what they are needed for in what it accepts and exposes."""
    for part, use in optional(network):
        if part in parts:
            path = part.split(".")
            above: list[Any] = [network.get_submodule(".".join(path[:i])) for i in range(len(path))]
            setattr(above[-1], path[-1], None)
            for module in above:
                belongs = (f"{use}_",) if use in getattr(module, "accepts", ()) else ()
                for offer in ("accepts", "exposes", "pictures"):
                    if offered := getattr(module, offer, ()):
                        setattr(module, offer, type(offered)(o for o in offered if o != use and not o.startswith(belongs)))
    return network


def left_out(network: nn.Module) -> list[str]:
    """The optional parts that a network names but does not have."""
    there = {name for names in (network.named_modules(), network.named_parameters()) for name, _ in names}
    return list(dict.fromkeys(part for part, _ in optional(network) if part not in there))
