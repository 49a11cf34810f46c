"""Many translations of one image, with a mapping network: Karras et al., "A Style-Based Generator Architecture for Generative
Adversarial Networks", CVPR 2019, and a diversity term as in Choi et al., "StarGAN v2", CVPR 2020, equation 4."""

from typing import Any

from i2i import hookimpl, per_direction

I2I_CONTRACT = 1


@hookimpl
def register_generators() -> dict[str, Any]:
    from i2i_rates.generator import Mapped

    return {"rates": per_direction(Mapped)}


@hookimpl
def register_losses() -> dict[str, str]:
    return {"rates": "i2i_rates.loss:Diverse"}
