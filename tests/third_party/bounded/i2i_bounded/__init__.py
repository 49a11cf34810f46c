"""A learnt mix of two norms whose share stays in [0, 1]: Kim et al., "U-GAT-IT", ICLR 2020, section 2.1.1, equation 1."""

from typing import Any

from i2i import hookimpl, per_direction

I2I_CONTRACT = 1


@hookimpl
def register_generators() -> dict[str, Any]:
    from i2i_bounded.generator import Balanced

    return {"bounded": per_direction(Balanced)}
