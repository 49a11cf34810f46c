"""Damaged and hostile files, made of good ones by a seed, and what reads them: each is handled, or refused with a sentence.

``python benchmarks/fuzz.py --inputs 5000`` is the long run. Every input is named by its kind, the seed and a number, and comes
again by the same name.
"""

import json
import os
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import toy
from damaged import UNWANTED, archives, checkpoint, listed, maps, mutated, networks, pictures, tables
from i2i.errors import UserError, bounded, one_line, printable
from i2i.files import sha256
from i2i.pictures.reading import read
from i2i.protocols import Domain, Preparation
from i2i.recipe import load_recipe
from i2i.training.assembly import assemble
from i2i.training.checkpoint import restore
from i2i.training.log import keep_until, read_metrics
from i2i.translation import finding
from i2i.translation.checkpoints import read_manifest
from i2i.translation.loading import load
from i2i_convert.checkpoints import read_checkpoint
from i2i_data.hub import hub
from i2i_data.pack_index import check_packs, write_index
from i2i_evaluate.evaluation import FORMAT, read_result
from i2i_evaluate.kept import kept
from i2i_provenance.inspection import inspect
from i2i_serve.forms import asked_of
from i2i_serve.limits import Limits
from i2i_serve.service import Service

SECONDS = 10
"""Of the processor, after which an input counts as one that hangs; and six times that by the clock, for a busy machine."""
IMAGE = Domain("day", "image", 3)
LABELS = Domain("land", "labels", 4)
PAINTED = Domain(
    "land", "labels", 3, colors=((0, 0, 0), (250, 0, 0), (0, 0, 250)), preparation=Preparation(colored=True, unknown=0)
)


BOUNDARY = "limit"


def form(picture: bytes) -> bytes:
    """The body of a request to ``i2i serve``."""
    values = {"direction": "a:b", "seed": "3", "own_size": "true"}
    parts = [f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode() for name, value in values.items()]
    parts.append(b'Content-Disposition: form-data; name="image"; filename="x.png"\r\n\r\n' + picture)
    return b"".join(b"--%s\r\n%s\r\n" % (BOUNDARY.encode(), part) for part in parts) + b"--%s--\r\n" % BOUNDARY.encode()


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


def kinds(folder: Path) -> Mapping[str, Kind]:
    """What is tried: a run of two steps is trained in *folder*, of whose files copies are damaged."""
    run = toy.trained(folder, "train.steps=2", "checkpoint.every=1", out="run").out
    assert run is not None
    registry = toy.registry()
    model, older = run / "model", sorted((run / "checkpoints").iterdir())[0]
    recipe = json.dumps(load_recipe(run / "recipe.yaml", [], registry).model_dump(mode="json")).encode()
    figure = {"name": "psnr", "value": 1, "better": "higher", "spread": None, "images": {}, "protocol": {}}
    result = {"format": FORMAT, "model": "m", "weights_sha256": "0", "step": 1, "notes": [""], "figures": [figure]}
    inside = f"run/{older.relative_to(run)}"

    def loads(path: Path) -> None:
        load(path.parent, "cpu", registry=registry, changed=True)

    manifest = json.loads((older / "manifest.json").read_bytes())

    def signed(path: Path) -> None:
        """A checkpoint by a stranger, who can write a manifest that fits."""
        files = {**manifest["files"], path.name: sha256(path)}
        (older / "manifest.json").write_text(json.dumps({**manifest, "files": files}))
        finding._rebuilt.cache_clear()  # the folder's time is that of its list of names
        load(Path(f"{run}@1"), "cpu", registry=registry)

    best = {"figures": [figure], "keep_best": "psnr", "value": 1, "step": 1}
    (run / "best").mkdir()
    begun = assemble(load_recipe(run / "recipe.yaml", [], registry), registry, run)

    service = Service(load(run, "cpu", registry=registry), Limits(pixels=10**6), "toy")

    def asks(path: Path) -> None:
        asked, _ = asked_of(path.read_bytes(), f"multipart/form-data; boundary={BOUNDARY}", {})
        service.png(service.translate(asked).after)

    def resumes(path: Path) -> None:
        lines = path.parent / "metrics.jsonl"
        read_metrics(lines)
        keep_until(lines, 1)

    packed = folder / "packed"
    packed.mkdir()
    (folder / "shards").mkdir()
    (packed / "train-00000-of-00001.parquet").write_bytes(tables()[0])
    write_index(packed, "train", [packed / "train-00000-of-00001.parquet"])
    (packed / "dog.png").write_bytes(pictures()[0])

    def pairs(source: Path, columns: tuple[str, str] = ("imageA", "imageB")) -> None:
        cache = tempfile.mkdtemp(dir=folder)
        whole: dict[str, Any] = {}
        for options in [whole] if source.suffix == ".csv" else [whole, {"streaming": True, "samples": 2}]:
            sample = hub(source=str(source), columns=columns, cache=cache, **options)[0]
            assert set(sample) == {"a", "b"}
        shutil.rmtree(cache)

    def refused_by_all(path: Path) -> None:
        for reads in (read_checkpoint, inspect, lambda p: load(p, "cpu", registry=registry)):
            with suppress(UserError):
                reads(path)
                raise AssertionError("it was read")

    return {
        "parquet": Kind(tables(), "pairs.parquet", pairs),
        "tar": Kind(archives(), "shards/train.tar", lambda p: pairs(p.parent, ("a.png", "b.png"))),
        "csv": Kind([listed("dog.png")], "packed/pairs.csv", pairs),
        "index": Kind(
            [(packed / "train.index.json").read_bytes()], "packed/train.index.json", lambda p: check_packs(p.parent), True
        ),
        "onnx": Kind(networks(), "model.onnx", refused_by_all),
        "recipe": Kind([toy.RECIPE.encode(), recipe], "r.yaml", lambda p: load_recipe(p, [], registry), True),
        "config.json": Kind([(model / "config.json").read_bytes()], "run/model/config.json", loads, True),
        "weights": Kind([(model / "model.safetensors").read_bytes()], "run/model/model.safetensors", loads),
        "manifest": Kind(
            [(older / "manifest.json").read_bytes()], f"{inside}/manifest.json", lambda p: read_manifest(p.parent), True
        ),
        "resumed": Kind(
            [(older / "manifest.json").read_bytes()], f"{inside}/manifest.json", lambda p: restore(begun, p.parent), True
        ),
        "best": Kind([json.dumps(best).encode()], "run/best/best.json", lambda p: kept(run), True),
        "checkpoint": Kind([(older / "ema.safetensors").read_bytes()], f"{inside}/ema.safetensors", signed),
        "state": Kind([(older / "state.json").read_bytes()], f"{inside}/state.json", signed, True),
        "metrics.jsonl": Kind([(run / "metrics.jsonl").read_bytes()], "run/metrics.jsonl", resumes, True),
        "result": Kind([json.dumps(result).encode()], "evaluation.json", read_result, True),
        "picture": Kind(pictures(), "picture.png", lambda p: read(p, IMAGE)),
        "label map": Kind(maps(), "map.png", lambda p: read(p, LABELS)),
        "painted map": Kind(pictures(), "map.png", lambda p: read(p, PAINTED)),
        "published": Kind([checkpoint()], "net_G.pth", read_checkpoint),
        "request": Kind([form(picture) for picture in pictures()[:4]], "body", asks),
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
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(6 * SECONDS)
    try:
        kind.reads(place)
        report.handled[name] += 1
    except UserError as error:
        fault = fault_of(error)
        report.refused[name] += not fault
        if fault:
            report.faults.append(f"{told}: {fault}")
    except Exception as error:
        report.faults.append(f"{told}: {type(error).__name__}: {one_line(error)}")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        if sys.modules.pop(UNWANTED, None):
            report.faults.append(f"{told}: it imported a module")


def fault_of(error: UserError) -> str:
    """What is wrong with a message as the command line prints it; empty if nothing."""
    said = bounded(printable(str(error)))
    sound = said.strip() and len(said) < 3000 and "Traceback" not in said
    return "" if sound else f"a message of {len(said)} characters: {one_line(said, 80)}"


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

    before, tempfile.tempdir = [(number, signal.signal(number, over)) for number in (signal.SIGALRM, signal.SIGPROF)], inside
    sys.addaudithook(hook)
    try:
        yield about
    finally:
        active[0] = False
        for number, handler in before:
            signal.signal(number, handler)
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
