"""SPADE: semantic image synthesis with spatially-adaptive normalisation (Park et al. 2019)."""

from i2i.registry import hookimpl


@hookimpl
def register_generators() -> dict[str, str]:
    return {"spade": "i2i_spade.generator:SpadeGenerator"}


@hookimpl
def register_discriminators() -> dict[str, str]:
    return {"spade": "i2i_spade.discriminator:SpadeDiscriminator"}


@hookimpl
def register_losses() -> dict[str, str]:
    return {"spade": "i2i_spade.loss:SpadeLoss"}


@hookimpl
def register_converters() -> dict[str, str]:
    return {"spade": "i2i_spade.convert:convert"}
