"""CUT: contrastive learning for unpaired translation (Park et al. 2020)."""

from i2i import hookimpl

I2I_CONTRACT = 1


@hookimpl
def register_generators() -> dict[str, str]:
    return {"cut": "i2i_cut.generator:CutGenerator"}


@hookimpl
def register_losses() -> dict[str, str]:
    return {"cut": "i2i_cut.loss:CutLoss"}
