"""Published residual generators: one state dict for each direction, ``latest_net_G_A.pth`` and ``latest_net_G_B.pth``."""

import re
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
from i2i_cyclegan.weights import from_published

LICENCE = "BSD 2-Clause (the published program); the licences of the training pictures apply too"
NAMES = r"model\.\d+\.(conv_block\.\d\.)?(weight|bias|running_mean|running_var|num_batches_tracked)"
BLOCK = re.compile(r"model\.(\d+)\.conv_block\.1\.weight")


def convert(checkpoints: Sequence[Checkpoint], names: tuple[str, str], settings: Mapping[str, Any]) -> Converted | None:
    """One or two published residual generators; None if the checkpoints contain none."""
    foreign = [checkpoint for checkpoint in checkpoints if not any(map(BLOCK.fullmatch, checkpoint.state))]
    if len(foreign) == len(checkpoints):
        return None
    if foreign:
        raise UserError(f"{foreign[0].path}: this is not a residual generator, but the other file is. Convert them one by one.")
    files = by_direction(checkpoints)
    for checkpoint in checkpoints:
        if any(name.endswith(".filt") for name in checkpoint.state):
            raise UserError(f"{checkpoint.path}: this generator has anti-aliasing filters, which no generator of i2i has.")
    states, left_out = generator_states(files, NAMES)
    found = common({way: _architecture(state, files[way]) for way, state in states.items()}, files)
    channels = {way: (state["model.1.weight"].shape[1], _last(state).shape[0]) for way, state in states.items()}
    return Converted(
        "resnet",
        {**found, **settings},
        image_domains(names, channels),
        tuple(states),
        from_published({f"{s}_{t}": state for (s, t), state in states.items()}),
        LICENCE,
        left_out,
    )


def _architecture(state: State, checkpoint: Checkpoint) -> dict[str, Any]:
    """Width, blocks, halvings, norm and dropout."""
    if "model.1.weight" not in state:
        raise UserError(f"{checkpoint.path}: the weights are not complete: 'model.1.weight' is missing.")
    blocks = sum(BLOCK.fullmatch(name) is not None for name in state)
    convolutions = convolutions_in(state)
    return {
        "width": state["model.1.weight"].shape[0],
        "blocks": blocks,
        "downs": (convolutions - 2 - 2 * blocks) // 2,
        "norm": norm_of(state, "model.1.bias"),
        "dropout": any(re.search(r"conv_block\.6\.weight$", n) and t.ndim == 4 for n, t in state.items()),
    }


def _last(state: State) -> Any:
    """The weight of the output convolution (C', C, 7, 7), which has the highest index."""
    convolutions = {int(name.split(".")[1]): tensor for name, tensor in state.items() if tensor.ndim == 4}
    return convolutions[max(convolutions)]
