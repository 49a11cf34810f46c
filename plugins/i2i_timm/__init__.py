"""timm's backbones in image-to-image translation: a U-Net, a discriminator, two losses that look through one."""

from i2i.registry import hookimpl


@hookimpl
def register_generators() -> dict[str, str]:
    return {"timm_unet": "i2i_timm.unet:timm_unet"}


@hookimpl
def register_discriminators() -> dict[str, str]:
    return {"timm": "i2i_timm.discriminator:TimmDiscriminator"}


@hookimpl
def register_losses() -> dict[str, str]:
    return {
        "perceptual": "i2i_timm.perceptual:PerceptualLoss",
        "self_similarity": "i2i_timm.self_similarity:SelfSimilarityLoss",
    }
