"""Published SPADE: generators, ``latest_net_G.pth``, style encoders, ``…_E.pth``, and discriminators, ``…_D.pth``."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from i2i.errors import UserError
from i2i.pictures.preparation import described
from i2i.protocols import Domain, Preparation
from i2i.published import Checkpoint, Converted, Converter, Judge, State, known, sees_source
from i2i_spade.generator import DOUBLINGS
from i2i_spade.weights import from_published

LICENCE = "CC BY-NC-SA 4.0: for non-commercial use only (the published program and its weights)"
GENERATOR = (
    r"(fc|conv_img)\.(weight|bias)|(head_0|G_middle_[01]|up_[0-4])\.(conv_[01s]\.(bias|weight|weight_orig|weight_u|weight_v)"
    r"|norm_[01s]\.(param_free_norm\.(running_mean|running_var|num_batches_tracked)|(mlp_shared\.0|mlp_gamma|mlp_beta)\."
    r"(weight|bias)))"
)
ENCODER = r"fc_(mu|var)\.(weight|bias)|layer[1-6]\.0(\.[01])?\.(weight_orig|weight_u|weight_v|bias)"
JUDGES = (
    r"discriminator_\d+\.model\d+\.0(\.[01])?\.(weight|weight_orig|weight_u|weight_v|bias|running_mean|running_var"
    r"|num_batches_tracked)"
)
EDGES = {36: True, 184: True, 151: False}
"""Channels of the published label maps (Cityscapes, COCO-Stuff; ADE20K): whether the last one is the instances' borders."""
PUBLISHED = {
    184: ("COCO-Stuff", Preparation(values=((255, 182),))),
    151: ("ADE20K", Preparation(offset=-1, values=((0, 150), (255, 150)))),
}
"""What the numbers in these data sets' files stand for in the published program; the last class is "unknown"."""

SHARED = "head_0.norm_0.mlp_shared.0.weight"


def generator(checkpoints: Sequence[Checkpoint], names: tuple[str, str], settings: Mapping[str, Any]) -> Converted | None:
    """A generator, and its style encoder if it has one; None if there is no generator."""
    parts = {net: [c for c in checkpoints if key in c.state] for net, key in (("G", "conv_img.weight"), ("E", "fc_mu.weight"))}
    if not parts["G"]:
        return None
    strange = [c for c in checkpoints if c not in parts["G"] + parts["E"]]
    if strange or len(parts["G"]) > 1 or len(parts["E"]) > 1:
        raise UserError(
            f"{(strange or checkpoints)[-1].path}: give one generator file, and one style encoder file if there is one."
        )
    generator, left_out = known(parts["G"][0].state, GENERATOR)
    encoder, unknown = known(parts["E"][0].state, ENCODER) if parts["E"] else ({}, ())
    for name in ("fc.weight", SHARED, "up_3.norm_0.mlp_gamma.weight", "head_0.conv_0.bias"):
        if name not in generator:
            raise UserError(f"{parts['G'][0].path}: the generator's weights are not complete: '{name}' is missing.")
    given = dict(settings)
    channels = generator[SHARED].shape[1]
    edges = bool(given.pop("instances", EDGES.get(channels, False)))
    found, notes = _architecture(generator, given)
    styled, size = _styled(generator, encoder, given.get("upsampling", found["upsampling"]), parts["G"][0])
    size = tuple(given.pop("size", size or ())) or None
    if "instances" not in settings and channels not in EDGES:
        notes.append(f"all {channels} source channels are classes (change it with --set instances=true)")
    known_data = PUBLISHED.get(channels) if edges == EDGES.get(channels) else None
    source = Domain(names[0], "labels", channels, instances=edges, preparation=known_data[1] if known_data else Preparation())
    if known_data:
        notes.append(f"label maps are files of {known_data[0]}: {described(source)}")
    return Converted(
        "spade",
        {**found, **styled, **given},
        {"a": source, "b": Domain(names[1], "image", generator["conv_img.weight"].shape[0])},
        (("a", "b"),),
        from_published({"netG": generator, "netE": encoder}, "generator"),
        LICENCE,
        (*left_out, *unknown),
        tuple(notes),
        size,
    )


def discriminator(checkpoints: Sequence[Checkpoint], made: Converted) -> Judge | None:
    """One published discriminator; None if it has another form."""
    state, left_out = known(checkpoints[0].state, JUDGES)
    if len(checkpoints) > 1 or not state:
        return None
    ours = from_published({"netD": state}, "discriminator")
    first, parts = "judges.b.scales.0.0.conv.weight", [name.split(".") for name in ours]
    if first not in ours:
        raise UserError(f"{checkpoints[0].path}: the discriminator's weights are not complete: its first layer is missing.")
    batch = any(part[-1] == "running_mean" for part in parts)
    bare = "judges.b.scales.0.1.conv.bias" in ours
    found = {
        "width": ours[first].shape[0],
        "layers": max(int(part[4]) for part in parts),
        "scales": 1 + max(int(part[3]) for part in parts),
        "norm": "sync_batch" if batch else "none" if bare else "instance",
        "spectral": any(part[-1] == "weight_orig" for part in parts),
    }
    return Judge("spade:spade", found, {"b": "a"}, ours, sees_source(ours[first].shape[1], made, "a", "b"), left_out)


convert = Converter(generator, discriminator)


def _architecture(state: State, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Options that the names and shapes tell, and a note on the one they do not: "normal" and "more" have equal weights."""
    notes, most = [], any(name.startswith("up_4.") for name in state)
    batch = any(name.endswith("param_free_norm.running_mean") for name in state)
    if not most and "upsampling" not in given:
        notes.append("upsampling normal, as at 256 px (at 512 px: --set upsampling=more)")
    found = {
        "width": state["head_0.conv_0.bias"].shape[0] // 16,
        "hidden": state[SHARED].shape[0],
        "kernel": state[SHARED].shape[-1],
        "norm": "sync_batch" if batch else "instance",
        "upsampling": "most" if most else "normal",
        "spectral": any(re.search(r"weight_orig$", name) for name in state),
    }
    return found, notes


def _styled(
    state: State, encoder: State, upsampling: Any, checkpoint: Checkpoint
) -> tuple[dict[str, Any], tuple[int, int] | None]:
    """With a style, ``fc`` is linear: (first channels * height * width, style_size); square pictures are taken for granted."""
    if state["fc.weight"].ndim == 4:
        if encoder:
            raise UserError(f"{checkpoint.path}: this generator takes no style, so it has no style encoder. Leave that out.")
        return {"vae": False}, None
    if not encoder:
        raise UserError(f"{checkpoint.path}: this generator takes a style; give its encoder's file too (latest_net_E.pth).")
    rows, style_size = state["fc.weight"].shape
    side = math.isqrt(rows // state["head_0.conv_0.bias"].shape[0]) << DOUBLINGS.get(upsampling, 5)
    width = encoder["layer1.0.weight_orig"].shape[0] if "layer1.0.weight_orig" in encoder else None
    width = encoder["layer1.0.0.weight_orig"].shape[0] if width is None else width
    return {"vae": True, "style_size": style_size, "encoder_width": width}, (side, side)
