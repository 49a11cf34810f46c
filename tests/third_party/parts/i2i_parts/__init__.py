"""Translation with an optional style, taken from a reference image: Huang and Belongie, "Arbitrary Style Transfer in Real-time
with Adaptive Instance Normalization", ICCV 2017, with a style encoder as in Huang et al., MUNIT, ECCV 2018."""

from i2i import hookimpl


@hookimpl
def register_generators():
    return {"parts": "i2i_parts.generator:Styled"}


@hookimpl
def register_losses():
    return {"parts": "i2i_parts.loss:Paired"}
