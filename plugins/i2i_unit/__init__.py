"""UNIT: unsupervised image-to-image translation with a latent space shared by both domains (Liu et al. 2017)."""

from typing import TYPE_CHECKING, Any

from i2i.registry import hookimpl

if TYPE_CHECKING:
    from i2i_unit.experiment import UNIT as UNIT


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


def __getattr__(name: str) -> Any:
    """``UNIT``, which is imported on first use: a plugin that is only registered needs no torch."""
    if name != "UNIT":
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from i2i_unit.experiment import UNIT

    return UNIT
