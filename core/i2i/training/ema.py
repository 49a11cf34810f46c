"""The exponential moving average of the generator's weights."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim.swa_utils import AveragedModel


class Ema:
    """Averages the parameters after every step; buffers (running statistics) are copied.

    Averaging weights steadies a GAN's output from step to step (Yazici et al. 2019, "The Unusual Effectiveness of
    Averaging in GAN Training"). ``decay`` in [0, 1): the share that the average keeps at each step. Until the average has
    seen 1 / (1 - decay) steps it is a plain mean, so that it is never held back by the initial weights.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.averaged = AveragedModel(network)
        self.averaged.requires_grad_(False).eval()
        self._settled = False

    def restore(self, state: dict[str, Any], network: nn.Module) -> None:
        """Continue with a saved average; if none was saved, begin with the network as it is."""
        self._settled = bool(state)  # before it was saved
        if state:
            self.averaged.load_state_dict(state)
        else:
            self.averaged.module.load_state_dict(network.state_dict())

    def update(self, network: nn.Module) -> None:
        """Take in the network's weights as they are after a step. torch's own way waits for the device at every step."""
        seen = int(self.averaged.n_averaged)  # on the CPU, as it is not moved
        own, theirs = ([*map(Tensor.detach, module.parameters())] for module in (self.averaged.module, network))
        with torch.no_grad():
            if seen:
                torch._foreach_lerp_(own, theirs, 1 - min(self.decay, seen / (seen + 1)))
            else:
                torch._foreach_copy_(own, theirs)
            for buffer, now in zip(self.averaged.module.buffers(), network.buffers(), strict=True):
                buffer.copy_(now)
        self.averaged.n_averaged += 1
        self._settled = False

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint: the average as :attr:`network` has it, from which a model is made as it is."""
        self._settle()
        return self.averaged.state_dict()

    @property
    def network(self) -> nn.Module:
        """The averaged network, in evaluation mode, its spectral norms estimated for the averaged weights."""
        module = self.averaged.module
        assert isinstance(module, nn.Module)
        self._settle()
        return module.eval()

    def _settle(self) -> None:
        if not self._settled:
            settle(self.averaged.module)
            self._settled = True


def settle(network: nn.Module, iterations: int = 15) -> None:
    """Let spectral norms follow weights that training did not set: copied vectors misjudge an average's largest value.

    Every reading in training mode is one power iteration (Miyato et al. 2018, algorithm 1): torch's parametrisations work
    that way, and so do layers that have a method ``settle``.
    """
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, parametrize.ParametrizationList):
                module.train()
                for _ in range(iterations):
                    module()
                module.eval()
            elif callable(own := getattr(module, "settle", None)):
                own(iterations)
