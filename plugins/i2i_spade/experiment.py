"""``from i2i_spade import SPADE``."""

from i2i.experiment import Experiment


class SPADE(Experiment):
    """SPADE (Park et al. 2019): label maps to pictures, ``SPADE("data/maps", "data/photos", classes=12)``.

    ``classes`` is their number or their names, or ``colors`` says them by colour; a map and its picture have the same name. The
    networks and rates are the published ones. The published loss has a perceptual term besides, which needs weights from the
    hub: ``loss=["spade", {"name": "perceptual", "weight": 10, "backbone": "vgg19"}]``.
    """

    layout = "labels"
    defaults = {  # noqa: RUF012 - never mutated
        "generator": {"name": "spade"},
        "discriminator": {"name": "spade"},
        "loss": {"name": "spade"},
        "train": {"generator": {"lr": 1e-4, "betas": [0, 0.9]}, "discriminator": {"lr": 4e-4, "betas": [0, 0.9]}},
    }
