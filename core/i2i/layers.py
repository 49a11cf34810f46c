"""Layers and helpers that several architectures share."""

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
    """Instance normalisation without parameters or running statistics (Ulyanov et al. 2016); keeps the shape (B, C, H, W).

    Computed as a group norm with one group for each channel: the same function, several times faster on CPUs. On
    CPUs the input is made contiguous first, because channels_last costs precision and speed. ``eps`` is added to the
    variance; ``fast = False`` computes the textbook version.
    """

    fast = True

    def __init__(self, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        x = x.contiguous() if x.device.type == "cpu" else x
        return F.group_norm(x, x.shape[1], eps=self.eps) if self.fast else F.instance_norm(x, eps=self.eps)


def with_condition(image: Tensor, condition: Tensor | None) -> Tensor:
    """The input of a discriminator: the condition's channels followed by the image's, (B, C_condition + C, H, W)."""
    return image if condition is None else torch.cat([condition, image], dim=1)


def judged_channels(domains: Mapping[str, Domain], conditions: Mapping[str, Domain]) -> dict[str, int]:
    """The number of input channels for each judged domain: the image's, plus its condition's if it has one."""
    return {key: d.channels + (conditions[key].channels if key in conditions else 0) for key, d in domains.items()}


def check_sides(x: Tensor, divisor: int, smallest: int, who: str, remedy: str) -> None:
    """Refuse images (B, C, H, W) with sides that a network cannot take.

    Raises:
        UserError: a side is not a multiple of *divisor*, or is less than *smallest*. The message begins with *who* and ends
            with *remedy*.
    """
    H, W = x.shape[-2:]
    if H % divisor or W % divisor or min(H, W) < smallest:
        wanted = [f"multiples of {divisor}"] * (divisor > 1) + [f"at least {smallest}"] * (smallest > 1)
        sides = f"both sides must be {' and '.join(wanted)}"
        raise UserError(f"{who}: an image of {W}x{H} px (width x height) does not fit; {sides}. {remedy}")


def set_fast(networks: Iterable[nn.Module | None], fast: bool) -> None:
    """Switch every layer with a boolean attribute ``fast`` to its fast or its textbook version."""
    for module in (module for network in networks if network is not None for module in network.modules()):
        if isinstance(getattr(module, "fast", None), bool):
            vars(module)["fast"] = fast


def fold_norms(network: nn.Module) -> None:
    """Call ``fold`` of every part that has it: for inference only, a part may merge its norm into its convolution."""
    for part in list(network.modules()):
        if callable(fold := getattr(part, "fold", None)):
            fold()


def folded(conv: nn.Module, norm: nn.Module) -> tuple[nn.Module, nn.Module]:
    """A convolution and the batch norm after it, merged into one convolution if the norm has running statistics.

    In evaluation such a norm multiplies each channel by a constant and adds another, which the weight and bias can do too.
    """
    if not isinstance(conv, nn.Conv2d | nn.ConvTranspose2d) or conv.groups > 1 or "weight" not in dict(conv.named_parameters()):
        return conv, norm  # under spectral norm the weight is computed at each call
    if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None:
        return conv, norm
    return fuse_conv_bn_eval(conv.eval(), norm.eval(), transpose=isinstance(conv, nn.ConvTranspose2d)), nn.Identity()


def let_call_together(loss: nn.Module, networks: Iterable[nn.Module | None], allowed: bool) -> None:
    """Set the loss's ``together``, if it has one: whether it may put different images into one call of a network.

    It may if every image is treated separately: no network normalises over the batch, or has state besides its parameters
    that a call may change (running statistics, the vectors of spectral norm). With several losses in a recipe it is never
    allowed, because they share results call by call.
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
    """A context in which the network's parameters need no gradient; gradients still reach its input."""
    parameters = [] if network is None else [p for p in network.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
