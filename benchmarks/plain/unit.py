"""UNIT's step (Liu et al. 2017): an autoencoder and a discriminator at three scales for each domain, discriminators first.

As in the published program, the discriminators' step encodes and decodes again, and the generators' step leaves gradients in
the discriminators, which their next step clears.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plain import Terms, adam, nested


class LayerNorm(nn.Module):
    """(x - mean) / (std + eps) of each sample, then a gain and an offset for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        mean, std = flat.mean(1).view(-1, 1, 1, 1), flat.std(1).view(-1, 1, 1, 1)
        return (x - mean) / (std + 1e-5) * self.gamma.view(1, -1, 1, 1) + self.beta.view(1, -1, 1, 1)


class Block(nn.Module):
    """Reflection padding, convolution, norm, activation."""

    def __init__(
        self, before: int, after: int, kernel: int, stride: int, pad: int, norm: nn.Module, activation: nn.Module
    ) -> None:
        super().__init__()
        self.pad, self.conv = nn.ReflectionPad2d(pad), nn.Conv2d(before, after, kernel, stride)
        self.norm, self.activation = norm, activation

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.norm(self.conv(self.pad(x))))


class Residual(nn.Module):
    """x + f(x)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        first = Block(channels, channels, 3, 1, 1, nn.InstanceNorm2d(channels), nn.ReLU(inplace=True))
        second = Block(channels, channels, 3, 1, 1, nn.InstanceNorm2d(channels), nn.Identity())
        self.model = nn.Sequential(first, second)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.model(x)


class Model(nn.Module):
    """Layers in turn, under the name ``model``."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


def encoder(width: int, blocks: int) -> nn.Module:
    """(B, 3, H, W) to a latent (B, 4 * width, H / 4, W / 4)."""
    layers = [Block(3, width, 7, 1, 3, nn.InstanceNorm2d(width), nn.ReLU(inplace=True))]
    for c in (width, 2 * width):
        layers.append(Block(c, 2 * c, 4, 2, 1, nn.InstanceNorm2d(2 * c), nn.ReLU(inplace=True)))
    return Model([*layers, residuals(width, blocks)])


def decoder(width: int, blocks: int) -> nn.Module:
    """A latent back to (B, 3, H, W)."""
    layers = [residuals(width, blocks)]
    for c in (4 * width, 2 * width):
        layers.append(nn.Upsample(scale_factor=2))
        layers.append(Block(c, c // 2, 5, 1, 2, LayerNorm(c // 2), nn.ReLU(inplace=True)))
    return Model([*layers, Block(width, 3, 7, 1, 3, nn.Identity(), nn.Tanh())])


def residuals(width: int, blocks: int) -> nn.Module:
    return Model([Residual(4 * width) for _ in range(blocks)])


def judge(width: int) -> nn.Module:
    """One scale's discriminator."""
    layers = []
    for before, after in ((3, width), (width, 2 * width), (2 * width, 4 * width), (4 * width, 8 * width)):
        layers.append(Block(before, after, 4, 2, 1, nn.Identity(), nn.LeakyReLU(0.2, inplace=True)))
    return nn.Sequential(*layers, nn.Conv2d(8 * width, 1, 1))


class Step:
    """A batch of unpaired images a, b (B, 3, H, W): one update of both pairs of players."""

    def __init__(self, *, width: int, blocks: int) -> None:
        self.vaes = {key: {"enc": encoder(width, blocks), "dec": decoder(width, blocks)} for key in "ab"}
        self.judges = {key: [judge(width) for _ in range(3)] for key in "ab"}
        self.G = nested("vaes", nn.ModuleDict({key: nn.ModuleDict(parts) for key, parts in self.vaes.items()}))
        self.D = nn.ModuleDict({key: nested("cnns", nn.ModuleList(nets)) for key, nets in self.judges.items()})
        self.D = nested("judges", self.D)
        self.g_adam, self.d_adam = (adam(net.parameters(), 1e-4, (0.5, 0.999), 1e-4) for net in (self.G, self.D))

    def __call__(self, batch: dict[str, Tensor]) -> Terms:
        return {**self.update_discriminators(batch), **self.update_generators(batch)}

    def encode(self, key: str, x: Tensor) -> tuple[Tensor, Tensor]:
        """The mean of the latent and the mean with noise."""
        mean = self.vaes[key]["enc"](x)
        return mean, mean + torch.randn_like(mean)

    def decode(self, key: str, h: Tensor) -> Tensor:
        return self.vaes[key]["dec"](h)

    def distance(self, key: str, x: Tensor, answer: float) -> Tensor:
        """The squared distance between the verdicts on x and the answer, summed over the scales."""
        total = x.new_zeros(())
        for net in self.judges[key]:
            total = total + (net(x) - answer).square().mean()
            x = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
        return total

    def update_discriminators(self, batch: dict[str, Tensor]) -> Terms:
        self.d_adam.zero_grad()
        (_, of_a), (_, of_b) = self.encode("a", batch["a"]), self.encode("b", batch["b"])
        fakes = {"a": self.decode("a", of_b), "b": self.decode("b", of_a)}
        terms = {}
        for key in "ab":
            terms[f"fake_{key}"] = self.distance(key, fakes[key].detach(), 0.0)
            terms[f"real_{key}"] = self.distance(key, batch[key], 1.0)
        sum(terms.values()).backward()
        self.d_adam.step()
        return terms

    def update_generators(self, batch: dict[str, Tensor]) -> Terms:
        self.g_adam.zero_grad()
        means, latents = {}, {}
        for key in "ab":
            means[key], latents[key] = self.encode(key, batch[key])
        again = {key: self.decode(key, latents[key]) for key in "ab"}
        fakes = {key: self.decode(key, latents[other]) for key, other in ("ab", "ba")}
        cycle_means, cycles = {}, {}
        for key, other in ("ba", "ab"):
            cycle_means[key], latent = self.encode(other, fakes[other])
            cycles[key] = self.decode(key, latent)
        terms = {}
        for key in "ab":
            terms[f"gan_{key}"] = self.distance(key, fakes[key], 1.0)
            terms[f"reconstruction_{key}"] = F.l1_loss(again[key], batch[key]) * 10
            terms[f"kl_{key}"] = means[key].square().mean() * 0.01
            terms[f"cycle_{key}"] = F.l1_loss(cycles[key], batch[key]) * 10
            terms[f"cycle_kl_{key}"] = cycle_means[key].square().mean() * 0.01
        sum(terms.values()).backward()
        self.g_adam.step()
        return terms
