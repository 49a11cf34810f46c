"""What losses that stand beside pix2pix's add to the discriminator's step, which is 1 without them.

The operations are those of convolutions and matrix products. The time is the processor's, the shortest of some rounds that take
turns.

    python benchmarks/beside.py [--size N] [--batch N] [--width N] [--rounds N] [--threads N] [--json FILE]
"""

import time
from collections.abc import Mapping
from typing import Any

import torch
from machine import arguments, keep, machine_line
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from i2i.building.combined import Losses, joined
from i2i.building.nested import total
from i2i.protocols import Domain
from i2i.registry import default_registry

DOMAINS = {key: Domain(key, "image", 3) for key in ("a", "b")}
JUDGES: Mapping[str, Mapping[str, Any]] = {"patchgan": {"norm": "none"}, "timm": {"weights": "bundled"}}
BESIDE: Mapping[str, Mapping[str, Any]] = {
    "nothing": {},
    "penalty, exact, real": {"name": "penalty"},
    "penalty, exact, real and fake": {"name": "penalty", "at": ["real", "fake"]},
    "penalty, approximate, real": {"name": "penalty", "form": "approximate"},
    "penalty, approximate, real and fake": {"name": "penalty", "form": "approximate", "at": ["real", "fake"]},
    "penalty, approximate, mixed": {"name": "penalty", "form": "approximate", "at": "mixed"},
    "mismatch": {"name": "mismatch", "objective": "bce"},
}


class Operations(TorchDispatchMode):
    """Counts them. (torch's counter hooks into modules and cannot follow gradients of gradients.)"""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if (formula := flop_registry.get(func._overloadpacket)) is not None:
            self.count += int(formula(*args, **(kwargs or {}), out_val=made))
        return made


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("--size", type=int, default=64, help="height and width of the pictures (64)")
    parser.add_argument("--batch", type=int, default=2, help="pictures of a batch (2)")
    parser.add_argument("--width", type=int, default=32, help="channels of the discriminators (32)")
    parser.add_argument("--rounds", type=int, default=5, help="steps of each, of which the fastest counts (5)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (1)")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    console, found = Console(width=120), {}
    console.print(machine_line())
    table = Table("discriminator", "beside pix2pix", "operations", "time")
    for judge in JUDGES:
        found[judge] = figures = measured(judge, chosen)
        for name, (operations, seconds) in figures.items():
            table.add_row(judge, name, f"{operations:.2f}", f"{seconds:.2f}")
    console.print(table)
    keep(found, chosen.json)


def measured(name: str, chosen: Any) -> dict[str, tuple[float, float]]:
    """The operations and the time of a step with each loss, as shares of those without."""
    given = {"domains": {"b": DOMAINS["b"]}, "conditions": {"b": DOMAINS["a"]}, "width": chosen.width, **JUDGES[name]}
    judge = default_registry().get("discriminator", name).factory(**given)
    losses = {what: beside(options) for what, options in BESIDE.items()}
    pictures = {key: torch.rand(chosen.batch, 3, chosen.size, chosen.size) * 2 - 1 for key in (*DOMAINS, "fake_b")}

    def step(loss: Any) -> None:
        images = {"0": {"fake_b": pictures["fake_b"]}, "1": {}}
        total(loss.discriminator_terms(judge, {key: pictures[key] for key in DOMAINS}, images)).backward()

    for loss in losses.values():
        step(loss)  # a penalty tries things out in its first step
    counts, seconds = {}, dict.fromkeys(losses, float("inf"))
    for what, loss in losses.items():
        with Operations() as operations:
            step(loss)
        counts[what] = operations.count
    for _ in range(chosen.rounds):
        for what, loss in losses.items():
            before = time.process_time()
            step(loss)
            seconds[what] = min(seconds[what], time.process_time() - before)
    return {what: (counts[what] / counts["nothing"], seconds[what] / seconds["nothing"]) for what in losses}


def beside(options: Mapping[str, Any]) -> nn.Module:
    """pix2pix's loss with another one behind it."""
    registry, others = default_registry(), {key: value for key, value in options.items() if key != "name"}
    leading = registry.get("loss", "pix2pix").factory(domains=DOMAINS)
    if not options:
        return Losses([("pix2pix", leading)])
    needs = joined([("pix2pix", leading.needs)])
    return Losses(
        [("pix2pix", leading), ("", registry.get("loss", options["name"]).factory(domains=DOMAINS, beside=needs, **others))]
    )


if __name__ == "__main__":
    main()
