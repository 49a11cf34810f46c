"""Auxiliary classifiers show both players where to look: Kim et al., "U-GAT-IT", ICLR 2020, sections 2.1 and 2.2."""

from typing import Any

from i2i import hookimpl, per_direction, per_domain

I2I_CONTRACT = 1


@hookimpl
def register_generators() -> dict[str, Any]:
    from i2i_heatmaps.networks import Painter

    return {"heatmaps": per_direction(Painter, exposes=("cam", "heatmap"))}


@hookimpl
def register_discriminators() -> dict[str, Any]:
    from i2i_heatmaps.networks import Judge

    return {"heatmaps": per_domain(Judge, exposes=("cam",))}


@hookimpl
def register_losses() -> dict[str, str]:
    return {"heatmaps": "i2i_heatmaps.loss:Attentive"}
