"""Malicious run folders, each with a trap: sizes, shapes, hashes, numbers, links and code that a stranger could put there.

``TRAPS`` maps names to functions that change a good run folder in place. Code that runs creates a folder ``RAN`` in the
parent of the run folder.
"""

import json
import os
import pickle
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from i2i.files import sha256
from i2i.protocols import Domain
from i2i.registry import default_registry
from i2i.translation.model_folder import CONFIG, WEIGHTS, Origin, load_model, save_model

RAN, SECRET = "ran", "secret.txt"
DOMAINS = {"a": Domain("labels", "labels", 4), "b": Domain("photo", "image", 3)}
WAYS = (("a", "b"),)
OPTIONS: dict[str, dict[str, Any]] = {
    "resnet": {"width": 2, "blocks": 1, "downs": 1, "norm": "batch"},
    "unet": {"width": 2, "downs": 2},
    "unit": {"width": 2, "blocks": 1, "downs": 1},
    "spade": {"width": 2, "hidden": 2, "vae": True, "size": [32, 32], "style_size": 2},
    "timm_unet": {"backbone": "resnet10t", "width": 2},
}
RECIPE = """\
dataset: {name: earth, a: labels, b: day, crop: 32}
generator: {name: resnet, width: 2, blocks: 1, downs: 1, norm: batch}
discriminator: {name: patchgan, width: 2, layers: 1}
loss: {name: pix2pix}
train: {steps: 2, threads: 1}
samples: {count: 1}
checkpoint: {every: 1}
log: {trackers: []}
"""

Change = Callable[[Path], object]


def config(change: Callable[[dict[str, Any]], object]) -> Change:
    """Change what config.json says."""

    def apply(run: Path) -> None:
        path = run / "model" / CONFIG
        told = json.loads(path.read_text())
        change(told)
        path.write_text(json.dumps(told))

    return apply


def options(**values: Any) -> Change:
    """Claim other options of the generator."""
    return config(lambda told: told["generator"]["options"].update(values))


def generator(name: str, **values: Any) -> Change:
    """Another architecture with matching weights for small options, whose config.json claims the options *values*."""

    def apply(run: Path) -> None:
        entry = default_registry().get("generator", name)
        module = entry.factory(domains=earth_domains(run), directions=WAYS, **OPTIONS[name])
        origin = Origin(name, entry.plugin, entry.version, {**OPTIONS[name], **values})
        save_model(run / "model", module, {"": origin}, domains=earth_domains(run), directions=WAYS)

    return apply


def earth_domains(run: Path) -> Mapping[str, Domain]:
    """The domains of the good run."""
    return load_model(run / "model").domains


def weights(change: Callable[[dict[str, Tensor]], object], *, recorded: bool = True) -> Change:
    """Change the weights, and record their new hash unless told otherwise."""

    def apply(run: Path) -> None:
        path = run / "model" / WEIGHTS
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path)
        if recorded:
            config(lambda told: told.update(weights_sha256=sha256(path)))(run)

    return apply


def first(value: float) -> Callable[[dict[str, Tensor]], object]:
    return lambda tensors: next(t for t in tensors.values() if t.is_floating_point()).view(-1)[:1].fill_(value)


def raw(content: bytes, size: int = 0) -> Change:
    """Write bytes in place of the weights; with *size*, the file is sparse and that large."""

    def apply(run: Path) -> None:
        with (run / "model" / WEIGHTS).open("wb") as file:
            file.write(content)
            if size:
                file.truncate(size)

    return apply


def header(text: str, size: int = 0) -> Change:
    return raw(len(text).to_bytes(8, "little") + text.encode(), 8 + len(text) + size)


def replaced(place: str, target: str | None) -> Change:
    """Replace a file by a link to *target*, or without a target by a pipe."""

    def apply(run: Path) -> None:
        path = run / place
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        if target is None:
            os.mkfifo(path)
        else:
            path.symlink_to(run.parent / target)

    return apply


def recipe(section: dict[str, Any]) -> Change:
    """Change sections of the recipe in config.json and recipe.yaml."""

    def apply(run: Path) -> None:
        config(lambda told: told["extra"]["recipe"].update(section))(run)
        told = json.loads((run / "model" / CONFIG).read_text())["extra"]["recipe"]
        (run / "recipe.yaml").write_text(json.dumps(told))

    return apply


class Bomb:
    """Makes the folder ``RAN`` when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = str(place / RAN)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.place,)


def bomb(*places: str) -> Change:
    def apply(run: Path) -> None:
        for place in places:
            (run / place).parent.mkdir(parents=True, exist_ok=True)
            torch.save(Bomb(run.parent), run / place)

    return apply


def code(*places: str) -> Change:
    """Python files that make the folder ``RAN`` when they are imported or run."""

    def apply(run: Path) -> None:
        for place in places:
            text = f"import os\nos.mkdir({str(run.parent / RAN)!r})\ndef run(x):\n    return x\n"
            (run / place).parent.mkdir(parents=True, exist_ok=True)
            (run / place).write_text(text)

    return apply


def all_of(*changes: Change) -> Change:
    return lambda run: [change(run) for change in changes]


def measures(**options: str) -> dict[str, Any]:
    return {"evaluate": {"metrics": [{"name": "segmentation", **options}]}}


LOADER = "!!python/object/apply:os.mkdir [{}]\n"
ESCAPES = "\x1b]0;owned\x07\x1b[2J"

TRAPS: dict[str, Change] = {
    # sizes that config.json claims
    "blocks: 10,000": options(blocks=10_000),
    "blocks: 10^9": options(blocks=10**9),
    "width: 10^6": options(width=10**6),
    "width: 10^15": options(width=10**15),
    "width: 4 * 10^7": options(width=4 * 10**7),
    "downs: 10^12": options(downs=10**12),
    "UNIT of 10,000 blocks": generator("unit", blocks=10_000),
    "UNIT of 10^6 channels": generator("unit", width=10**6),
    "a U-Net of 12 levels": generator("unet", downs=12, width=512),
    "SPADE with 10^9 numbers of style": generator("spade", style_size=10**9),
    "SPADE for 10^6 pixels a side": generator("spade", size=[2**20, 2**20]),
    "timm's largest backbone": generator("timm_unet", backbone="convnext_xxlarge"),
    "timm's U-Net of 10^7 channels": generator("timm_unet", width=10**7),
    "a generator for each of 5,000 directions": config(
        lambda c: c.update(
            domains={f"d{i}": c["domains"]["b"] for i in range(72)},
            directions=[[f"d{i}", f"d{j}"] for i in range(72) for j in range(72)],
        )
    ),
    "100,000 domains": config(lambda c: c.update(domains={f"d{i}": c["domains"]["b"] for i in range(100_000)})),
    "100,000 times one direction": config(lambda c: c.update(directions=[["a", "b"]] * 100_000)),
    "10^5 channels": config(lambda c: c["domains"]["b"].update(channels=10**5)),
    "10^9 channels": config(lambda c: c["domains"]["b"].update(channels=10**9)),
    "a name of a million letters": config(lambda c: c["domains"]["b"].update(name="x" * 10**6)),
    "config.json of 100 MB": lambda run: (run / "model" / CONFIG).write_bytes(b"[" + b" " * 10**8 + b"]"),
    "config.json of 100,000 brackets": lambda run: (run / "model" / CONFIG).write_text("[" * 10**5),
    "config.json of 2 million lists": lambda run: (run / "model" / CONFIG).write_text("[" + "[]," * (2 * 10**6) + "1]"),
    "a number of 10,000 digits": lambda run: (run / "model" / CONFIG).write_text('{"format": 1' + "0" * 10**4 + "}"),
    # shapes and headers
    "a header of 2^62 bytes": raw((2**62).to_bytes(8, "little") + b"{}"),
    "a header of 90 MB": raw((9 * 10**7).to_bytes(8, "little"), 10**8),
    "70,000 tensors": weights(lambda t: t.update({f"x{i}": torch.zeros(0) for i in range(70_000)})),
    "a sparse file of 8 GiB": header(f'{{"x":{{"dtype":"F32","shape":[{2**31}],"data_offsets":[0,{2**33}]}}}}', 2**33),
    "a sparse file of 2 GiB": header(f'{{"x":{{"dtype":"F32","shape":[{2**29}],"data_offsets":[0,{2**31}]}}}}', 2**31),
    "offsets that overlap": header(
        '{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"y":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', 4
    ),
    "a shape of 2^63": header('{"x":{"dtype":"F32","shape":[9223372036854775807,4],"data_offsets":[0,4]}}', 4),
    "a shape below zero": header('{"x":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', 4),
    "transposed weights": weights(lambda t: t.update({n: w.transpose(0, 1).contiguous() for n, w in t.items() if w.ndim == 4})),
    "a missing tensor": weights(lambda t: t.pop(next(name for name in t if name.endswith("weight")))),
    "a tensor too many": weights(lambda t: t.update(more=torch.zeros(3))),
    "whole numbers as weights": weights(lambda t: t.update({n: w.to(torch.uint8) for n, w in t.items()})),
    "complex weights": weights(lambda t: t.update({n: w.to(torch.complex64) for n, w in t.items()})),
    "weights in float64": weights(lambda t: t.update({n: w.double() for n, w in t.items() if w.is_floating_point()})),
    "an empty file": raw(b""),
    "half a file": lambda run: raw((run / "model" / WEIGHTS).read_bytes()[:2000])(run),
    "a pickle as weights": bomb(f"model/{WEIGHTS}"),
    # hashes and formats
    "one flipped bit": lambda run: raw((d := (run / "model" / WEIGHTS).read_bytes())[:-1] + bytes([d[-1] ^ 1]))(run),
    "another model's hash": config(lambda c: c.update(weights_sha256="0" * 64)),
    "no hash": config(lambda c: c.pop("weights_sha256")),
    "a hash that is a list": config(lambda c: c.update(weights_sha256=["0" * 64])),
    "format 99": config(lambda c: c.update(format=99)),
    "format true": config(lambda c: c.update(format=True)),
    "extra is a list": config(lambda c: c.update(extra=[1])),
    "the recipe is a number": config(lambda c: c["extra"].update(recipe=3)),
    "a domain of another kind": config(lambda c: c["domains"]["b"].update(kind="video")),
    "control characters in a name": config(lambda c: c["domains"]["b"].update(name=ESCAPES)),
    # numbers
    "a weight that is NaN": weights(first(float("nan"))),
    "a weight that is infinite": weights(first(float("inf"))),
    "NaN in format 1": all_of(weights(first(float("nan"))), config(lambda c: (c.update(format=1), c.pop("weights_sha256")))),
    "a variance that is NaN": weights(lambda t: [w.fill_(float("nan")) for n, w in t.items() if n.endswith("running_var")]),
    # links and pipes
    "weights are a link to /dev/zero": replaced(f"model/{WEIGHTS}", "/dev/zero"),
    "config.json is a link to /dev/zero": replaced(f"model/{CONFIG}", "/dev/zero"),
    "weights are a link to a text": replaced(f"model/{WEIGHTS}", SECRET),
    "weights are a pipe": replaced(f"model/{WEIGHTS}", None),
    "config.json is a pipe": replaced(f"model/{CONFIG}", None),
    "the model is a link to itself": replaced("model", "run/model"),
    "README.md is a link to a secret": replaced("model/README.md", SECRET),
    "what eval writes is a link to a secret": all_of(
        replaced(".evaluation.json.partial", SECRET), replaced(".lock", SECRET)
    ),
    "the sample grid is a link to a secret": replaced("samples/step-00000002.png", SECRET),
    # code
    "a metric's segmenter is a file": all_of(recipe(measures(segmenter="seg.pt2")), bomb("seg.pt2")),
    "a metric's segmenter is a function": all_of(recipe(measures(segmenter="seg:run")), code("seg.py")),
    "modules beside the model": code("torch.py", "typing.py", "i2i_data.py", "yaml.py", "sitecustomize.py", "i2i/__init__.py"),
    "a generator called like a module": config(lambda c: c["generator"].update(name="os:mkdir", plugin="os")),
    "weights to start from are a pickle": all_of(generator("timm_unet", weights="bomb.pth"), bomb("bomb.pth")),
    "pickles of all names": bomb("model/pytorch_model.bin", "model/model.pt", "checkpoints/step-00000002/generator.pt"),
    "YAML that calls functions": lambda run: (run / "recipe.yaml").write_text(LOADER.format(run.parent / RAN)),
    "data on the hub": recipe({"dataset": {"name": "hub", "source": "owner/name", "cache": "cache"}}),
    "data that are everybody's files": recipe({"dataset": {"name": "folders", "a": "/", "b": "/"}}),
    "figures with markup": lambda run: (run / "evaluation.json").write_text(
        json.dumps(
            {"format": 2, "model": "<script>", "weights_sha256": sha256(run / "model" / WEIGHTS), "step": 1, "notes": ["[/b]"],
             "figures": [{"name": f"<script>[/x]{ESCAPES}", "value": 1, "better": "higher", "spread": None, "images": {},
                          "protocol": {"split": "test", "x": "<script>alert(1)</script>[/b]"}}]}
        )
    ),
    "figures of another kind": lambda run: (run / "evaluation.json").write_text(
        json.dumps(
            {"format": 2, "model": "m", "weights_sha256": sha256(run / "model" / WEIGHTS), "step": "<script>", "notes": [],
             "figures": [{"name": "psnr", "value": 1, "better": "<script>", "spread": None, "images": {}, "protocol": {}}]}
        )
    ),
    "metrics of another kind": lambda run: (run / "metrics.jsonl").write_text('[1]\n{"step": "<b>"}\n{"step": 1, "x": [2]}\n'),
    "recipe.yaml is a pipe": replaced("recipe.yaml", None),
    "a pickle beside the metrics": lambda run: (run / "metrics.jsonl").write_bytes(pickle.dumps(Bomb(run.parent))),
}  # fmt: skip
"""What is done to a good run folder."""

WORKS = (
    "weights in float64",
    "README.md is a link to a secret",
    "what eval writes is a link to a secret",
    "the sample grid is a link to a secret",
    "a metric's segmenter is a file",
    "a metric's segmenter is a function",
    "modules beside the model",
    "weights to start from are a pickle",
    "pickles of all names",
    "YAML that calls functions",
    "data on the hub",
    "data that are everybody's files",
    "figures with markup",
    "figures of another kind",
    "metrics of another kind",
    "recipe.yaml is a pipe",
    "a pickle beside the metrics",
)
"""Traps whose model is good: it is translated as if nothing were there."""


def good_run(out: Path) -> Path:
    """A run that was trained for two steps."""
    from rich.console import Console

    from i2i.recipe import load_recipe
    from i2i.training.running import run_recipe

    out.parent.mkdir(parents=True, exist_ok=True)
    file = out.parent / "good.yaml"
    file.write_text(RECIPE)
    run_recipe(load_recipe(file), out, default_registry(), resume=False, console=Console(quiet=True))
    return out


def trapped(good: Path, folder: Path, names: list[str]) -> Path:
    """A copy of the good run with these traps, at ``folder/run``; next to it there is a secret."""
    run = folder / "run"
    shutil.copytree(good, run)
    (folder / SECRET).write_text("secret")
    for name in names:
        TRAPS[name](run)
    return run


def picture_of(good: Path, path: Path) -> None:
    """Write a label map to translate, and the good model's translation of it, ``expected.png``."""
    import numpy as np
    from PIL import Image

    import i2i

    ids = np.arange(32 * 32, dtype=np.uint8).reshape(32, 32) % earth_domains(good)["a"].label_count
    Image.fromarray(ids).save(path)
    i2i.load(good, "cpu").translate(path).save(path.with_name("expected.png"))
