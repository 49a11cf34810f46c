"""A diffusion bridge between paired domains: Li et al., "BBDM: Image-to-image Translation with Brownian Bridge Diffusion
Models", CVPR 2023. Time 0 is the target image, time 1 the source image; between them lies a Brownian bridge."""

from i2i.registry import hookimpl

I2I_CONTRACT = 1


@hookimpl
def register_generators() -> dict[str, str]:
    return {"bridge": "i2i_bridge.generator:Bridge"}


@hookimpl
def register_losses() -> dict[str, str]:
    return {"bridge": "i2i_bridge.loss:BridgeLoss"}
