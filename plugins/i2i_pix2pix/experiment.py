"""``from i2i_pix2pix import Pix2Pix``."""

from i2i.experiment import Experiment


class Pix2Pix(Experiment):
    """pix2pix (Isola et al. 2017) on pairs: ``Pix2Pix("data/facades")`` or ``Pix2Pix("data/maps", "data/photos")``.

    One folder holds pictures A|B side by side, or trainA and trainB; of two folders those of one name are a pair. The networks
    are the published ones, with the published rates.
    """

    layout = "paired"
    defaults = {  # noqa: RUF012 - never mutated
        "generator": {"name": "unet"},
        "discriminator": {"name": "patchgan", "norm": "batch"},
        "loss": {"name": "pix2pix"},
    }
