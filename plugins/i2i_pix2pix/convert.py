"""Published U-Nets, ``latest_net_G.pth``, and the patch and pixel discriminators of any generator, ``latest_net_D.pth``."""

from collections.abc import Mapping, Sequence
from typing import Any

from i2i.errors import UserError
from i2i.published import (
    Checkpoint,
    Converted,
    Converter,
    Judge,
    State,
    by_direction,
    common,
    convolutions_in,
    generator_states,
    image_domains,
    norm_of,
    sees_source,
)
from i2i_pix2pix.weights import Network, from_published

LICENCE = "BSD 2-Clause (the published program); the licences of the training pictures apply too"
NAMES = r"model\.model\.(\d\.model\.)*\d\.(weight|bias|running_mean|running_var|num_batches_tracked)"
FIRST = "model.model.0.weight"
JUDGES = r"(model|net)\.\d+\.(weight|bias|running_mean|running_var|num_batches_tracked)"


def generator(checkpoints: Sequence[Checkpoint], names: tuple[str, str], settings: Mapping[str, Any]) -> Converted | None:
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


def discriminator(checkpoints: Sequence[Checkpoint], made: Converted) -> Judge | None:
    """One or two published discriminators: D_A judges what G_A makes. None if they have another form."""
    files = by_direction(checkpoints)
    states, left_out = generator_states(files, JUDGES)
    kinds = {way: next((kind for kind in ("model", "net") if f"{kind}.0.weight" in state), "") for way, state in states.items()}
    if len(set(kinds.values())) > 1 or "" in kinds.values():
        return None
    prefix = next(iter(kinds.values()))
    found = common({way: _judge(state, prefix) for way, state in states.items()}, files)
    shown = {sees_source(_shape(state, f"{prefix}.0.weight")[1], made, *way) for way, state in states.items()}
    if len(shown) > 1:
        raise UserError("one of the discriminators sees the source image, and the other does not")
    name: Network = "pixel" if prefix == "net" else "patchgan"
    state = from_published({target: state for (_, target), state in states.items()}, name)
    return Judge(f"pix2pix:{name}", found, {target: source for source, target in states}, state, shown.pop(), left_out)


convert = Converter(generator, discriminator)


def _judge(state: State, prefix: str) -> dict[str, Any]:
    """Width, depth and norm of a discriminator."""
    layers = {"layers": convolutions_in(state) - 2} if prefix == "model" else {}
    return {"width": _shape(state, f"{prefix}.0.weight")[0], **layers, "norm": norm_of(state, f"{prefix}.2.bias")}


def _architecture(state: State) -> dict[str, Any]:
    """Width, depth and norm."""
    convolutions = convolutions_in(state)
    return {"width": _shape(state, FIRST)[0], "downs": convolutions // 2, "norm": norm_of(state, "model.model.0.bias")}


def _shape(state: State, name: str) -> tuple[int, ...]:
    if name not in state:
        raise UserError(f"the weights are not complete: '{name}' is missing.")
    return tuple(state[name].shape)
