"""CycleGAN: unpaired image-to-image translation with cycle consistency (Zhu et al. 2017)."""

from i2i.registry import hookimpl


@hookimpl
def register_generators() -> dict[str, str]:
    return {"resnet": "i2i_cyclegan.networks:resnet"}


@hookimpl
def register_losses() -> dict[str, str]:
    return {"cyclegan": "i2i_cyclegan.loss:CycleGANLoss"}


@hookimpl
def register_converters() -> dict[str, str]:
    return {"junyanz": "i2i_cyclegan.convert:convert"}
