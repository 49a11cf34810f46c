"""Published U-Nets: state dicts of single generators, ``latest_net_G.pth``."""

from collections.abc import Mapping, Sequence
from typing import Any

from i2i.errors import UserError
from i2i.published import (
    Checkpoint,
    Converted,
    State,
    by_direction,
    common,
    convolutions_in,
    generator_states,
    image_domains,
    norm_of,
)
from i2i_pix2pix.weights import from_published

LICENCE = "BSD 2-Clause (the published program); the licences of the training pictures apply too"
NAMES = r"model\.model\.(\d\.model\.)*\d\.(weight|bias|running_mean|running_var|num_batches_tracked)"
FIRST = "model.model.0.weight"


def convert(checkpoints: Sequence[Checkpoint], names: tuple[str, str], settings: Mapping[str, Any]) -> Converted | None:
    """One or two published U-Nets; None if the checkpoints contain none."""
    foreign = [checkpoint for checkpoint in checkpoints if FIRST not in checkpoint.state]
    if len(foreign) == len(checkpoints):
        return None
    if foreign:
        raise UserError(f"{foreign[0].path}: this is not a U-Net, but the other file is. Convert them one by one.")
    files = by_direction(checkpoints)
    states, left_out = generator_states(files, NAMES)
    found = common({way: _architecture(state) for way, state in states.items()}, files)
    channels = {way: (_shape(s, FIRST)[1], _shape(s, "model.model.3.weight")[1]) for way, s in states.items()}
    assumed = [
        f"{name} {value} (published default; change it with --set {name}=…)"
        for name, value in (("dropout", "true"), ("inference", "train_mode"))
        if name not in settings
    ]
    return Converted(
        "unet",
        {**found, "dropout": True, "inference": "train_mode", **settings},
        image_domains(names, channels),
        tuple(states),
        from_published({f"{s}_{t}": state for (s, t), state in states.items()}, "unet"),
        LICENCE,
        left_out,
        tuple(assumed),
    )


def _architecture(state: State) -> dict[str, Any]:
    """Width, depth and norm."""
    convolutions = convolutions_in(state)
    return {"width": _shape(state, FIRST)[0], "downs": convolutions // 2, "norm": norm_of(state, "model.model.0.bias")}


def _shape(state: State, name: str) -> tuple[int, ...]:
    if name not in state:
        raise UserError(f"the U-Net's weights are not complete: '{name}' is missing.")
    return tuple(state[name].shape)
