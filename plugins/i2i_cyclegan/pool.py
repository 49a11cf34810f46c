"""The image pool: a history of translated images for the discriminator (Shrivastava et al. 2017, section 2.3)."""

import random
from typing import Any

import torch
from torch import Tensor, nn


class ImagePool(nn.Module):
    """Keeps up to *capacity* images (C, H, W), as buffers ``0``, ``1``, …, so that they are part of the state dict.

    A pool that is full gives back, with probability 1/2 for each image, an earlier one and keeps the new one in its place.
    The draws are from Python's ``random``: their results are known without waiting for the device.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity = capacity
        self.register_load_state_dict_pre_hook(_make_room)  # type: ignore[no-untyped-call]

    def __len__(self) -> int:
        return sum(1 for _ in self.buffers())

    def forward(self, images: Tensor) -> Tensor:
        """Exchange images (B, C, H, W) for the same number from the pool; with capacity 0, return them unchanged."""
        if not self.capacity:
            return images
        return torch.stack([self._exchange(image) for image in images.detach()])

    def _exchange(self, image: Tensor) -> Tensor:
        filled = len(self)
        if filled < self.capacity:
            self.register_buffer(str(filled), image.clone())  # a view would keep the whole batch in memory
            return image
        if random.uniform(0, 1) > 0.5:
            place = str(random.randint(0, self.capacity - 1))
            earlier = self.get_buffer(place).to(image)
            setattr(self, place, image.clone())
            return earlier
        return image


def _make_room(pool: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Before a state dict is loaded, make as many buffers as it holds, of the same shapes."""
    for name, _image in list(pool.named_buffers()):
        delattr(pool, name)
    for name in [name.removeprefix(prefix) for name in state if name.startswith(prefix)]:
        pool.register_buffer(name, torch.empty_like(state[prefix + name]))
