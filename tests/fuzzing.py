"""Damaged and hostile files, made of good ones by a seed, and what reads them: each is handled, or refused with a sentence.

``python benchmarks/fuzz.py --inputs 5000`` is the long run. Every input is named by its kind, the seed and a number, and comes
again by the same name.
"""

import io
import json
import os
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from PIL import Image

import toy
from i2i.errors import UserError, bounded, one_line, printable
from i2i.files import sha256
from i2i.pictures.reading import read
from i2i.protocols import Domain, Preparation
from i2i.recipe import load_recipe
from i2i.training.log import keep_until, read_metrics
from i2i.translation.checkpoints import read_manifest
from i2i.translation.loading import load
from i2i_convert.checkpoints import read_checkpoint
from i2i_evaluate.evaluation import FORMAT, read_result
from i2i_provenance.inspection import inspect
from i2i_provenance.metadata import png_options

SECONDS = 10
"""After which an input counts as one that hangs."""
ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 2**31, 2**63, 2**64, 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf")),
    *("", "x", "a" * 5000, "\x00", "\x1b[2J", "../../etc/passwd", "/dev/zero", "\ud800", "é", "1e5", "os:system"),
    *([], {}, [[]], [1, 2], {"name": "x"}, {"a": {"b": []}}),
)
"""Values that are put in the place of others."""

IMAGE = Domain("day", "image", 3)
LABELS = Domain("land", "labels", 4)
PAINTED = Domain(
    "land", "labels", 3, colors=((0, 0, 0), (250, 0, 0), (0, 0, 250)), preparation=Preparation(colored=True, unknown=0)
)


@dataclass
class Report:
    """How many inputs there were of each kind, what became of them, and the faults."""

    inputs: int = 0
    handled: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Kind:
    """Good files of one kind, and what reads such a file; *place* is where it lies in a folder of its own."""

    goods: list[bytes]
    place: str
    reads: Callable[[Path], object]
    text: bool = False


def mutated(good: bytes, others: list[bytes], draw: random.Random, text: bool) -> bytes:
    """One to four changes of a good file."""
    data = bytearray(good)
    for _ in range(draw.choice((1, 1, 2, 4))):
        change = draw.choice(_CHANGES if not text else (*_CHANGES, _structure, _structure, _structure, _structure))
        data = bytearray(change(bytes(data), others, draw))
    return bytes(data[: 2**22])


def _flips(data: bytes, others: list[bytes], draw: random.Random) -> bytes:
    made = bytearray(data)
    for _ in range(draw.choice((1, 1, 3, 30))):
        if made:
            made[draw.randrange(len(made))] ^= 1 << draw.randrange(8)
    return bytes(made)


def _cut(data: bytes, others: list[bytes], draw: random.Random) -> bytes:
    at = draw.randrange(len(data) + 1)
    return data[:at] if draw.random() < 0.5 else data[:at] + data[min(len(data), at + draw.choice((1, 4, 100))) :]


def _splice(data: bytes, others: list[bytes], draw: random.Random) -> bytes:
    other = draw.choice(others)
    return data[: draw.randrange(len(data) + 1)] + other[draw.randrange(len(other) + 1) :]


def _number(data: bytes, others: list[bytes], draw: random.Random) -> bytes:
    """A whole number of 1 to 8 bytes is overwritten, mostly near the beginning, where headers are."""
    size = draw.choice((1, 2, 4, 8))
    if len(data) < size:
        return data
    at = draw.randrange(min(len(data) - size, 64) + 1) if draw.random() < 0.6 else draw.randrange(len(data) - size + 1)
    value = draw.choice((0, 1, 2 ** (8 * size) - 1, 2 ** (8 * size - 1), 2 ** (8 * size - 2), draw.randrange(256**size)))
    return data[:at] + value.to_bytes(size, draw.choice(("little", "big"))) + data[at + size :]


def _repeat(data: bytes, others: list[bytes], draw: random.Random) -> bytes:
    at = draw.randrange(len(data) + 1)
    return data[:at] + data[at : at + draw.choice((1, 16, 400))] * draw.choice((2, 50, 2000)) + data[at:]


def _structure(data: bytes, others: list[bytes], draw: random.Random) -> bytes:
    """A value somewhere in JSON is replaced, removed, or put into lists; a recipe may be JSON as well."""
    try:
        top = json.loads(data)
    except (ValueError, RecursionError):
        return _flips(data, others, draw)
    places = list(_places(top))
    if not places:
        return json.dumps(draw.choice(ODD)).encode("utf-8", "surrogatepass")
    holder, key = draw.choice(places)
    match draw.randrange(4):
        case 0:
            del holder[key]
        case 1:
            holder[key] = [holder[key]] * draw.choice((1, 2, 3000))
        case _:
            holder[key] = draw.choice(ODD)
    return json.dumps(top).encode("utf-8", "surrogatepass")


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _places(value[key])


_CHANGES = (_flips, _cut, _splice, _number, _number, _repeat)


def pictures() -> list[bytes]:
    """Small pictures of many formats, and arrays."""
    rng = np.random.default_rng(0)
    rgb = Image.fromarray(rng.integers(0, 256, (24, 20, 3), dtype=np.uint8))
    made = [_saved(rgb, form) for form in ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "TGA", "ICO", "AVIF")]
    made += [_saved(rgb.quantize(4), "PNG"), _saved(rgb.convert("RGBA"), "PNG"), _saved(rgb.convert("L"), "TIFF")]
    made += [_saved(rgb, "PNG", **png_options({"i2i": "0.1.0"})), _saved(rgb, "JPEG", exif=_turned())]
    for array in (rng.integers(0, 3, (20, 24)), rng.random((20, 24, 3)).astype(np.float32)):
        file = io.BytesIO()
        np.save(file, array)
        made.append(file.getvalue())
    for array in (rng.integers(0, 2**16, (20, 24, 3), dtype=np.uint16), rng.integers(0, 256, (3, 20, 24), dtype=np.uint8)):
        file = io.BytesIO()
        tifffile.imwrite(file, array, compression="zlib", photometric="rgb" if array.shape[2] == 3 else "minisblack")
        made.append(file.getvalue())
    return made


def maps() -> list[bytes]:
    """Label maps of four classes: palette and grey PNG, 16 bits, TIFF, and arrays with and without instances."""
    ids = np.random.default_rng(0).integers(0, 4, (20, 24), dtype=np.uint8)
    picture = Image.fromarray(ids)
    painted = picture.convert("P")
    painted.putpalette([0, 0, 0, 250, 0, 0, 0, 0, 250, 9, 9, 9])
    made = [_saved(picture, "PNG"), _saved(painted, "PNG"), _saved(Image.fromarray(ids.astype(np.uint16)), "PNG")]
    made.append(_saved(picture, "TIFF"))
    file = io.BytesIO()
    np.save(file, ids)
    return [*made, file.getvalue()]


def checkpoint() -> bytes:
    """A published checkpoint: a file of torch, which is a zip with a pickle."""
    file = io.BytesIO()
    torch.save({"model.1.weight": torch.zeros(4, 3, 7, 7), "model.1.bias": torch.zeros(4)}, file)
    return file.getvalue()


def _saved(picture: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def kinds(folder: Path) -> Mapping[str, Kind]:
    """What is tried: a run of two steps is trained in *folder*, of whose files copies are damaged."""
    run = toy.trained(folder, "train.steps=2", "checkpoint.every=1", out="run").out
    assert run is not None
    registry = toy.registry()
    model, newest = run / "model", sorted((run / "checkpoints").iterdir())[-1]
    recipe = json.dumps(load_recipe(run / "recipe.yaml", [], registry).model_dump(mode="json")).encode()
    figure = {"name": "psnr", "value": 1, "better": "higher", "spread": None, "images": {}, "protocol": {}}
    result = {"format": FORMAT, "model": "m", "weights_sha256": "0", "step": 1, "notes": [""], "figures": [figure]}
    inside = f"run/{newest.relative_to(run)}"

    def loads(path: Path) -> None:
        load(path.parent, "cpu", registry=registry, changed=True)

    manifest = json.loads((newest / "manifest.json").read_bytes())

    def signed(path: Path) -> None:
        """A checkpoint by a stranger, who can write a manifest that fits."""
        files = {**manifest["files"], path.name: sha256(path)}
        (newest / "manifest.json").write_text(json.dumps({**manifest, "files": files}))
        load(Path(f"{run}@2"), "cpu", registry=registry)

    def resumes(path: Path) -> None:
        lines = path.parent / "metrics.jsonl"
        read_metrics(lines)
        keep_until(lines, 1)

    return {
        "recipe": Kind([toy.RECIPE.encode(), recipe], "r.yaml", lambda p: load_recipe(p, [], registry), True),
        "config.json": Kind([(model / "config.json").read_bytes()], "run/model/config.json", loads, True),
        "weights": Kind([(model / "model.safetensors").read_bytes()], "run/model/model.safetensors", loads),
        "manifest": Kind(
            [(newest / "manifest.json").read_bytes()], f"{inside}/manifest.json", lambda p: read_manifest(p.parent), True
        ),
        "checkpoint": Kind([(newest / "ema.safetensors").read_bytes()], f"{inside}/ema.safetensors", signed),
        "state": Kind([(newest / "state.json").read_bytes()], f"{inside}/state.json", signed, True),
        "metrics.jsonl": Kind([(run / "metrics.jsonl").read_bytes()], "run/metrics.jsonl", resumes, True),
        "result": Kind([json.dumps(result).encode()], "evaluation.json", read_result, True),
        "picture": Kind(pictures(), "picture.png", lambda p: read(p, IMAGE)),
        "label map": Kind(maps(), "map.png", lambda p: read(p, LABELS)),
        "painted map": Kind(pictures(), "map.png", lambda p: read(p, PAINTED)),
        "published": Kind([checkpoint()], "net_G.pth", read_checkpoint),
        "inspected": Kind(pictures(), "picture.png", inspect),
    }


def fuzz(folder: Path, inputs: int, seed: int = 0, only: tuple[str, ...] = ()) -> Report:
    """Try so many inputs, the kinds in turn; nothing but the input's own folder may be written to."""
    report, every = Report(), kinds(folder)
    names = [name for name in every if name in only or not only]
    with _watching(folder, report) as about:
        for number in range(inputs):
            name = names[number % len(names)]
            kind = every[name]
            draw = random.Random(f"{name} {seed} {number}")
            place = folder / kind.place
            before = place.read_bytes() if place.exists() else None
            about[:] = [f"{name} {seed} {number}"]
            place.write_bytes(mutated(draw.choice(kind.goods), kind.goods, draw, kind.text))
            try:
                _one(kind, place, name, report, about[0])
            finally:
                place.unlink() if before is None else place.write_bytes(before)
    return report


def _one(kind: Kind, place: Path, name: str, report: Report, told: str) -> None:
    report.inputs += 1
    signal.alarm(SECONDS)
    try:
        kind.reads(place)
        report.handled[name] += 1
    except UserError as error:
        said = bounded(printable(str(error)))  # as the command line does
        sound = said.strip() and len(said) < 3000 and "Traceback" not in said
        report.refused[name] += bool(sound)
        if not sound:
            report.faults.append(f"{told}: a message of {len(said)} characters: {one_line(said, 80)}")
    except Exception as error:
        report.faults.append(f"{told}: {type(error).__name__}: {one_line(error)}")
    finally:
        signal.alarm(0)


class HangError(Exception):
    """The time is over."""


@contextmanager
def _watching(folder: Path, report: Report) -> Iterator[list[str]]:
    """Notes writes outside the folder, and whatever is executed, connected to or imported from it."""
    about, active, inside = [""], [True], str(folder.resolve())

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if not active[0]:
            return
        if event == "open" and isinstance(args[0], str | bytes):
            name, flags = os.path.realpath(os.fsdecode(args[0])), args[2] if isinstance(args[2], int) else 0
            wrong = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and not name.startswith((inside, "/dev/"))
            wrong = wrong or (name.startswith(inside) and name.endswith((".py", ".pyc", ".so", ".pt2")))
        else:
            wrong = event in (
                "subprocess.Popen",
                "os.system",
                "os.exec",
                "os.posix_spawn",
                "socket.connect",
                "pickle.find_class",
            )
        if wrong:
            active[0] = False
            report.faults.append(f"{about[0]}: {event} {str(args)[:100]}")
            active[0] = True

    def over(*_: object) -> None:
        raise HangError(f"it took longer than {SECONDS} s")

    before, tempfile.tempdir = signal.signal(signal.SIGALRM, over), inside
    sys.addaudithook(hook)
    try:
        yield about
    finally:
        active[0] = False
        signal.signal(signal.SIGALRM, before)
        tempfile.tempdir = None


def main(inputs: int, folder: Path, seed: int, only: tuple[str, ...] = ()) -> int:
    """Fuzz, print a table, and say how many faults there were."""
    torch.set_num_threads(1)
    report = fuzz(folder, inputs, seed, only)
    for name in {**report.handled, **report.refused}:
        print(f"{name:14} {report.handled[name]:6} handled {report.refused[name]:6} refused with a sentence")
    for fault in report.faults:
        print(f"FAULT {fault}")
    print(f"{report.inputs} inputs, {len(report.faults)} faults")
    return len(report.faults)
