"""Initialisation of networks."""

from typing import Annotated, Literal

from pydantic import Field
from torch import nn

Init = Annotated[Literal["normal", "xavier", "kaiming", "orthogonal"], Field(description="How the initial weights are drawn.")]
"""The type of an option of networks: the *kind* of ``initialise``."""
Gain = Annotated[float, Field(gt=0, description="The scale of the initial weights; kaiming ignores it.")]
"""The type of an option of networks: the *gain* of ``initialise``."""


def initialise(module: nn.Module, kind: Init = "normal", gain: float = 0.02) -> None:
    """Draw the weights of every convolution and linear layer and set their biases to 0.

    - ``normal``: N(0, gain). Radford et al. 2016 (DCGAN), section 4, with gain 0.02.
    - ``xavier``: normal with std gain * sqrt(2 / (fan_in + fan_out)). Glorot & Bengio 2010, eq. 16.
    - ``kaiming``: normal with std sqrt(2 / fan_in); *gain* is not used. He et al. 2015, eq. 10.
    - ``orthogonal``: orthogonal matrices times gain. Saxe et al. 2014.

    BatchNorm, for every kind: weight N(1, gain), bias 0. Other layers keep the values from their constructors.
    """
    for layer in module.modules():
        if isinstance(layer, nn.modules.conv._ConvNd | nn.Linear):
            _draw(layer, kind, gain)
        elif isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.affine:
            nn.init.normal_(layer.weight, 1.0, gain)
            nn.init.zeros_(layer.bias)


def _draw(layer: nn.modules.conv._ConvNd | nn.Linear, kind: Init, gain: float) -> None:
    if kind == "normal":
        nn.init.normal_(layer.weight, 0.0, gain)
    elif kind == "xavier":
        nn.init.xavier_normal_(layer.weight, gain)
    elif kind == "kaiming":
        nn.init.kaiming_normal_(layer.weight, a=0, mode="fan_in")
    else:
        nn.init.orthogonal_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
