"""pix2pix: paired image-to-image translation with a conditional adversarial network (Isola et al. 2017)."""

from i2i.registry import hookimpl


@hookimpl
def register_generators() -> dict[str, str]:
    return {"unet": "i2i_pix2pix.networks:unet"}


@hookimpl
def register_discriminators() -> dict[str, str]:
    return {"patchgan": "i2i_pix2pix.networks:patchgan", "pixel": "i2i_pix2pix.networks:pixel"}


@hookimpl
def register_losses() -> dict[str, str]:
    return {"pix2pix": "i2i_pix2pix.loss:Pix2PixLoss"}


@hookimpl
def register_converters() -> dict[str, str]:
    return {"junyanz": "i2i_pix2pix.convert:convert"}
