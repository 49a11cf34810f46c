"""pix2pix's and CycleGAN's networks and image pool against recorded values of the published program."""

import random

import pytest
import torch
from torch import Tensor, nn

from i2i_cyclegan.pool import ImagePool
from junyanz import Network, discriminator, generator
from parity_cases import Case, check_sample, files

LAYERS = {"Conv2d": nn.Conv2d, "ConvTranspose2d": nn.ConvTranspose2d, "BatchNorm2d": nn.BatchNorm2d}


def check_modes(case: Case, network: Network, net: str, output: str) -> None:
    network.load()
    (key,) = network.nets.values()
    x = case["in.x"].clone().requires_grad_()
    for mode in case.options["modes"]:
        network.network.train(mode == "train").zero_grad()
        x.grad = None
        y = network.network(x, *key.split("_"))
        y = y[0][-1] if isinstance(y, list) else y.image
        case.check(f"out.{mode}.{output}", y)
        probe = y.square().mean()
        probe.backward()
        case.check(f"loss.{mode}.probe", probe)
        case.check_gradients(f"grad.{mode}.{net}", network.parts()[net])
        if f"grad.{mode}.input_x" in case:
            case.check(f"grad.{mode}.input_x", x.grad.norm().double(), group="grad")
    state = network.parts()[net].state_dict()
    for name in case.tensors:
        if name.startswith(f"after.{net}."):
            case.check(name, state[name.removeprefix(f"after.{net}.")])


@pytest.mark.parametrize("file", files("generator"))
def test_generator(file: str) -> None:
    case = Case(file)
    check_modes(case, Network(case, generator(case.options), {"netG": "a_b"}), "netG", "y")


@pytest.mark.parametrize("file", files("discriminator"))
def test_discriminator(file: str) -> None:
    case = Case(file)
    D = discriminator(case.options, {"b": case.options["input_nc"]}, {})
    check_modes(case, Network(case, D, {"netD": "b"}), "netD", "pred")


@pytest.mark.parametrize("file", files("image_pool"))
def test_image_pool(file: str) -> None:
    case = Case(file)
    for number, trace in enumerate(case.options["traces"]):
        pool = ImagePool(trace["pool_size"])
        random.seed(trace["seed"])
        ids, returned = iter(case[f"in.{number}.ids"].float()), []
        for query, size in enumerate(trace["batches"]):
            images = torch.stack([next(ids) for _ in range(size)]).view(size, 1, 1, 1)
            returned += pool(images).flatten().tolist()
            if f"out.{number}.pool_after_query" in case:
                held = [int(image) for image in pool.buffers()]
                held += [0] * (trace["pool_size"] - len(held))
                assert held == case[f"out.{number}.pool_after_query"][query].tolist()
        assert returned == case[f"out.{number}.returned"].tolist()
        assert random.random() == float(case[f"out.{number}.next_random"])


@pytest.mark.parametrize("file", files("init_stats"))
def test_initial_statistics(file: str) -> None:
    case = Case(file)
    for o in case.options["nets"]:
        torch.manual_seed(o["seed"])
        network = generator(o) if o["net"] == "G" else discriminator(o, {"b": o["input_nc"]}, {})
        values: dict[str, list[Tensor]] = {}
        for layer in network.modules():
            for kind in (name for name, cls in LAYERS.items() if isinstance(layer, cls)):
                for leaf, value in layer.named_parameters(recurse=False):
                    values.setdefault(f"{kind}.{leaf}", []).append(value.detach().flatten())
        recorded = [name for name in case.tensors if name.startswith(f"init.{o['id']}.")]
        assert {name.split(".", 2)[2] for name in recorded} == set(values)
        for name in recorded:
            check_sample(torch.cat(values[name.split(".", 2)[2]]), case[name], name)


IMAGES = {"input_nc": 3, "output_nc": 3, "nf": 64, "use_dropout": True}


@pytest.mark.parametrize(
    ("arch", "norm", "count"),
    [
        ("unet_256", "batch", 54_413_955),
        ("unet_128", "batch", 41_828_995),
        ("resnet_9blocks", "instance", 11_378_179),
        ("resnet_6blocks", "instance", 7_837_699),
        ("resnet_9blocks", "batch", 11_383_427),
    ],
)
def test_parameter_counts_of_generators(arch: str, norm: str, count: int) -> None:
    with torch.device("meta"):
        network = generator({**IMAGES, "arch": arch, "norm": norm})
    assert sum(p.numel() for p in network.parameters()) == count


@pytest.mark.parametrize(
    ("arch", "norm", "channels", "count"),
    [("basic", "batch", 6, 2_768_705), ("basic", "instance", 3, 2_764_737), ("pixel", "batch", 6, 9_024)],
)
def test_parameter_counts_of_discriminators(arch: str, norm: str, channels: int, count: int) -> None:
    with torch.device("meta"):
        network = discriminator({"nf": 64, "arch": arch, "norm": norm}, {"b": channels}, {})
    assert sum(p.numel() for p in network.parameters()) == count


@pytest.mark.parametrize("file", files("generator") + files("discriminator"))
def test_names_go_both_ways(file: str) -> None:
    """Wrapped names are accepted; running statistics of a norm without weights are left out."""
    case = Case(file)
    (net,) = case.state_keys
    state = case.state(net)
    G = net == "netG"
    network = Network(case, generator(case.options) if G else discriminator(case.options, {"b": 3}, {}), {net: "b"})
    wrapped = {f"module._orig_mod.{name}": tensor for name, tensor in state.items()}
    if case.options["norm"] == "instance":
        norm = "module._orig_mod.model." + ("2" if G else "3")
        wrapped |= {f"{norm}.running_mean": torch.zeros(1), f"{norm}.running_var": torch.ones(1)}
    back = network.published(network.ours({"b": wrapped}))["b"]
    assert set(back) == set(state)
    assert all(torch.equal(back[name], state[name]) for name in state)
