"""pix2pix's and CycleGAN's networks as the options of a recorded case describe them, under their published names."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from i2i.protocols import Domain
from i2i_cyclegan import weights as resnet_weights
from i2i_cyclegan.networks import resnet
from i2i_pix2pix import weights
from i2i_pix2pix.networks import patchgan, pixel, unet
from parity_cases import Case


def initialisation(o: Mapping[str, Any]) -> dict[str, Any]:
    return {"init": o.get("init_type", "normal"), "init_gain": o.get("init_gain", 0.02)}


def generator(o: Mapping[str, Any], directions: tuple[str, ...] = ("ab",), **over: Any) -> nn.Module:
    """The generator of a case; its options call the width ngf or nf."""
    arch = o.get("netG", o.get("arch"))
    given = {"width": o.get("ngf", o.get("nf")), "norm": o["norm"], "dropout": o["use_dropout"], **initialisation(o), **over}
    domains = {"a": Domain("a", "image", o["input_nc"]), "b": Domain("b", "image", o["output_nc"])}
    kind, given["downs"] = (unet, {"unet_128": 7, "unet_256": 8}[arch]) if arch.startswith("unet") else (resnet, 2)
    if kind is unet:
        given.setdefault("inference", "eval")
    else:
        given["blocks"] = int(arch.removeprefix("resnet_").removesuffix("blocks"))
    return kind(domains=domains, directions=tuple((s, t) for s, t in directions), **given)


def discriminator(o: Mapping[str, Any], domains: Mapping[str, int], conditions: Mapping[str, int]) -> nn.Module:
    arch = o.get("netD", o.get("arch"))
    given = {"width": o.get("ndf", o.get("nf")), "norm": o["norm"], **initialisation(o)}
    if arch == "n_layers":
        given["layers"] = o["n_layers_D"]
    channels = [{key: Domain(key, "image", n) for key, n in side.items()} for side in (domains, conditions)]
    return (pixel if arch == "pixel" else patchgan)(domains=channels[0], conditions=channels[1], **given)


class Network:
    """One of our networks, seen as published networks: ``nets`` maps their names in the case to our keys."""

    def __init__(self, case: Case, network: nn.Module, nets: Mapping[str, str]) -> None:
        self.case, self.network, self.nets = case, network, nets
        arch = case.options.get("netG" if next(iter(nets)).startswith("netG") else "netD")
        self.kind = {"unet": "unet", "pixel": "pixel"}.get(arch.split("_")[0], "patchgan")
        self.is_resnet = arch.startswith("resnet")

    def load(self) -> None:
        """The weights of the case; dropout off, as in the recordings."""
        self.network.load_state_dict(self.ours({key: self.case.state(net) for net, key in self.nets.items()}))
        for module in self.network.modules():
            if "Dropout" in type(module).__name__:
                module.p = 0.0

    def ours(self, states: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
        return resnet_weights.from_published(states) if self.is_resnet else weights.from_published(states, self.kind)

    def published(self, state: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        if self.is_resnet:
            return resnet_weights.to_published(state, dropout=self.case.options["use_dropout"])
        return weights.to_published(state, self.kind)

    def parts(self) -> dict[str, "Part"]:
        return {net: Part(self, key) for net, key in self.nets.items()}


class Part:
    """What ``Case`` asks of a module, under the published names."""

    def __init__(self, of: Network, key: str) -> None:
        self.of, self.key = of, key

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        return iter(self.of.published(dict(self.of.network.named_parameters()))[self.key].items())

    def state_dict(self) -> dict[str, Tensor]:
        return self.of.published(self.of.network.state_dict())[self.key]
