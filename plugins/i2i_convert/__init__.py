"""Trained weights: ``i2i convert`` makes models of published checkpoints, and ``train.start`` begins a run with a model."""

from typing import TYPE_CHECKING

from i2i.hooks import hookimpl

if TYPE_CHECKING:
    from i2i.training.state import Run


@hookimpl(trylast=True)  # who knows other sources comes first
def load_start(run: "Run") -> list[str]:
    from i2i_convert.warm_start import load_start

    return load_start(run)
