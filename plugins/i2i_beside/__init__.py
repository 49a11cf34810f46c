"""Losses that stand beside another one in a recipe's list: gradient penalties, mismatched conditions, frequencies."""

from i2i.registry import hookimpl


@hookimpl
def register_losses() -> dict[str, str]:
    return {
        "frequency": "i2i_beside.frequency:FrequencyLoss",
        "mismatch": "i2i_beside.mismatch:MismatchLoss",
        "penalty": "i2i_beside.penalty:PenaltyLoss",
    }
