"""SPADE against recorded values of the published program: layers, networks, losses, whole training steps."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from i2i.building.nested import total
from i2i.labels import to_network
from i2i.layers import set_fast
from i2i.objectives import Adversarial
from i2i.protocols import Domain
from i2i_spade.discriminator import SpadeDiscriminator
from i2i_spade.encoder import drawn
from i2i_spade.generator import SpadeGenerator
from i2i_spade.layers import BatchNorm, Spade, SpadeBlock
from i2i_spade.loss import SpadeLoss, divergence
from i2i_spade.weights import from_published, to_published
from parity_cases import Case, check_sample, files

NORM = {
    "instance": "instance",
    "batch": "batch",
    "syncbatch": "sync_batch",
    "sync_batch": "sync_batch",
    "none": "none",
    "": "none",
}
OBJECTIVE = {"hinge": "hinge", "ls": "lsgan", "original": "bce", "w": "wgan"}
DOUBLINGS = {"normal": 5, "more": 6, "most": 7}


def modulation(text: str) -> dict[str, Any]:
    """``spectralspadebatch3x3`` in our options; the recorded hidden width is always 128."""
    found = re.fullmatch(r"(spectral)?spade(instance|syncbatch|batch)(\d)x\3", text)
    assert found, text
    return {"spectral": bool(found[1]), "norm": NORM[found[2]], "kernel": int(found[3])}


def patch_norm(text: str) -> dict[str, Any]:
    """``spectralinstance`` in our options."""
    return {"spectral": text.startswith("spectral"), "norm": NORM[text.removeprefix("spectral")]}


def domains(o: Mapping[str, Any]) -> dict[str, Domain]:
    labels = Domain("labels", "labels", o["semantic_nc"], instances=not o["no_instance"])
    return {"a": labels, "b": Domain("photo", "image", o.get("output_nc", 3))}


def generator(o: Mapping[str, Any], **options: Any) -> SpadeGenerator:
    doublings = DOUBLINGS[o["num_upsampling_layers"]]
    columns = o["crop_size"] // 2**doublings
    rows = round(columns / o["aspect_ratio"])
    return SpadeGenerator(
        domains=domains(o),
        directions=(("a", "b"),),
        width=o["ngf"],
        upsampling=o["num_upsampling_layers"],
        vae=o["use_vae"],
        style_size=o.get("z_dim", 256),
        size=(rows << doublings, columns << doublings),
        **modulation(o["norm_G"]),
        **options,
    )


def encoding_generator(o: Mapping[str, Any], **options: Any) -> SpadeGenerator:
    """A small generator around the encoder of the options."""
    sides = {"a": Domain("labels", "labels", 2), "b": Domain("photo", "image", 3)}
    assert o["norm_E"] == "spectralinstance"
    return SpadeGenerator(
        domains=sides,
        directions=(("a", "b"),),
        width=1,
        hidden=1,
        vae=True,
        size=(32, 32),
        encoder_width=o["ngf"],
        **options,
    )


def discriminator(o: Mapping[str, Any], **options: Any) -> SpadeDiscriminator:
    sides = domains(o)
    return SpadeDiscriminator(
        domains={"b": sides["b"]},
        conditions={"b": sides["a"]},
        width=o["ndf"],
        layers=o["n_layers_D"],
        scales=o["num_D"],
        **patch_norm(o["norm_D"]),
        **options,
    )


class Published:
    """A network whose parameters and state have their published names."""

    def __init__(self, network: nn.Module, net: str) -> None:
        self.network, self.net = network, net
        self.kind: Any = "discriminator" if net == "netD" else "generator"

    def _named(self, state: Mapping[str, Any]) -> dict[str, Any]:
        return to_published(state, self.kind)[self.net]

    def named_parameters(self) -> Iterable[tuple[str, nn.Parameter]]:
        return self._named(dict(self.network.named_parameters())).items()

    def state_dict(self) -> dict[str, Tensor]:
        return self._named(self.network.state_dict())

    def check_buffers(self, case: Case) -> None:
        """Every entry of the recorded buffers; running means absolutely, as the noise in a bias moves them."""
        state, prefix = self.state_dict(), f"after.{self.net}."
        for name in (name for name in case.tensors if name.startswith(prefix)):
            value = state[name.removeprefix(prefix)]
            if name.endswith("running_mean") and "running_mean_abs" in case.rtol["all"]:
                error = (value - case[name]).abs().max()
                assert error <= case.tolerance("running_mean_abs"), f"{name}: off by {error:.2e}"
            else:
                case.check(name, value)


def sources(case: Case, prefix: str = "in") -> Tensor:
    """One-hot labels, with the instances' borders unless the options say no."""
    maps = [case[f"{prefix}.label"].long()]
    if not case.options["no_instance"]:
        maps.append(case[f"{prefix}.instance"].long())
    return to_network(torch.cat(maps, 1), domains(case.options)["a"])


def probe(outputs: Iterable[Tensor]) -> Tensor:
    return torch.stack([y.square().mean() for y in outputs]).sum()


@pytest.mark.parametrize("file", files("spade_block"))
def test_block(file: str) -> None:
    """The modulation alone, and the residual block."""
    case = Case(file)
    o = case.options
    inner = o["module"] == "SPADE"
    options = modulation(o["config"] if inner else o["norm_G"])
    spectral = options.pop("spectral")
    layer: nn.Module
    if inner:
        layer = Spade(o["fin"], o["semantic_nc"], hidden=128, **options)
    else:
        layer = SpadeBlock(o["fin"], o["fout"], o["semantic_nc"], hidden=128, spectral=spectral, **options)
    theirs, ours = ("head_0.norm_0", "blocks.0.norm_0") if inner else ("head_0", "blocks.0")
    state = from_published({"netG": {f"{theirs}.{k}": v for k, v in case.state("netG").items()}}, "generator")
    prefix = f"networks.a_b.{ours}."
    layer.load_state_dict({k.removeprefix(prefix): v for k, v in state.items()})
    names = dict(zip((k.removeprefix(prefix) for k in state), case.state_keys["netG"], strict=True))

    class Named:
        def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
            return ((names[k], p) for k, p in layer.named_parameters())

    for mode in (mode for mode in ("eval", "train") if f"out.{mode}.y" in case):
        layer.train(mode == "train").zero_grad()
        x, seg = case["in.x"].clone().requires_grad_(), case["in.seg"].clone().requires_grad_()
        y = layer(x, seg)
        loss = probe([y])
        loss.backward()
        case.check(f"out.{mode}.y", y)
        case.check(f"loss.{mode}.probe", loss)
        case.check(f"out.{mode}.dx", x.grad)
        case.check(f"grad.{mode}.input_seg", seg.grad.norm().double(), group="grad")
        case.check_gradients(f"grad.{mode}.netG", Named())
    after = {names[k]: v for k, v in layer.state_dict().items()}
    for name in (name for name in case.tensors if name.startswith("after.netG.")):
        case.check(name, after[name.removeprefix("after.netG.")])


@pytest.mark.parametrize("file", files("spade_generator"))
def test_generator(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(file)
    G = generator(case.options)
    missing = G.load_state_dict(from_published({"netG": case.state("netG")}, "generator"), strict=False)
    assert not missing.unexpected_keys
    assert all(".encoder." in name for name in missing.missing_keys)
    x = sources(case)
    if case.options["use_vae"]:
        monkeypatch.setattr(torch, "randn", lambda *_, **__: case["in.z"])
    for mode in case.options["modes"]:
        G.train(mode == "train").zero_grad()
        y = G(x, "a", "b").image
        loss = probe([y])
        loss.backward()
        if f"out.{mode}.y" in case:
            case.check(f"out.{mode}.y", y)
        case.check(f"loss.{mode}.probe", loss)
        case.check_gradients(f"grad.{mode}.netG", Published(G, "netG"))
    Published(G, "netG").check_buffers(case)


@pytest.mark.parametrize("file", files("spade_discriminator"))
def test_discriminator(file: str) -> None:
    case = Case(file)
    o = case.options
    D = discriminator(o)
    D.load_state_dict(from_published({"netD": case.state("netD")}, "discriminator"))
    x = case["in.x"].clone().requires_grad_()
    for mode in o["modes"]:
        D.train(mode == "train").zero_grad()
        x.grad = None
        seen = x.split((o["semantic_nc"], x.shape[1] - o["semantic_nc"]), 1)
        verdict = D(seen[1], "b", seen[0])
        if o["no_ganFeat_loss"]:
            verdict = [scale[-1:] for scale in verdict]
        for s, maps in enumerate(verdict):
            for i, value in enumerate(maps):
                last = i == len(maps) - 1
                if last or f"out.{mode}.D{s}.layer{i}" in case:
                    case.check(f"out.{mode}.D{s}.layer{i}", value)
        loss = probe(value for maps in verdict for value in maps)
        loss.backward()
        case.check(f"loss.{mode}.probe", loss)
        case.check_gradients(f"grad.{mode}.netD", Published(D, "netD"))
        for name in (name for name in case.tensors if name.startswith(f"grad.{mode}.input")):
            case.check(name, x.grad.norm().double(), group="grad")
    Published(D, "netD").check_buffers(case)


@pytest.mark.parametrize("file", files("spade_encoder"))
def test_encoder(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(file)
    o = case.options
    G = encoding_generator(o)
    encoder = G.get_submodule("networks.a_b.encoder").train(o["mode"] == "train")
    for i in range(len(o["sizes"])):
        G.load_state_dict(from_published({"netE": case.state("netE")}, "generator"), strict=False)
        G.zero_grad()
        monkeypatch.setattr(torch, "randn_like", lambda _, i=i: case[f"in.eps{i}"])
        image = case[f"in.image{i}"].clone().requires_grad_()
        mean, logvar = encoder(image)
        for name, value in (("mu", mean), ("logvar", logvar), ("z", drawn(mean, logvar))):
            case.check(f"out.{i}.{name}", value)
        kl = divergence(mean, logvar)
        case.check(f"loss.{i}.KLD_unweighted", kl)
        case.check(f"loss.{i}.KLD", o["lambda_kld"] * kl)
        (o["lambda_kld"] * kl).backward()
        case.check_gradients(f"grad.{i}.netE", Published(G, "netE"))
        case.check(f"grad.{i}.input_image", image.grad.norm().double(), group="grad")
        Published(G, "netE").check_buffers(case)


@pytest.mark.parametrize("file", files("spade_kld"))
def test_divergence(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(file)
    mean, logvar = (case[f"in.{name}"].clone().requires_grad_() for name in ("mu", "logvar"))
    monkeypatch.setattr(torch, "randn_like", lambda _: case["in.eps"])
    case.check("out.z", drawn(mean, logvar))
    loss = divergence(mean, logvar)
    loss.backward()
    case.check("loss.KLD", loss)
    case.check("out.dmu", mean.grad)
    case.check("out.dlogvar", logvar.grad)


@pytest.mark.parametrize("file", files("spade_ganloss"))
def test_objectives(file: str) -> None:
    """One tensor, and a list of scales of which only the last entries count."""
    case = Case(file)
    for name in (name for name in case.tensors if name.startswith("loss.")):
        _, form, mode, side, player = name.split(".")
        adversarial = Adversarial(OBJECTIVE[mode], "mean")
        objective = adversarial.objective
        loss = {"realD": objective.real, "realG": objective.generator}.get(side + player, objective.fake)
        scales = sorted({key.split(".")[2] for key in case.tensors if key.startswith("in.list.")}) if form == "list" else [""]
        layers = {s: sorted(key for key in case.tensors if key.startswith(f"in.list.{s}.")) for s in scales}
        keys = {s: layers[s] if form == "list" else ["in.single"] for s in scales}
        verdict = [[case[key].clone().requires_grad_() for key in keys[s]] for s in scales]
        value = adversarial._over(loss, verdict)
        value.backward()
        case.check(name, value)
        for s, maps in zip(scales, verdict, strict=True):
            inner = f"{s}." if s else ""
            case.check(f"out.{form}.dlogits.{inner}{mode}.{side}.{player}", maps[-1].grad)
            assert all(earlier.grad is None for earlier in maps[:-1])


class Recorded:
    """A network that keeps what it returned, each call in turn."""

    def __init__(self, network: nn.Module) -> None:
        self.network, self.returned = network, []

    def __call__(self, *given: Any, **named: Any) -> Any:
        self.returned.append(self.network(*given, **named))
        return self.returned[-1]


def check_verdict(case: Case, name: str, verdict: list[list[Tensor]], step: str) -> None:
    for s, maps in enumerate(verdict):
        if f"{name}.pred.D{s}" in case:
            case.check(f"{name}.pred.D{s}", maps[-1], step)


ROUNDING = "spade_step_novae.safetensors"
"""Adam moves a bias before a norm by the sign of its gradient, which is rounding: here it depends on the order of a sum."""


@pytest.mark.parametrize("file", files("spade_step"))
def test_training_steps(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(file)
    o = case.options
    nets = ("netG", "netE") if o["use_vae"] else ("netG",)
    G, D = Recorded(generator(o)), Recorded(discriminator(o))
    G.network.load_state_dict(from_published({net: case.state(net) for net in nets}, "generator"))
    D.network.load_state_dict(from_published({"netD": case.state("netD")}, "discriminator"))
    set_fast((G.network, D.network), file != ROUNDING)
    loss = SpadeLoss(
        domains=domains(o),
        objective=OBJECTIVE[o["gan_mode"]],
        features=0.0 if o["no_ganFeat_loss"] else o["lambda_feat"],
        kl=o["lambda_kld"],
        vae=o["use_vae"],
    )
    rates = {"G": o["lr"], "D": o["lr"]} if o["no_TTUR"] else {"G": o["lr"] / 2, "D": o["lr"] * 2}
    for player, rate in rates.items():
        assert rate == pytest.approx(float(case[f"out.lr_{player}"]))
    adam = {
        player: torch.optim.Adam(net.network.parameters(), lr=rates[player], betas=(o["beta1"], o["beta2"]))
        for player, net in (("G", G), ("D", D))
    }
    for number in range(1, o["steps"] + 1):
        step = f"step{number}"
        batch = {"a": sources(case, f"in.{step}"), "b": case[f"in.{step}.image"]}
        if o["use_vae"]:
            queue = iter([case[f"in.{step}.eps.{player}"] for player in "GD"])
            monkeypatch.setattr(torch, "randn_like", lambda _, queue=queue: next(queue))

        images = loss.translate(G, batch)
        D.network.requires_grad_(False)
        terms = loss.generator_terms(D, batch, images)
        D.network.requires_grad_(True)
        adam["G"].zero_grad()
        total(terms).backward()
        for net in nets:
            case.check_gradients(f"grad.{step}.{net}", Published(G.network, net), step)
        adam["G"].step()
        if f"out.{step}.G.fake" in case:
            case.check(f"out.{step}.G.fake", images["fake_b"], step)
        check_verdict(case, f"out.{step}.G", D.returned[-1], step)
        for ours, theirs in (("gan_b", "GAN"), ("features_b", "GAN_Feat"), ("kl_b", "KLD")):
            if ours in terms:
                case.check(f"loss.{step}.G.{theirs}", terms[ours], step)
            elif f"loss.{step}.G.{theirs}" in case:
                assert case[f"loss.{step}.G.{theirs}"] == 0
        case.check(f"loss.{step}.G.total", total(terms), step)

        with torch.no_grad():
            fresh = loss.fakes(G, batch, {name: image.detach() for name, image in images.items()})
        terms = loss.discriminator_terms(D, batch, fresh)
        adam["D"].zero_grad()
        total(terms).backward()
        case.check_gradients(f"grad.{step}.netD", Published(D.network, "netD"), step)
        adam["D"].step()
        if f"out.{step}.D.fake" in case:
            case.check(f"out.{step}.D.fake", fresh["fake_b"], step)
        check_verdict(case, f"out.{step}.D", D.returned[-1], step)
        for ours, theirs in (("fake_b", "D_Fake"), ("real_b", "D_real")):
            case.check(f"loss.{step}.D.{theirs}", terms[ours], step)
        case.check(f"loss.{step}.D.total", total(terms), step)
        for net in (*nets, "netD"):
            player = D.network if net == "netD" else G.network
            noise = 1.1 * number * rates["D" if net == "netD" else "G"]
            case.check_updated(f"post.{step}.{net}", Published(player, net), step, allowed_noise=noise)
    for net in (*nets, "netD"):
        Published(D.network if net == "netD" else G.network, net).check_buffers(case)
    assert (len(G.returned), len(D.returned)) == (2 * o["steps"], 2 * o["steps"])


@pytest.mark.parametrize("file", files("spade_init_stats"))
def test_initial_statistics(file: str) -> None:
    case = Case(file)
    builders = {"G": generator, "D": discriminator, "E": encoding_generator}
    for run in case.options["nets"]:
        o = {"use_vae": False, "num_upsampling_layers": "normal", **run["options"]}
        torch.manual_seed(run["seed"])
        network = builders[run["net"]](o, init=o["init_type"], init_gain=o["init_variance"])
        part = network
        if run["net"] == "E":
            part = network.get_submodule("networks.a_b.encoder")
        elif run["net"] == "G":
            network.get_submodule("networks.a_b").encoder = None
        values: dict[str, list[Tensor]] = {}
        for layer in part.modules():
            for leaf, value in layer.named_parameters(recurse=False):
                kind = "BatchNorm2d" if isinstance(layer, BatchNorm) else "Linear" if isinstance(layer, nn.Linear) else "Conv2d"
                values.setdefault(f"{kind}.{leaf}", []).append(value.detach().double().flatten())
        for name in (name for name in case.tensors if name.startswith(f"init.{run['id']}.")):
            kind = re.sub(r"\w*BatchNorm2d", "BatchNorm2d", name.removeprefix(f"init.{run['id']}."))
            if kind == "per_layer_std_fanin_fanout":
                net = Published(network, f"net{run['net']}")
                check_layers([p for _, p in net.named_parameters() if p.ndim >= 2], case[name])
            else:
                check_sample(torch.cat(values[kind]), case[name], name)


def check_layers(weights: list[Tensor], recorded: Tensor) -> None:
    for weight, (std, fan_in, fan_out) in zip(weights, recorded.tolist(), strict=True):
        assert weight[0].numel() == fan_in
        assert weight.numel() // weight.shape[1] == fan_out
        assert abs(weight.detach().std() - std) < 5 * std / weight.numel() ** 0.5


SIZES = {"cityscapes": (36, "more", (256, 512)), "ade20k": (151, "normal", (256, 256)), "coco": (184, "normal", (256, 256))}
COUNTS = {
    "cityscapes": (93_048_003, 101_136_579, 5_601_410),
    "ade20k": (96_492_483, 111_942_595, 5_836_930),
    "coco": (97_480_899, 112_626_883, 5_904_514),
}


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("name", SIZES)
def test_parameter_counts(name: str) -> None:
    """The published sizes: the generator without and with the VAE, the discriminator, the encoder."""
    channels, upsampling, size = SIZES[name]
    a, b = Domain("labels", "labels", channels), Domain("photo", "image", 3)
    built: Any = {"domains": {"a": a, "b": b}, "directions": (("a", "b"),), "upsampling": upsampling}
    with torch.device("meta"):
        plain = SpadeGenerator(**built)
        vae = SpadeGenerator(**built, vae=True, size=size)
        D = SpadeDiscriminator(domains={"b": b}, conditions={"b": a})
    encoder = count(vae.get_submodule("networks.a_b.encoder"))
    assert encoder == 10_463_424
    assert (count(plain), count(vae) - encoder, count(D)) == COUNTS[name]


@pytest.mark.parametrize("file", files("spade_step"))
def test_names_go_both_ways(file: str) -> None:
    case = Case(file)
    for kind, nets in (("generator", ("netG", "netE")), ("discriminator", ("netD",))):
        states = {net: case.state(net) for net in nets if net in case.state_keys}
        wrapped = {net: {f"_orig_mod.module.{k}": v for k, v in state.items()} for net, state in states.items()}
        back = to_published(from_published(wrapped, kind), kind)
        assert {net: set(state) for net, state in back.items()} == {net: set(state) for net, state in states.items()}
        assert all(torch.equal(back[net][k], v) for net, state in states.items() for k, v in state.items())
