"""A diffusion bridge between paired domains: Li et al., "BBDM: Image-to-image Translation with Brownian Bridge Diffusion
Models", CVPR 2023. At time 0 there is the target image, at time 1 the source image, and a Brownian bridge in between."""

from i2i.registry import hookimpl

I2I_CONTRACT = 1


@hookimpl
def register_generators() -> dict[str, str]:
    return {"bridge": "i2i_bridge.generator:Bridge"}


@hookimpl
def register_losses() -> dict[str, str]:
    return {"bridge": "i2i_bridge.loss:BridgeLoss"}
