"""UNIT against recorded values of the published program: layers, networks, losses, whole training steps."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from i2i.layers import let_call_together
from i2i.objectives import Adversarial
from i2i.protocols import Domain
from i2i_unit.layers import LayerNorm
from i2i_unit.loss import UnitLoss
from i2i_unit.networks import MultiscaleDiscriminator, UnitGenerator
from i2i_unit.weights import from_published, to_published
from parity_cases import Case, check_sample, files

EVERY = (("a", "a"), ("a", "b"), ("b", "a"), ("b", "b"))
PADDING = {"reflect": "reflect", "replicate": "replicate", "zero": "zeros"}
ACTIVATION = {"relu": "relu", "lrelu": "leaky_relu", "prelu": "prelu", "selu": "selu", "tanh": "tanh"}
NORM = {"none": "none", "in": "instance", "ln": "layer", "bn": "batch"}
OBJECTIVE = {"lsgan": "lsgan", "nsgan": "non_saturating"}
INIT = {"kaiming": "kaiming", "xavier": "xavier", "gaussian": "normal", "orthogonal": "orthogonal"}


def networks(o: Mapping[str, Any]) -> tuple[UnitGenerator, MultiscaleDiscriminator]:
    gen, dis = o["gen"], o["dis"]
    domains = {k: Domain(k, "image", o[f"input_dim_{k}"]) for k in "ab"}
    G = UnitGenerator(
        domains=domains,
        directions=EVERY,
        width=gen["dim"],
        downs=gen["n_downsample"],
        blocks=gen["n_res"],
        padding=PADDING[gen["pad_type"]],
        activation=ACTIVATION[gen["activ"]],
        init=INIT[o.get("init", "kaiming")],
    )
    D = MultiscaleDiscriminator(
        domains=domains,
        conditions={},
        width=dis["dim"],
        layers=dis["n_layer"],
        scales=dis["num_scales"],
        norm=NORM[dis["norm"]],
        padding=PADDING[dis["pad_type"]],
        activation=ACTIVATION[dis["activ"]],
    )
    return G, D


def loaded(case: Case) -> tuple[UnitGenerator, MultiscaleDiscriminator]:
    G, D = networks(case.options)
    G.load_state_dict(from_published({k: case.state(f"gen_{k}") for k in "ab"}, "generator"))
    D.load_state_dict(from_published({k: case.state(f"dis_{k}") for k in "ab"}, "discriminator"))
    return G, D


def parts(G: nn.Module, D: nn.Module) -> dict[str, nn.Module]:
    """The four networks in the names of the published program."""
    generators = {f"gen_{k}": G.get_submodule(f"vaes.{k}") for k in "ab"}
    return generators | {f"dis_{k}": D.get_submodule(f"judges.{k}") for k in "ab"}


@pytest.mark.parametrize("file", files("unit_layernorm"))
def test_layer_norm(file: str) -> None:
    case = Case(file)
    for i in range(len(case.options["variants"])):
        x = case[f"in.{i}.x"].clone().requires_grad_()
        layer = LayerNorm(x.shape[1])
        layer.load_state_dict({k: case[f"in.{i}.{k}"] for k in ("gamma", "beta")})
        y = layer(x)
        y.pow(3).mean().backward()
        for name, value in (("y", y), ("dx", x.grad), ("dgamma", layer.gamma.grad), ("dbeta", layer.beta.grad)):
            case.check(f"out.{i}.{name}", value)


@pytest.mark.parametrize("file", files("unit_forward"))
def test_forward(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(file)
    G, D = loaded(case)
    x_a, x_b = case["in.x_a"].clone().requires_grad_(), case["in.x_b"]
    G.eval()
    made_a, extras_a = G(x_a, "a", "a", "b")
    made_b, extras_b = G(x_b, "b", "a")
    outputs = {"h_a": extras_a["mean"], "h_b": extras_b["mean"], "x_ab": made_a["b"], "x_ba": made_b["a"]}
    with monkeypatch.context() as patch:
        patch.setattr(torch, "randn_like", lambda _: case["in.noise_a"])
        G.train()
        outputs["x_a_recon_noisy"] = G(x_a, "a", "a").image
    adversarial = Adversarial(OBJECTIVE[case.options["dis"]["gan_type"]], "sum")
    real, fake, judged = D(x_a.detach(), "a"), D(made_b["a"].detach(), "a"), D(made_a["b"], "b")
    outputs |= {f"dis_a_of_x_a.scale{s}": maps[-1] for s, maps in enumerate(real)}
    outputs |= {f"dis_b_of_x_ab.scale{s}": maps[-1] for s, maps in enumerate(judged)}
    for name, value in outputs.items():
        case.check(f"out.{name}", value)

    total = torch.stack([*adversarial.discriminator(real, fake).values()]).sum()
    total.backward()
    case.check("loss.dis_a", total)
    case.check_gradients("grad.dis.dis_a", parts(G, D)["dis_a"])
    case.check("loss.gen_adv_b", adversarial.generator(judged))
    probe = made_a["a"].square().mean()
    probe.backward()
    case.check("loss.probe", probe)
    case.check_gradients("grad.probe.gen_a", parts(G, D)["gen_a"])
    case.check("grad.probe.input_x_a", x_a.grad.norm().double(), group="grad")


def unit_loss(o: Mapping[str, Any]) -> UnitLoss:
    return UnitLoss(
        domains={k: Domain(k, "image", o[f"input_dim_{k}"]) for k in "ab"},
        gan=o["gan_w"],
        reconstruction=o["recon_x_w"],
        kl=o["recon_kl_w"],
        cycle=o["recon_x_cyc_w"],
        cycle_kl=o["recon_kl_cyc_w"],
        objective=OBJECTIVE[o["dis"]["gan_type"]],
    )


def check_step(case: Case, step: str, images: Mapping[str, Tensor], G_terms: Any, D_terms: Any) -> None:
    o = case.options
    weights = {"gan": "gan_w", "reconstruction": "recon_x_w", "kl": "recon_kl_w"}
    weights |= {"cycle": "recon_x_cyc_w", "cycle_kl": "recon_kl_cyc_w"}
    recorded = {"gan": "adv_{k}", "reconstruction": "recon_x_{k}", "kl": "recon_kl_{k}", "cycle": "cyc_x_{k}"}
    recorded["cycle_kl"] = "recon_kl_cyc_{k}{other}{k}"
    for k, other in ("ab", "ba"):
        for term, name in recorded.items():
            if weight := o[weights[term]]:
                value = G_terms[f"{term}_{k}"] / weight
                case.check(f"loss.{step}.gen_" + name.format(k=k, other=other), value, step)
        if o["gan_w"]:
            case.check(f"loss.{step}.dis_{k}", (D_terms[f"real_{k}"] + D_terms[f"fake_{k}"]) / o["gan_w"], step)
        names = {f"x_{k}_recon": "reconstruction", f"x_{other}{k}": "fake", f"x_{k}{other}{k}": "cycle"}
        for name, ours in names.items():
            if f"out.{step}.gen.{name}" in case:
                case.check(f"out.{step}.gen.{name}", images[f"{ours}_{k}"], step)
    case.check(f"loss.{step}.gen_total", sum(G_terms.values()), step)
    case.check(f"loss.{step}.dis_total", sum(D_terms.values()), step)


@pytest.mark.parametrize("file", files("unit_step"))
def test_training_steps(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(file)
    o = case.options
    G, D = loaded(case)
    loss = unit_loss(o)
    let_call_together(loss, (G, D), allowed=True)
    adam = {"lr": o["lr"], "betas": (o["beta1"], o["beta2"]), "weight_decay": o["weight_decay"]}
    optimizers = {"gen": torch.optim.Adam(G.parameters(), **adam), "dis": torch.optim.Adam(D.parameters(), **adam)}
    order = ("gen.n_a", "gen.n_b", "gen.n_b_recon", "gen.n_a_recon", "dis.n_a", "dis.n_b")
    for number in range(1, o["steps"] + 1):
        step = f"step{number}"
        batch = {k: case[f"in.{step}.x_{k}"] for k in "ab"}
        queue = iter([case[f"in.{step}.noise.{name}"] for name in order])
        monkeypatch.setattr(torch, "randn_like", lambda _, queue=queue: next(queue))
        images = loss.translate(G, batch)
        with torch.no_grad():
            fresh = loss.fakes(G, batch, {name: image.detach() for name, image in images.items()})
        assert next(queue, None) is None
        case.check(f"out.{step}.dis.x_ba", fresh["fake_a"], step)

        D_terms = loss.discriminator_terms(D, batch, fresh)
        optimizers["dis"].zero_grad()
        sum(D_terms.values()).backward()
        optimizers["dis"].step()
        judges = {name: part for name, part in parts(G, D).items() if name.startswith("dis")}
        for name, part in judges.items():
            case.check_gradients(f"grad.{step}.{name}", part, step)

        D.requires_grad_(False)
        G_terms = loss.generator_terms(D, batch, images)
        optimizers["gen"].zero_grad()
        sum(G_terms.values()).backward()
        D.requires_grad_(True)
        optimizers["gen"].step()
        check_step(case, step, images, G_terms, D_terms)
        for name, part in parts(G, D).items():
            if name.startswith("gen"):
                case.check_gradients(f"grad.{step}.{name}", part, step)
            case.check_updated(f"post.{step}.{name}", part, step, allowed_noise=1.1 * number * o["lr"])


@pytest.mark.parametrize("file", files("unit_init_stats"))
def test_initial_statistics(file: str) -> None:
    case = Case(file)
    for run in case.options["runs"]:
        torch.manual_seed(run["seed"])
        for net, part in parts(*networks(run["options"])).items():
            values: dict[str, list[Tensor]] = {}
            for layer in part.modules():
                for leaf, value in layer.named_parameters(recurse=False):
                    kind = "Conv2d" if isinstance(layer, nn.Conv2d) else type(layer).__name__
                    values.setdefault(f"{kind}.{leaf}", []).append(value.detach().double().flatten())
            for name, found in values.items():
                check_sample(torch.cat(found), case[f"init.{run['id']}.{net}.{name}"], f"{net} {name}")
            if net == "gen_a":
                check_each_convolution(part, case[f"init.{run['id']}.gen_a_per_conv_std_and_fan_in"])


def check_each_convolution(network: nn.Module, recorded: Tensor) -> None:
    weights = [m.weight.detach() for m in network.modules() if isinstance(m, nn.Conv2d)]
    for weight, (std, fan_in) in zip(weights, recorded.tolist(), strict=True):
        assert weight[0].numel() == fan_in
        assert abs(weight.std() - std) < 5 * std / weight.numel() ** 0.5


def test_parameter_counts() -> None:
    """The published sizes: 11,140,483 for each autoencoder and 8,271,171 for each discriminator."""
    domains = {k: Domain(k, "image", 3) for k in "ab"}
    with torch.device("meta"):
        G = UnitGenerator(domains=domains, directions=EVERY)
        D = MultiscaleDiscriminator(domains=domains, conditions={})
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in parts(G, D).items()}
    assert counts == {"gen_a": 11_140_483, "gen_b": 11_140_483, "dis_a": 8_271_171, "dis_b": 8_271_171}


@pytest.mark.parametrize("file", files("unit_forward"))
def test_names_go_both_ways(file: str) -> None:
    case = Case(file)
    published = {k: case.state(f"gen_{k}") for k in "ab"}
    wrapped = {k: {f"module.{name}": t for name, t in state.items()} for k, state in published.items()}
    wrapped["a"]["module.enc.model.0.norm.running_mean"] = torch.zeros(1)
    back = to_published(from_published(wrapped, "generator"), "generator")
    assert {k: set(state) for k, state in back.items()} == {k: set(state) for k, state in published.items()}
