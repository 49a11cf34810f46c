"""Any number of domains with styles, after StarGAN v2 (Choi et al. 2020)."""

from i2i import hookimpl


@hookimpl
def register_generators():
    return {"seasons": "i2i_seasons.networks:Painter"}


@hookimpl
def register_discriminators():
    return {"seasons": "i2i_seasons.networks:Judge"}


@hookimpl
def register_losses():
    return {"seasons": "i2i_seasons.loss:Seasons"}


@hookimpl
def register_datasets():
    return {"seasons": "i2i_seasons.toy:Toy"}
