"""Layers that several architectures share."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from i2i.errors import UserError
from i2i.protocols import Domain, Verdict

Count = Annotated[int, Field(ge=1)]
"""A number of channels, layers or blocks: an option of a network."""


class InstanceNorm(nn.Module):
    """Instance normalisation without parameters or running statistics (Ulyanov et al. 2016), (B, C, H, W) to the same.

    Computed as a group norm with one group for each channel: the same function, several times faster on CPUs. There the
    input is made contiguous first, because channels_last costs precision and speed.
    """

    fast = True

    def __init__(self, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        x = x.contiguous() if x.device.type == "cpu" else x
        return F.group_norm(x, x.shape[1], eps=self.eps) if self.fast else F.instance_norm(x, eps=self.eps)


def with_condition(image: Tensor, condition: Tensor | None) -> Tensor:
    """The condition's channels and then the image's, (B, C_condition + C, H, W), as a discriminator sees them."""
    return image if condition is None else torch.cat([condition, image], dim=1)


def judged_channels(domains: Mapping[str, Domain], conditions: Mapping[str, Domain]) -> dict[str, int]:
    """The channels that a discriminator sees of each judged domain: the image's, and its condition's if it has one."""
    return {key: d.channels + (conditions[key].channels if key in conditions else 0) for key, d in domains.items()}


def check_sides(x: Tensor, divisor: int, smallest: int, who: str, remedy: str) -> None:
    """Refuse images (B, C, H, W) with sides that a network cannot take.

    Raises:
        UserError: a side is no multiple of *divisor* or less than *smallest*; *who* says so, and *remedy* what to do.
    """
    H, W = x.shape[-2:]
    if H % divisor or W % divisor or min(H, W) < smallest:
        wanted = [f"multiples of {divisor}"] * (divisor > 1) + [f"at least {smallest}"] * (smallest > 1)
        sides = f"both sides must be {' and '.join(wanted)}"
        raise UserError(f"{who}: an image of {W}x{H} px (width x height) does not fit; {sides}. {remedy}")


def set_fast(networks: Iterable[nn.Module | None], fast: bool) -> None:
    """Let every layer of the networks that has a boolean attribute ``fast`` take its faster way, or the textbook's."""
    for module in (module for network in networks if network is not None for module in network.modules()):
        if isinstance(getattr(module, "fast", None), bool):
            vars(module)["fast"] = fast


def fold_norms(network: nn.Module) -> None:
    """Let every part of the network that has a method ``fold`` put its norm into its convolution, for translation only."""
    for part in list(network.modules()):
        if callable(fold := getattr(part, "fold", None)):
            fold()


def folded(conv: nn.Module, norm: nn.Module) -> tuple[nn.Module, nn.Module]:
    """A convolution and the norm of its results as one convolution, if that is a batch norm with running statistics.

    In evaluation such a norm multiplies and adds constants for each channel, which the weight and the bias can do as well.
    """
    if not isinstance(conv, nn.Conv2d | nn.ConvTranspose2d) or conv.groups > 1 or "weight" not in dict(conv.named_parameters()):
        return conv, norm  # under spectral norm the weight is computed at each call
    if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None:
        return conv, norm
    return fuse_conv_bn_eval(conv.eval(), norm.eval(), transpose=isinstance(conv, nn.ConvTranspose2d)), nn.Identity()


def let_call_together(loss: nn.Module, networks: Iterable[nn.Module | None], allowed: bool) -> None:
    """Set the loss's ``together``, if it has one: whether it may put different images into one call of a network.

    It may where every image is treated as if it were alone: no network normalises over the batch or has a state beside its
    parameters, which a call may change (running statistics, the vectors of spectral norm). Several losses in one recipe
    never do, because they share what they ask for call by call.
    """
    if isinstance(getattr(loss, "together", None), bool):
        vars(loss)["together"] = allowed and not any(map(_remembers, filter(None, networks)))


def _remembers(network: nn.Module) -> bool:
    state = network.state_dict().keys() - dict(network.named_parameters(remove_duplicate=False)).keys()
    return bool(state) or any(isinstance(module, _BatchNorm) for module in network.modules())


def output_activation(domain: Domain) -> nn.Module:
    """The last activation of a generator: tanh into [-1, 1] for images, softmax over the channels for labels."""
    return nn.Softmax(dim=1) if domain.kind == "labels" else nn.Tanh()


def judged_at_scales(judges: Iterable[nn.Module], x: Tensor) -> Verdict:
    """The outputs of every layer of each judge; each sees x (B, C, H, W) at half the size of the one before."""
    verdict: list[list[Tensor]] = []
    for judge in judges:
        if verdict:
            x = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
        maps = [x]
        for layer in judge.children():
            maps.append(layer(maps[-1]))
        verdict.append(maps[1:])
    return verdict


@contextmanager
def frozen(network: nn.Module | None) -> Iterator[None]:
    """Within it, the network's parameters ask for no gradient; gradients still pass through it to its input."""
    parameters = [] if network is None else [p for p in network.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
