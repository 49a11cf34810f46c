"""pix2pix's step (Isola et al. 2017): a U-Net and a conditional patch discriminator, discriminator first."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plain import Terms, adam, nested


class UNet(nn.Module):
    """(B, 3, H, W) to itself, H and W multiples of 2^downs (appendix 6.1.1)."""

    def __init__(self, width: int, downs: int) -> None:
        super().__init__()
        channels = [width * min(2**i, 8) for i in range(downs)]
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        self.full = 8 * width
        for i, inner in enumerate(channels):
            outer = 3 if i == 0 else channels[i - 1]
            down = {"conv": nn.Conv2d(outer, inner, 4, 2, 1, bias=False)}
            if 0 < i < downs - 1:
                down["norm"] = nn.BatchNorm2d(inner)
            entering = inner if i == downs - 1 else 2 * inner
            up = {"conv": nn.ConvTranspose2d(entering, outer, 4, 2, 1, bias=i == 0)}
            if i > 0:
                up["norm"] = nn.BatchNorm2d(outer)
            self.encoder.append(nn.ModuleDict(down))
            self.decoder.append(nn.ModuleDict(up))

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.level(x, 0))

    def level(self, x: Tensor, i: int) -> Tensor:
        """The output of level i and the levels inside it; all but the outermost concatenate it with x."""
        down, up = self.encoder[i], self.decoder[i]
        y = down["conv"](x if i == 0 else F.leaky_relu_(x, 0.2))
        y = down["norm"](y) if "norm" in down else y
        innermost = i == len(self.encoder) - 1
        y = y if innermost else self.level(y, i + 1)
        y = up["conv"](F.relu_(y))
        if i == 0:
            return y
        y = up["norm"](y)
        if y.shape[1] == down["conv"].out_channels == self.full and not innermost:
            y = F.dropout(y, 0.5)
        return torch.cat((x, y), 1)


class Patches(nn.Module):
    """The 70 x 70 discriminator of (B, 6, H, W) (appendix 6.1.2)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.ModuleDict({"conv": nn.Conv2d(6, width, 4, 2, 1)})])
        for i in range(1, 4):
            conv = nn.Conv2d(width * 2 ** (i - 1), width * 2**i, 4, 2 if i < 3 else 1, 1, bias=False)
            self.blocks.append(nn.ModuleDict({"conv": conv, "norm": nn.BatchNorm2d(width * 2**i)}))
        self.logits = nn.Conv2d(8 * width, 1, 4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            for layer in block.values():
                x = layer(x)
            x = F.leaky_relu_(x, 0.2)
        return self.logits(x)


class Step:
    """A batch of pairs a, b (B, 3, H, W): one update of both players."""

    def __init__(self, *, width: int, downs: int) -> None:
        self.net, self.judge = UNet(width, downs), Patches(width)
        self.G, self.D = nested("networks.a_b", self.net), nested("networks.b", self.judge)
        self.g_adam, self.d_adam = (adam(net.parameters(), 2e-4, (0.5, 0.999)) for net in (self.G, self.D))

    def __call__(self, batch: dict[str, Tensor]) -> Terms:
        a, b = batch["a"], batch["b"]
        made = self.net(a)
        self.D.requires_grad_(True)
        self.d_adam.zero_grad()
        fake = against(self.judge(torch.cat((a, made.detach()), 1)), 0.0)
        real = against(self.judge(torch.cat((a, b), 1)), 1.0)
        ((fake + real) * 0.5).backward()
        self.d_adam.step()
        self.D.requires_grad_(False)
        self.g_adam.zero_grad()
        gan = against(self.judge(torch.cat((a, made), 1)), 1.0)
        l1 = F.l1_loss(made, b) * 100
        (gan + l1).backward()
        self.g_adam.step()
        return {"gan_b": gan, "l1_b": l1, "fake_b": fake * 0.5, "real_b": real * 0.5}


def against(logits: Tensor, answer: float) -> Tensor:
    """The cross-entropy between the verdicts and the answer."""
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, answer))
