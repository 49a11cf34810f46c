"""Training and use of a model from Python: ``i2i.Experiment``, on which the classes of the plugins stand."""

from i2i.experiment.experiment import Experiment

__all__ = ["Experiment"]
