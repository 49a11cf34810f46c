"""UNIT: unsupervised image-to-image translation with a latent space shared by both domains (Liu et al. 2017)."""

from i2i.registry import hookimpl


@hookimpl
def register_generators() -> dict[str, str]:
    return {"unit": "i2i_unit.networks:UnitGenerator"}


@hookimpl
def register_discriminators() -> dict[str, str]:
    return {"multiscale": "i2i_unit.networks:MultiscaleDiscriminator"}


@hookimpl
def register_losses() -> dict[str, str]:
    return {"unit": "i2i_unit.loss:UnitLoss"}


@hookimpl
def register_converters() -> dict[str, str]:
    return {"unit": "i2i_unit.convert:convert"}
