"""The adversarial objectives and the gradient penalty against recorded values."""

import pytest
import torch
from torch import Tensor, nn

from i2i.layers import InstanceNorm
from i2i.objectives import gradient_penalty, input_gradients, objective_of
from parity_cases import Case, files

NAMES = {"vanilla": "bce", "lsgan": "lsgan", "wgangp": "wgan"}


@pytest.mark.parametrize("file", files("ganloss"))
def test_objectives(file: str) -> None:
    case = Case(file)
    for mode in case.options["modes"]:
        objective = objective_of(NAMES[mode])
        for side, loss in (("real", objective.real), ("fake", objective.fake)):
            logits = case["in.logits"].clone().requires_grad_()
            value = loss(logits)
            value.backward()
            case.check(f"loss.{mode}.{side}", value)
            case.check(f"out.dlogits.{mode}.{side}", logits.grad)


class Patch(nn.Module):
    """The patch discriminator of the recording, with the recorded names."""

    def __init__(self, channels: int, width: int, layers: int, norm: str) -> None:
        super().__init__()
        bias = norm == "instance"
        kinds = {"instance": lambda c: InstanceNorm(), "batch": nn.BatchNorm2d, "none": lambda c: nn.Identity()}
        model: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        before = width
        for n in range(1, layers + 1):
            after = width * min(2**n, 8)
            conv = nn.Conv2d(before, after, 4, 2 if n < layers else 1, 1, bias=bias)
            model += [conv, kinds[norm](after), nn.LeakyReLU(0.2)]
            before = after
        self.model = nn.Sequential(*model, nn.Conv2d(before, 1, 4, 1, 1))

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        return [[self.model(x)]]


@pytest.mark.parametrize("file", files("gradient_penalty"))
def test_gradient_penalty(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(file)
    o = case.options
    layers = 3 if o["netD"] == "basic" else o["n_layers_D"]
    D = Patch(o["input_nc"], o["ndf"], layers, o["norm"])
    D.load_state_dict(case.state("netD"))
    real, fake, alpha = case["in.real"], case["in.fake"], case["in.alpha"]
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: alpha.view(shape))
    mix = alpha.view(-1, 1, 1, 1)
    points = {"mixed": mix * real + (1 - mix) * fake, "real": real, "fake": fake}
    for kind, constant, weight in o["variants"]:
        tag = f"{kind}_c{constant:g}_l{weight:g}"
        D.zero_grad()
        penalty = gradient_penalty(D, real, fake, kind=kind, constant=constant, weight=weight)
        # The last bias shifts every logit alike: no part of the graph, a gradient of exactly zero.
        penalty.backward()
        for parameter in D.parameters():
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        case.check(f"loss.{tag}", penalty)
        case.check_gradients(f"grad.{tag}.netD", D)
        gradients = input_gradients(D, points[kind])
        case.check(f"out.gradients.{tag}", gradients)
        case.check(f"out.gradnorm.{tag}", gradients.norm(dim=1))
