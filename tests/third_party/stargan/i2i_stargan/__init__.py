"""StarGAN: one network for any number of domains, told apart by a classifier (Choi et al. 2018)."""

from i2i.registry import hookimpl


@hookimpl
def register_generators() -> dict[str, str]:
    return {"stargan": "i2i_stargan.networks:StarGenerator"}


@hookimpl
def register_discriminators() -> dict[str, str]:
    return {"stargan": "i2i_stargan.networks:StarDiscriminator"}


@hookimpl
def register_losses() -> dict[str, str]:
    return {"stargan": "i2i_stargan.loss:StarLoss"}


@hookimpl
def register_datasets() -> dict[str, str]:
    return {"tints": "i2i_stargan.tints:Tints"}
