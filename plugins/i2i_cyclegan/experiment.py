"""``from i2i_cyclegan import CycleGAN``."""

from i2i.experiment import Experiment


class CycleGAN(Experiment):
    """CycleGAN (Zhu et al. 2017) between two domains without pairs: ``CycleGAN("data/horses", "data/zebras")``.

    One folder that holds trainA and trainB will do as well. The networks are the published ones, with the published rates.
    """

    defaults = {  # noqa: RUF012 - never mutated
        "generator": {"name": "resnet", "norm": "instance"},
        "discriminator": {"name": "patchgan", "norm": "instance"},
        "loss": {"name": "cyclegan"},
    }
