"""``from i2i_unit import UNIT``."""

from i2i.experiment import Experiment

_RATE = {"lr": 1e-4, "weight_decay": 1e-4}


class UNIT(Experiment):
    """UNIT (Liu et al. 2017) between two domains without pairs: ``UNIT("data/day", "data/night")``.

    One folder that holds trainA and trainB will do as well. The networks are those of the later program, with its rates.
    """

    defaults = {  # noqa: RUF012 - never mutated
        "generator": {"name": "unit"},
        "discriminator": {"name": "multiscale"},
        "loss": {"name": "unit"},
        "train": {"generator": _RATE, "discriminator": _RATE},
    }
