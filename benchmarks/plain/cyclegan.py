"""CycleGAN's step (Zhu et al. 2017): two residual networks, two patch discriminators, generators first."""

import random

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plain import Terms, adam, nested


class Normalised(nn.Module):
    """Convolution, then instance norm and ReLU as asked."""

    def __init__(self, conv: nn.Module, pad: int = 0, relu: bool = True) -> None:
        super().__init__()
        self.pad, self.conv = nn.ReflectionPad2d(pad) if pad else nn.Identity(), conv
        self.norm, self.relu = nn.InstanceNorm2d(conv.out_channels), nn.ReLU(inplace=True) if relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.norm(self.conv(self.pad(x))))


class Residual(nn.Module):
    """x + f(x)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Normalised(nn.Conv2d(channels, channels, 3), 1)
        self.second = Normalised(nn.Conv2d(channels, channels, 3), 1, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x))


class ResNet(nn.Module):
    """(B, 3, H, W) to itself, H and W multiples of 4 (appendix 7.2)."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.stem = Normalised(nn.Conv2d(3, width, 7), 3)
        self.down = nn.Sequential(*(Normalised(nn.Conv2d(c, 2 * c, 3, 2, 1)) for c in (width, 2 * width)))
        self.blocks = nn.Sequential(*(Residual(4 * width) for _ in range(blocks)))
        self.up = nn.Sequential(
            *(Normalised(nn.ConvTranspose2d(c, c // 2, 3, 2, 1, output_padding=1)) for c in (4 * width, 2 * width))
        )
        self.pad, self.last = nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.last(self.pad(self.up(self.blocks(self.down(self.stem(x)))))))


class Patches(nn.Module):
    """The 70 x 70 discriminator of (B, 3, H, W) (appendix 7.2)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.ModuleDict({"conv": nn.Conv2d(3, width, 4, 2, 1)})])
        for i in range(1, 4):
            conv = nn.Conv2d(width * 2 ** (i - 1), width * 2**i, 4, 2 if i < 3 else 1, 1)
            self.blocks.append(nn.ModuleDict({"conv": conv, "norm": nn.InstanceNorm2d(width * 2**i)}))
        self.logits = nn.Conv2d(8 * width, 1, 4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            for layer in block.values():
                x = layer(x)
            x = F.leaky_relu_(x, 0.2)
        return self.logits(x)


class Pool:
    """Up to 50 earlier images; half of the time one of them is given in exchange for the new one (section 4)."""

    def __init__(self) -> None:
        self.images: list[Tensor] = []

    def __call__(self, images: Tensor) -> Tensor:
        given = []
        for image in images.detach().unsqueeze(1):
            if len(self.images) < 50:
                self.images.append(image)
            elif random.uniform(0, 1) > 0.5:
                place = random.randint(0, 49)
                image, self.images[place] = self.images[place].clone(), image
            given.append(image)
        return torch.cat(given)


class Step:
    """A batch of unpaired images a, b (B, 3, H, W): one update of both pairs of players."""

    def __init__(self, *, width: int, blocks: int) -> None:
        self.nets = {key: ResNet(width, blocks) for key in ("a_b", "b_a")}
        self.judges = {key: Patches(width) for key in ("b", "a")}
        self.G = nested("networks", nn.ModuleDict(self.nets))
        self.D = nested("networks", nn.ModuleDict(self.judges))
        self.g_adam, self.d_adam = (adam(net.parameters(), 2e-4, (0.5, 0.999)) for net in (self.G, self.D))
        self.pools = {"a": Pool(), "b": Pool()}

    def __call__(self, batch: dict[str, Tensor]) -> Terms:
        there, back = self.nets["a_b"], self.nets["b_a"]
        fake_b = there(batch["a"])
        cycle_a = back(fake_b)
        fake_a = back(batch["b"])
        cycle_b = there(fake_a)
        self.D.requires_grad_(False)
        self.g_adam.zero_grad()
        terms = {
            "identity_b": F.l1_loss(there(batch["b"]), batch["b"]) * 5,
            "identity_a": F.l1_loss(back(batch["a"]), batch["a"]) * 5,
            "gan_b": against(self.judges["b"](fake_b), 1.0),
            "gan_a": against(self.judges["a"](fake_a), 1.0),
            "cycle_a": F.l1_loss(cycle_a, batch["a"]) * 10,
            "cycle_b": F.l1_loss(cycle_b, batch["b"]) * 10,
        }
        sum(terms.values()).backward()
        self.g_adam.step()
        self.D.requires_grad_(True)
        self.d_adam.zero_grad()
        for key, fake in (("b", fake_b), ("a", fake_a)):
            shown = self.pools[key](fake)
            terms[f"real_{key}"] = against(self.judges[key](batch[key]), 1.0) * 0.5
            terms[f"fake_{key}"] = against(self.judges[key](shown), 0.0) * 0.5
            (terms[f"real_{key}"] + terms[f"fake_{key}"]).backward()
        self.d_adam.step()
        return terms


def against(logits: Tensor, answer: float) -> Tensor:
    """The squared distance between the verdicts and the answer."""
    return F.mse_loss(logits, torch.full_like(logits, answer))
