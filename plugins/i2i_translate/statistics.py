"""Statistics over a whole image, where a network sees it in tiles.

Norms that look at the whole image differ from tile to tile. Here every such reduction over height and width (in instance,
group and layer norms, batch norms by their own statistics, means, variances and average pooling to one pixel) is
intercepted while a network runs. Statistics that are known replace the tile's own; at the first that is not known, the
tile's share of it is collected and the run ends. After one pass over all tiles that statistic is known, and the next pass
collects the next one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


class TileDoneError(Exception):
    """The tile's share of the next statistic has been collected."""


@dataclass(frozen=True)
class Moments:
    """Count of pixels, and mean and biased variance of each sample's channels, (B, C) float64 on the CPU."""

    count: int
    mean: Tensor
    variance: Tensor

    @classmethod
    def of(cls, x: Tensor) -> "Moments":
        """The moments of all pixels of x (B, C, H, W)."""
        variance, mean = torch.var_mean(x.detach().float(), dim=(2, 3), correction=0)
        return cls(x.shape[2] * x.shape[3], mean.cpu().double(), variance.cpu().double())

    def joined(self, other: "Moments") -> "Moments":
        """The moments of both sets of pixels together (Chan et al. 1979)."""
        count = self.count + other.count
        apart, share = other.mean - self.mean, other.count / count
        variance = self.variance * (1 - share) + other.variance * share + apart.square() * share * (1 - share)
        return Moments(count, self.mean + apart * share, variance)

    def over(self, *, groups: int | None = None, batch: bool = False) -> "Moments":
        """Pooled over the channels of each group and over the batch, given for every channel again, (B, C)."""
        b, c = self.mean.shape
        groups = c if groups is None else groups
        shape, dims = (b, groups, c // groups), (0, 2) if batch else (2,)
        mean = self.mean.view(shape).mean(dims, keepdim=True)
        square = (self.variance + self.mean.square()).view(shape).mean(dims, keepdim=True)
        both = [value.expand(shape).reshape(b, c) for value in (mean, (square - mean.square()).clamp_min(0))]
        return Moments(self.count * (c // groups) * (b if batch else 1), *both)


class Statistics(TorchFunctionMode):
    """A context in which reductions over height and width use the whole image's statistics.

    ``begin(core, size)`` comes before each run: *core* (top, bottom, left, right) is the part of a tile of *size*
    (height, width) whose pixels count. With ``frozen`` there are no tiles, and gradients tell what depends on what:
    statistics are the input's own, as constants, in batch norms by running statistics too, and activations that can stop
    a gradient let it pass.
    """

    def __init__(self, coarsest: int, *, frozen: bool = False) -> None:
        super().__init__()
        self.coarsest, self.frozen = coarsest, frozen
        self.known: list[Moments] = []
        self._collected: Moments | None = None
        self._calls, self._last = 0, (None, None)  # type: tuple[int, tuple[Tensor | None, Moments | None]]
        self._core, self._size = (0, 0, 0, 0), (0, 0)

    def begin(self, core: tuple[int, int, int, int], size: tuple[int, int]) -> None:
        self._core, self._size, self._calls, self._last = core, size, 0, (None, None)

    def pass_ended(self) -> None:
        """From now on, use what was collected."""
        assert self._collected is not None
        self.known.append(self._collected)
        self._collected = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        handler = _HANDLERS.get(func)
        made = None if handler is None else handler(self, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {})) if made is None else made

    def moments(self, x: Tensor) -> Moments | None:
        """The statistics to use for x (B, C, h, w); None if x is not a feature map of the image.

        Raises:
            TileDoneError: they are not known yet; this tile's share has been collected.
        """
        part = self._part(x)
        if part is None:
            return None
        if x is self._last[0]:
            return self._last[1]
        if self.frozen:
            found = Moments.of(x)
        elif self._calls < len(self.known):
            found = self.known[self._calls]
        else:
            share = Moments.of(part)
            self._collected = share if self._collected is None else self._collected.joined(share)
            raise TileDoneError
        self._calls += 1
        self._last = (x, found)
        return found

    def _part(self, x: Tensor) -> Tensor | None:
        """The core's pixels in a feature map, which is the tile at another resolution."""
        if x.ndim != 4 or isinstance(x, torch.nn.Parameter) or min(x.shape) == 0:
            return None
        (h, w), (rows, columns) = x.shape[2:], self._size
        if h * columns != w * rows or rows > h * self.coarsest or max(h % rows, rows % h) * min(h % rows, rows % h):
            return None
        top, bottom = (place * h // rows for place in self._core[:2])
        left, right = (place * w // columns for place in self._core[2:])
        return x[:, :, top:bottom, left:right]


def _normalised(x: Tensor, found: Moments, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias, with the statistics as constants."""
    b, c = x.shape[:2]
    mean, variance = (value.flatten().to(x.device, torch.float32) for value in (found.mean, found.variance))
    scale, shift = (None if value is None else value.repeat(b) for value in (weight, bias))
    flat = x.contiguous().view(1, b * c, *x.shape[2:])
    return F.batch_norm(flat, mean, variance, scale, shift, False, 0.0, eps).view(x.shape)


def _group_norm(
    mode: Statistics, x: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor | None:
    found = mode.moments(x)
    return None if found is None else _normalised(x, found.over(groups=num_groups), weight, bias, eps)


def _instance_norm(
    mode: Statistics,
    x: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor | None:
    found = mode.moments(x) if use_input_stats else None
    return None if found is None else _normalised(x, found, weight, bias, eps)


def _batch_norm(
    mode: Statistics,
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor | None:
    found = mode.moments(x) if training or mode.frozen else None
    return None if found is None else _normalised(x, found.over(batch=True), weight, bias, eps)


def _layer_norm(
    mode: Statistics,
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor | None:
    if len(normalized_shape) != 3 or weight is not None or bias is not None:
        return None
    return _group_norm(mode, x, 1, eps=eps)


def _pooled(mode: Statistics, x: Tensor, output_size: Any) -> Tensor | None:
    found = mode.moments(x) if output_size in (1, (1, 1), [1, 1]) else None
    return None if found is None else found.mean.to(x.device, x.dtype)[:, :, None, None]


def _reduction(name: str) -> Callable[..., Any]:
    """``torch.mean``, ``torch.var`` and ``torch.std`` over the height, the width and maybe more."""

    def handler(mode: Statistics, x: Tensor, dim: Any = None, *flags: bool, **options: Any) -> Tensor | None:
        if x.ndim != 4 or not isinstance(dim, tuple | list) or set(options) - {"keepdim", "correction", "unbiased"}:
            return None
        dims = {d % 4 for d in dim}
        found = mode.moments(x) if dims >= {2, 3} else None
        if found is None:
            return None
        found = found.over(groups=1 if 1 in dims else None, batch=0 in dims)
        names = ("keepdim",) if name == "mean" else ("unbiased", "keepdim")
        options |= dict(zip(names, flags, strict=False))
        correction = options.get("correction", int(options.get("unbiased", True)))
        variance = found.variance * found.count / max(found.count - (1 if correction is None else correction), 1)
        value = {"mean": found.mean, "var": variance, "std": variance.sqrt()}[name][:, :, None, None]
        value = value[:1] if 0 in dims else value
        value = (value[:, :1] if 1 in dims else value).to(x.device, x.dtype)
        return value if options.get("keepdim") else value.squeeze(tuple(dims))

    return handler


def _passed(mode: Statistics, x: Tensor, *_: Any, **__: Any) -> Tensor | None:
    """An activation, where only the ways through the network count: it lets every gradient pass."""
    return x * 0.7 if mode.frozen else None


_ACTIVATIONS = {
    getattr(place, name)
    for name in ("relu", "relu_", "tanh", "sigmoid", "softmax", "clamp")
    for place in (torch, Tensor, F)
    if hasattr(place, name)
}
_HANDLERS: dict[Any, Callable[..., Any]] = {
    F.group_norm: _group_norm,
    F.instance_norm: _instance_norm,
    F.batch_norm: _batch_norm,
    F.layer_norm: _layer_norm,
    F.adaptive_avg_pool2d: _pooled,
    **dict.fromkeys(_ACTIVATIONS, _passed),
    **{getattr(place, name): _reduction(name) for name in ("mean", "var", "std") for place in (torch, Tensor)},
}
