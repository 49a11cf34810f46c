"""The rehearsal of the first step leaves no trace. What it finds is in ``test_mistakes.py``."""

import random
from typing import Any

import torch
from torch import Tensor, nn

import toy
from i2i.adapters import per_domain
from i2i.building.rehearsal import rehearse
from i2i.protocols import Batch, Domain, Images, Terms, Translation
from i2i.randomness import drawing_state
from i2i_cyclegan.pool import ImagePool

DOMAINS = {"a": Domain("plain", "image", 3), "b": Domain("negative", "image", 3)}


class Noisy(nn.Module):
    """A generator with running statistics, dropout and noise, which counts its calls in its extra state."""

    exposes: frozenset[str] = frozenset()
    divisor = 1

    def __init__(self) -> None:
        super().__init__()
        self.layers, self.calls = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Dropout()), 0
        self.layers[0].eval()

    def forward(self, x: Tensor, source: str, *targets: str) -> Translation:
        self.calls += 1
        return Translation({target: self.layers(x) + torch.randn_like(x) for target in targets})

    def get_extra_state(self) -> int:
        return self.calls

    def set_extra_state(self, state: Any) -> None:
        self.calls = state


class Pooling(toy.ToyLoss):
    """Shows the discriminator images of a pool, which has one already, and replaces a buffer."""

    def __init__(self) -> None:
        super().__init__(domains=DOMAINS, conditional=False)
        self.pool = ImagePool(2)
        self.pool(torch.zeros(1, 3, 8, 8))

    def generator_terms(self, D: Any, batch: Batch, images: Images) -> Terms:
        self.memory = self.memory + random.random()
        return super().generator_terms(D, batch, images)

    def discriminator_terms(self, D: Any, batch: Batch, images: Images) -> Terms:
        return super().discriminator_terms(D, batch, {"fake": self.pool(images["fake"])})


def test_nothing_is_changed() -> None:
    generator, loss = Noisy(), Pooling()
    judge = per_domain(toy.ToyJudge, features=True)(domains={"b": DOMAINS["b"]}, conditions={})
    parts = {"generator": generator, "judge": judge, "loss": loss}
    buffers = {name: [*part.buffers()] for name, part in parts.items()}
    before = {name: {key: _copied(value) for key, value in part.state_dict().items()} for name, part in parts.items()}
    modes = [module.training for part in parts.values() for module in part.modules()]
    drawn = drawing_state()
    batch = {key: torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)) for key in DOMAINS}
    rehearse(batch, DOMAINS, loss, generator, judge, ("noisy", "judge", "pooling"))
    assert drawing_state() == drawn
    assert [module.training for part in parts.values() for module in part.modules()] == modes
    for name, part in parts.items():
        after = part.state_dict()
        assert list(after) == list(before[name])
        assert all(torch.equal(_copied(after[key]), value) for key, value in before[name].items())
        assert all(now is then for now, then in zip(part.buffers(), buffers[name], strict=True))
        assert all(parameter.grad is None for parameter in part.parameters())


def _copied(value: Any) -> Tensor:
    return value.clone() if isinstance(value, Tensor) else torch.tensor(value)
