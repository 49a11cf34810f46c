"""Training and use of a model from Python: ``i2i.Experiment``, on which the plugins' classes (``CycleGAN`` …) stand."""

from i2i.experiment.experiment import Experiment

__all__ = ["Experiment"]
