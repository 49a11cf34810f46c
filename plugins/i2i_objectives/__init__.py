"""Adversarial objectives: what both players minimise, given the discriminator's logits."""

from i2i.registry import hookimpl


@hookimpl
def register_objectives() -> dict[str, str]:
    return {
        "bce": "i2i_objectives.plain:CrossEntropy",
        "non_saturating": "i2i_objectives.plain:CrossEntropy",
        "lsgan": "i2i_objectives.plain:LeastSquares",
        "hinge": "i2i_objectives.plain:Hinge",
        "wgan": "i2i_objectives.plain:Wasserstein",
        "relativistic": "i2i_objectives.paired:Relativistic",
    }
