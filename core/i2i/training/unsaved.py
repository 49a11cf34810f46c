"""The model of a run as it is now, translating as ``i2i translate`` would if it were saved now."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from accelerate.utils import broadcast
from torch import nn

from i2i.randomness import undrawn
from i2i.recipe.at_use import generators_of, in_use
from i2i.training.state import Run
from i2i.translation.translator import Translator


@contextmanager
def as_saved(run: Run, everyone: bool = False) -> Iterator[Translator]:
    """A translator of the run's model; afterwards the network is as it was, and so are the random numbers.

    Within, it is in evaluation mode and computes in float32 and without torch.compile, which draws random numbers of its own,
    however it trains. With *everyone*, where all processes enter, each has the running statistics of the first one, which are
    those that are saved.
    """
    network = run.model
    config = {"extra": {"ema": run.recipe.train.ema}}
    directions = run.parts.needs.directions
    use = in_use(generators_of(run.recipe.components("generator"), run.registry))
    modes = [(module, module.training) for module in network.modules()]
    eager = torch.compiler.set_stance("force_eager") if run.recipe.train.compile else nullcontext()
    with undrawn(), eager, _in_float32(network), _buffers_of_the_first(network, everyone and run.accelerator.num_processes > 1):
        try:
            yield Translator(network, run.parts.domains, directions, config, run.accelerator.device, run.registry, use=use)
        finally:
            for module, mode in modes:
                module.training = mode


@contextmanager
def _in_float32(network: nn.Module) -> Iterator[None]:
    """Within it, ``forward`` is the network's own and not the one by which Accelerate lets it compute in 16 bits."""
    own = vars(network)
    autocast = own.get("forward")
    if "_original_forward" in own:
        own["forward"] = own["_original_forward"]
    try:
        yield
    finally:
        if "_original_forward" in own:
            own["forward"] = autocast


@contextmanager
def _buffers_of_the_first(network: nn.Module, several: bool) -> Iterator[None]:
    """Within it, the buffers of every process are those of the first one."""
    buffers = list(network.buffers()) if several else []
    mine = [buffer.clone() for buffer in buffers]
    for buffer in buffers:
        broadcast(buffer)  # in place
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, before in zip(buffers, mine, strict=True):
                buffer.copy_(before)
