"""pix2pix's and CycleGAN's training steps against recorded values of the published program."""

import random
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from i2i.building.nested import total
from i2i.layers import let_call_together, set_fast
from i2i.protocols import Domain, Verdict
from i2i_cyclegan.loss import CycleGANLoss
from i2i_pix2pix.loss import Pix2PixLoss
from junyanz import Network, discriminator, generator
from parity_cases import Case, files

OBJECTIVE = {"vanilla": "bce", "lsgan": "lsgan", "wgangp": "wgan"}


class Recorder:
    """A bare callable: D, and for each domain what it was shown and its logits, by batches in the order of the calls."""

    def __init__(self, network: nn.Module, batch: Mapping[str, Tensor]) -> None:
        self.network, self.count = network, len(batch["a"])
        self.seen: dict[str, list[Tensor]] = {"a": [], "b": []}
        self.logits: dict[str, list[Tensor]] = {"a": [], "b": []}

    def __call__(self, image: Tensor, domain: str, condition: Tensor | None = None) -> Verdict:
        verdict: Verdict = self.network(image, domain, condition)
        self.seen[domain] += image.detach().clone().split(self.count)
        self.logits[domain] += verdict[0][-1].detach().split(self.count)
        return verdict


def sides(case: Case, step: str) -> dict[str, Tensor]:
    """a is what the published program calls real_A: with BtoA, the image B."""
    first, second = ("A", "B") if case.options["direction"] == "AtoB" else ("B", "A")
    return {"a": case[f"in.{step}.{first}"], "b": case[f"in.{step}.{second}"]}


def optimizer(case: Case, network: nn.Module) -> torch.optim.Adam:
    return torch.optim.Adam(network.parameters(), lr=case.options["lr"], betas=(case.options["beta1"], 0.999))


def minimise(optimizer: torch.optim.Adam, terms: Mapping[str, Tensor]) -> Tensor:
    loss = total(terms)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


def check_networks(case: Case, number: int, *networks: Network) -> None:
    """Gradients of this step, and every entry after it."""
    step = f"step{number}"
    noise = 2.1 * number * case.options["lr"]  # recorded and ours: each may have moved by lr, in opposite directions
    for net, part in (item for network in networks for item in network.parts().items()):
        case.check_gradients(f"grad.{step}.{net}", part, step)
        case.check_updated(f"post.{step}.{net}", part, step, allowed_noise=noise)


@pytest.mark.parametrize("file", files("pix2pix_step"))
def test_pix2pix_steps(file: str) -> None:
    case = Case(file)
    o = case.options
    G = Network(case, generator(o), {"netG": "a_b"})
    D = Network(case, discriminator(o, {"b": o["output_nc"]}, {"b": o["input_nc"]}), {"netD": "b"})
    for network in (G, D):
        network.load()
    optimizers = {"G": optimizer(case, G.network), "D": optimizer(case, D.network)}
    domains = {"a": Domain("a", "image", o["input_nc"]), "b": Domain("b", "image", o["output_nc"])}
    loss = Pix2PixLoss(domains=domains, l1=o["lambda_L1"], objective=OBJECTIVE[o["gan_mode"]])
    for number in range(1, o["steps"] + 1):
        step = f"step{number}"
        batch = sides(case, step)
        judge = Recorder(D.network, batch)
        images = loss.translate(G.network, batch)
        judged = loss.discriminator_terms(judge, batch, {"fake_b": images["fake_b"].detach()})
        losses = {"D": minimise(optimizers["D"], judged), "D_fake": 2 * judged["fake_b"], "D_real": 2 * judged["real_b"]}
        D.network.requires_grad_(False)
        made = loss.generator_terms(judge, batch, images)
        losses |= {"G": minimise(optimizers["G"], made), "G_GAN": made["gan_b"]}
        losses["G_L1"] = made.get("l1_b", torch.zeros(()))
        D.network.requires_grad_(True)
        for name, value in losses.items():
            case.check(f"loss.{step}.{name}", value, step)
        outputs = dict(zip(("D_step_fake", "D_step_real", "G_step_fake"), judge.logits["b"], strict=True))
        outputs = {f"pred.{name}": value for name, value in outputs.items()} | {"fake_B": images["fake_b"]}
        for name, value in outputs.items():
            if f"out.{step}.{name}" in case:
                case.check(f"out.{step}.{name}", value, step)
        check_networks(case, number, G, D)


def cyclegan_loss(o: Mapping[str, Any]) -> CycleGANLoss:
    return CycleGANLoss(
        domains={"a": Domain("a", "image", o["input_nc"]), "b": Domain("b", "image", o["output_nc"])},
        cycle=o["lambda_A"],
        cycle_b=o["lambda_B"],
        identity=o["lambda_identity"],
        objective=OBJECTIVE[o["gan_mode"]],
        pool=o["pool_size"],
    )


ROUNDING = "cyclegan_step_nopool.safetensors"
"""After its first step a sign depends on the order of a sum. ``test_plain.py`` compares the other order in double precision."""


@pytest.mark.parametrize("file", files("cyclegan_step"))
def test_cyclegan_steps(file: str) -> None:
    case = Case(file)
    o = case.options
    G = Network(case, generator(o, ("ab", "ba")), {"netG_A": "a_b", "netG_B": "b_a"})
    D = Network(case, discriminator(o, {"b": o["output_nc"], "a": o["input_nc"]}, {}), {"netD_A": "b", "netD_B": "a"})
    for network in (G, D):
        network.load()
    set_fast((G.network, D.network), file != ROUNDING)
    optimizers = {"G": optimizer(case, G.network), "D": optimizer(case, D.network)}
    loss = cyclegan_loss(o)
    let_call_together(loss, (G.network, D.network), allowed=file != ROUNDING)
    random.seed(o.get("python_random_seed", 0))
    fakes: dict[str, list[Tensor]] = {"fake_a": [], "fake_b": []}
    for number in range(1, o["steps"] + 1):
        step = f"step{number}"
        batch = sides(case, step)
        judge = Recorder(D.network, batch)
        images = loss.translate(G.network, batch)
        D.network.requires_grad_(False)
        made = loss.generator_terms(judge, batch, images)
        losses = {"G": minimise(optimizers["G"], made)}
        D.network.requires_grad_(True)
        detached = {name: image.detach() for name, image in images.items()}
        judged = loss.discriminator_terms(judge, batch, detached)
        minimise(optimizers["D"], judged)
        for ours, theirs in ("ba", "ab"):
            published, weight = theirs.upper(), {"gan": "G", "cycle": "cycle", "identity": "idt"}
            other = ours.upper()
            # Published: netD_A and idt_A look at b, cycle_A at a.
            losses[f"D_{published}"] = judged[f"real_{ours}"] + judged[f"fake_{ours}"]
            for term, key in (("gan", ours), ("cycle", theirs), ("identity", ours)):
                losses[f"{weight[term]}_{published}"] = made.get(f"{term}_{key}", torch.zeros(()))
            outputs = {f"fake_{other}": images[f"fake_{ours}"]}
            outputs |= {f"rec_{other}": images.get(f"cycle_{ours}"), f"idt_{published}": images.get(f"identity_{ours}")}
            calls = zip(("G_step_fake", "D_step_real", "D_step_fake"), judge.logits[ours], strict=True)
            outputs |= {f"pred.D_{published}.{name}": value for name, value in calls}
            for name, value in outputs.items():
                if f"out.{step}.{name}" in case and value is not None:
                    case.check(f"out.{step}.{name}", value, step)
            fakes[f"fake_{ours}"].append(detached[f"fake_{ours}"])
            if (name := f"out.{step}.pool_returned_step.fake_{other}") in case:
                for image, made_in in zip(judge.seen[ours][-1], case[name].tolist(), strict=True):
                    assert any(torch.equal(image, fake) for fake in fakes[f"fake_{ours}"][made_in - 1]), name
        for name, value in losses.items():
            case.check(f"loss.{step}.{name}", value, step)
        check_networks(case, number, G, D)
