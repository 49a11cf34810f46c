"""timm's backbones in image-to-image translation: the perceptual loss."""

from i2i.registry import hookimpl


@hookimpl
def register_losses() -> dict[str, str]:
    return {"perceptual": "i2i_timm.perceptual:PerceptualLoss"}
