"""CycleGAN: unpaired image-to-image translation with cycle consistency (Zhu et al. 2017)."""

from typing import TYPE_CHECKING, Any

from i2i.registry import hookimpl

if TYPE_CHECKING:
    from i2i_cyclegan.experiment import CycleGAN as CycleGAN


@hookimpl
def register_generators() -> dict[str, str]:
    return {"resnet": "i2i_cyclegan.networks:resnet"}


@hookimpl
def register_losses() -> dict[str, str]:
    return {"cyclegan": "i2i_cyclegan.loss:CycleGANLoss"}


@hookimpl
def register_converters() -> dict[str, str]:
    return {"junyanz": "i2i_cyclegan.convert:convert"}


def __getattr__(name: str) -> Any:
    """``CycleGAN``, which is imported on first use: a plugin that is only registered needs no torch."""
    if name != "CycleGAN":
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from i2i_cyclegan.experiment import CycleGAN

    return CycleGAN
