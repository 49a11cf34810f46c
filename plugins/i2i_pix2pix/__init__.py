"""pix2pix: paired image-to-image translation with a conditional adversarial network (Isola et al. 2017)."""

from typing import TYPE_CHECKING, Any

from i2i.registry import hookimpl

if TYPE_CHECKING:
    from i2i_pix2pix.experiment import Pix2Pix as Pix2Pix


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


def __getattr__(name: str) -> Any:
    """``Pix2Pix``, which is imported on first use: a plugin that is only registered needs no torch."""
    if name != "Pix2Pix":
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from i2i_pix2pix.experiment import Pix2Pix

    return Pix2Pix
