"""SPADE's step (Park et al. 2019), without VGG: modulated residual blocks, a discriminator at two scales, generator first.

As in the published program, the generator's step leaves gradients in the discriminator, which its next step clears.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from plain import Terms, adam, nested


class Spade(nn.Module):
    """norm(x) * (1 + gamma) + beta, with maps made from the labels (eq. 1)."""

    def __init__(self, channels: int, labels: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.shared = nn.Conv2d(labels, hidden, 3, padding=1)
        self.gamma, self.beta = nn.Conv2d(hidden, channels, 3, padding=1), nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        normalised = self.norm(x)
        h = F.relu(self.shared(F.interpolate(labels, x.shape[2:], mode="nearest")))
        return normalised * (1 + self.gamma(h)) + self.beta(h)


class Block(nn.Module):
    """A residual block of modulated convolutions (fig. 4)."""

    def __init__(self, before: int, after: int, labels: int, hidden: int) -> None:
        super().__init__()
        middle = min(before, after)
        self.conv_0 = spectral_norm(nn.Conv2d(before, middle, 3, padding=1))
        self.conv_1 = spectral_norm(nn.Conv2d(middle, after, 3, padding=1))
        self.norm_0, self.norm_1 = Spade(before, labels, hidden), Spade(middle, labels, hidden)
        self.changes = before != after
        if self.changes:
            self.conv_s = spectral_norm(nn.Conv2d(before, after, 1, bias=False))
            self.norm_s = Spade(before, labels, hidden)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        shortcut = self.conv_s(self.norm_s(x, labels)) if self.changes else x
        h = self.conv_0(F.leaky_relu(self.norm_0(x, labels), 0.2))
        h = self.conv_1(F.leaky_relu(self.norm_1(h, labels), 0.2))
        return shortcut + h


class Network(nn.Module):
    """Labels (B, L, H, W) to an image (B, 3, H, W), H and W multiples of 32 (appendix A); 128 hidden channels at width 64."""

    def __init__(self, width: int, labels: int) -> None:
        super().__init__()
        widths = [width * factor for factor in (16, 16, 16, 16, 8, 4, 2, 1)]
        self.first = nn.Conv2d(labels, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList(Block(widths[i], widths[i + 1], labels, 2 * width) for i in range(7))
        self.last = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, labels: Tensor) -> Tensor:
        H, W = labels.shape[2:]
        x = self.first(F.interpolate(labels, (H // 32, W // 32)))
        for i, block in enumerate(self.blocks):
            x = F.interpolate(x, scale_factor=2) if i not in (0, 2) else x
            x = block(x, labels)
        return torch.tanh(self.last(F.leaky_relu(x, 0.2)))


def judge(channels: int, width: int) -> nn.Module:
    """One scale's discriminator."""
    layers = [Layer({"conv": nn.Conv2d(channels, width, 4, 2, 2)}, True)]
    for i, stride in ((1, 2), (2, 2), (3, 1)):
        before, after = (min(width * 2**j, 512) for j in (i - 1, i))
        conv = spectral_norm(nn.Conv2d(before, after, 4, stride, 2, bias=False))
        layers.append(Layer({"conv": conv, "norm": nn.InstanceNorm2d(after)}, True))
    return nn.Sequential(*layers, Layer({"conv": nn.Conv2d(after, 1, 4, 1, 2)}, False))


class Layer(nn.ModuleDict):
    """Its modules in turn, then LeakyReLU unless it is the last."""

    def __init__(self, modules: dict[str, nn.Module], activated: bool) -> None:
        super().__init__(modules)
        self.activated = activated

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.values():
            x = layer(x)
        return F.leaky_relu_(x, 0.2) if self.activated else x


class Step:
    """A batch of label maps a (B, L, H, W) and images b (B, 3, H, W): one update of both players."""

    def __init__(self, *, width: int, labels: int) -> None:
        self.net = Network(width, labels)
        self.judges = nn.ModuleList(judge(labels + 3, width) for _ in range(2))
        self.G, self.D = nested("networks.a_b", self.net), nested("judges.b.scales", self.judges)
        self.g_adam = adam(self.G.parameters(), 1e-4, (0.0, 0.9))
        self.d_adam = adam(self.D.parameters(), 4e-4, (0.0, 0.9))

    def __call__(self, batch: dict[str, Tensor]) -> Terms:
        return {**self.update_generator(batch), **self.update_discriminator(batch)}

    def verdicts(self, batch: dict[str, Tensor], made: Tensor) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
        """The features and logits of every scale on the generated and on the real images, judged in one batch."""
        count = len(made)
        x = torch.cat((torch.cat((batch["a"], made), 1), torch.cat((batch["a"], batch["b"]), 1)))
        fake, real = [], []
        for net in self.judges:
            maps = [x]
            for layer in net:
                maps.append(layer(maps[-1]))
            fake.append([y[:count] for y in maps[1:]])
            real.append([y[count:] for y in maps[1:]])
            x = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
        return fake, real

    def update_generator(self, batch: dict[str, Tensor]) -> Terms:
        self.g_adam.zero_grad()
        fake, real = self.verdicts(batch, self.net(batch["a"]))
        gan = sum(-maps[-1].mean() for maps in fake) / 2
        features = gan.new_zeros(())
        for made, given in zip(fake, real, strict=True):
            for f, r in zip(made[:-1], given[:-1], strict=True):
                features = features + F.l1_loss(f, r.detach()) * 10 / 2
        (gan + features).backward()
        self.g_adam.step()
        return {"gan_b": gan, "features_b": features}

    def update_discriminator(self, batch: dict[str, Tensor]) -> Terms:
        self.d_adam.zero_grad()
        with torch.no_grad():
            made = self.net(batch["a"])
        fake, real = self.verdicts(batch, made)
        terms = {
            "fake_b": sum(F.relu(1 + maps[-1]).mean() for maps in fake) / 2,
            "real_b": sum(F.relu(1 - maps[-1]).mean() for maps in real) / 2,
        }
        (terms["fake_b"] + terms["real_b"]).backward()
        self.d_adam.step()
        return terms
