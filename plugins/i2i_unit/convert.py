"""Published UNIT generators, ``gen_XXXXXXXX.pt``, and discriminators, ``dis_XXXXXXXX.pt``: a state dict for each domain."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from i2i.errors import UserError
from i2i.protocols import Direction, Domain
from i2i.published import Checkpoint, Converted, Converter, Judge, State, known, sees_source
from i2i_unit.weights import STALE, from_published

LICENCE = "CC BY-NC-SA 4.0: for non-commercial use only (the published program and its weights)"
NAMES = r"(enc|dec)\.model\.[\w.]*(conv|norm)\.(weight|bias|gamma|beta|running_mean|running_var|num_batches_tracked)"
EVERY: tuple[Direction, ...] = (("a", "a"), ("a", "b"), ("b", "a"), ("b", "b"))
FIRST = "enc.model.0.conv.weight"
JUDGES = r"cnns\.\d+\.\d+\.((conv|norm)\.)?(weight|bias|gamma|beta|running_mean|running_var|num_batches_tracked)"
JUDGE = "cnns.0.0.conv.weight"


def generator(checkpoints: Sequence[Checkpoint], names: tuple[str, str], settings: Mapping[str, Any]) -> Converted | None:
    """One published file; None if it does not have that form."""
    checkpoint, *more = checkpoints
    sides = {key: checkpoint.states.get(key, {}) for key in "ab"}
    if any(name.startswith(("enc_content.", "enc_style.")) for side in sides.values() for name in side):
        raise UserError(f"{checkpoint.path}: it has encoders of content and style, which is another network (MUNIT).")
    if not any(FIRST in side for side in sides.values()):
        return None
    if more:
        raise UserError(f"{more[0].path}: one file holds both directions. Give that alone.")
    if lacking := [key for key, side in sides.items() if FIRST not in side]:
        raise UserError(f"{checkpoint.path}: the autoencoder of the domain '{lacking[0]}' is missing.")
    states: dict[str, State] = {}
    left_out: list[str] = []
    for key, side in sides.items():
        fitting, unknown = known(side, NAMES)
        states[key] = {name: tensor for name, tensor in fitting.items() if not name.endswith(STALE)}
        left_out += [f"{key}.{name}" for name in unknown]
    found = [_architecture(states[key]) for key in "ab"]
    if found[0] != found[1]:
        raise UserError(f"{checkpoint.path}: the two autoencoders differ: {found[0]} and {found[1]}.")
    channels = {key: states[key][FIRST].shape[1] for key in "ab"}
    return Converted(
        "unit",
        {**found[0], **settings},
        {key: Domain(name, "image", channels[key]) for key, name in zip("ab", names, strict=True)},
        EVERY,
        from_published(states, "generator"),
        LICENCE,
        tuple(left_out),
        tuple(
            f"{name} {value} (published default; change it with --set {name}=…)"
            for name, value in (("padding", "reflect"), ("activation", "relu"))
            if name not in settings
        ),
    )


def discriminator(checkpoints: Sequence[Checkpoint], made: Converted) -> Judge | None:
    """One published file of both domains' discriminators; None if it does not have that form."""
    sides = {key: checkpoints[0].states.get(key, {}) for key in "ab"}
    if len(checkpoints) > 1 or not all(JUDGE in side for side in sides.values()):
        return None
    states = {key: known(side, JUDGES) for key, side in sides.items()}
    found = [_judge(state) for state, _ in states.values()]
    if found[0] != found[1]:
        raise UserError(f"{checkpoints[0].path}: the two discriminators differ: {found[0]} and {found[1]}.")
    for key, source in (("a", "b"), ("b", "a")):
        sees_source(states[key][0][JUDGE].shape[1], made, source, key)
    left_out = tuple(f"{key}.{name}" for key, (_, unknown) in states.items() for name in unknown)
    state = from_published({key: state for key, (state, _) in states.items()}, "discriminator")
    notes = () if found[0]["norm"] != "none" else ("discriminator norm none (published default; instance leaves no trace)",)
    return Judge("unit:multiscale", found[0], {"a": "b", "b": "a"}, state, False, left_out, notes)


convert = Converter(generator, discriminator)


def _judge(state: State) -> dict[str, Any]:
    parts = [name.split(".") for name in state]
    norms = {"gamma": "layer", "running_mean": "batch"}
    return {
        "width": state[JUDGE].shape[0],
        "layers": max(int(part[2]) for part in parts),
        "scales": 1 + max(int(part[1]) for part in parts),
        "norm": next((norm for leaf, norm in norms.items() if any(part[-1] == leaf for part in parts)), "none"),
    }


def _architecture(state: State) -> dict[str, Any]:
    outer = [name for name in state if re.fullmatch(r"enc\.model\.\d+\.conv\.weight", name)]
    inner = [name for name in state if re.fullmatch(r"enc\.model\.\d+\.model\.\d+\.model\.0\.conv\.weight", name)]
    layered = any(name.startswith("enc.") and name.endswith(".gamma") for name in state)
    return {
        "width": state[FIRST].shape[0],
        "downs": len(outer) - 1,
        "blocks": len(inner),
        "norm": "layer" if layered else "instance",
    }
