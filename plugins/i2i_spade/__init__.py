"""SPADE: semantic image synthesis with spatially-adaptive normalisation (Park et al. 2019)."""

from typing import TYPE_CHECKING, Any

from i2i.registry import hookimpl

if TYPE_CHECKING:
    from i2i_spade.experiment import SPADE as SPADE


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


def __getattr__(name: str) -> Any:
    """``SPADE``, which is imported on first use: a plugin that is only registered needs no torch."""
    if name != "SPADE":
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from i2i_spade.experiment import SPADE

    return SPADE
