"""Every command that writes, on disks that are full at one moment after another: a tmpfs of each size up to what it needs.

A command has to say once what could not be written and that the disk is full, and end with exit code 2. What it leaves is
whole, nothing of it hidden or half written. Once there is room, and it is given again as its message says, it makes what it
makes on an empty disk, byte by byte. Mounting needs root.

    python benchmarks/full_disk.py [--cuts 50] [--commands NAME …] [--json FILE]
"""

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from machine import arguments, keep, machine_line
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import forked
from i2i_translate.video import torchcodec
from parity_cases import Case, files
from test_content_credentials import signers
from test_moving import film

RECIPE = """
dataset: {name: earth, a: labels, b: day, paired: true, crop: 64}
generator: {name: unet, width: 4, downs: 5}
discriminator: {name: patchgan, width: 4, layers: 2}
loss: {name: pix2pix}
train: {steps: 12, batch_size: 1, seed: 3, workers: 0}
samples: {every: 4, count: 1}
checkpoint: {every: 3, keep_last: 2}
evaluate: {metrics: [l1], every: 4, keep_best: l1, images: 2}
log: {every: 1, trackers: [tensorboard]}
"""
PLENTY = 200_000
"""Kilobytes that are enough for anything here."""
GROWS = re.compile(r"log\.txt|metrics\.jsonl|report\.html|events\.out\..*|hparams\.yml|\.lock.*|recipe\.yaml")
"""What a run adds to, or writes again, with times in it."""

STAGES = ("run/checkpoints/", "run/model/", "run/best/")
"""Where another step's files are while the run is not at its end."""


@dataclass(frozen=True)
class Command:
    """Arguments, in which DISK is the disk; what is added to them when they are given again; a pattern of files that differ."""

    line: str
    again: str = ""
    varies: str = r"(?!)"


COMMANDS: Mapping[str, Command] = {
    "run": Command("run recipe.yaml --out DISK/run", "--resume"),
    "run by two": Command("run recipe.yaml --out DISK/run --processes 2", "--resume"),
    "translate": Command("translate RUN pictures --out DISK/out --to day --resize none --grid", "--overwrite"),
    "translate a video": Command("translate NIGHT film.mp4 --out DISK/out", "--overwrite"),
    "translate, signed": Command(
        "translate RUN pictures --out DISK/out --to day --c2pa chain.pem key.pem", "--overwrite", r".*\.png"
    ),
    "data pack": Command("data pack sides.yaml --out DISK/pack --rows 2"),
    "export onnx": Command("export NIGHT --format onnx --out DISK/m.onnx", "--overwrite"),
    "export torch-export": Command(
        "export NIGHT --format torch-export --out DISK/m.pt2", "--overwrite", r"m\.pt2(\.report\.json)?"
    ),
    "export web": Command("export NIGHT --format web --runtime cdn --out DISK/web", "--overwrite"),
    "push": Command("push RUN ann/x --dry-run --out DISK/push"),
    "plugins new": Command("plugins new soft --out DISK/i2i-soft"),
    "new": Command("new sides/a sides/b --method cyclegan --out DISK/made.yaml", varies=r".*\.yaml"),
    "convert": Command("convert net_G.pth --from junyanz --out DISK/model"),
    "eval": Command("eval RUN --metrics l1 --images 1 --json DISK/figures.json"),
    "compare": Command("compare RUN NIGHT --images 1 --pictures 1 --out DISK/page.html"),
}


def life(arguments: list[str]) -> None:
    """``i2i``, which takes any disk for large enough at first."""
    usage = shutil.disk_usage
    shutil.disk_usage = lambda path: usage(path)._replace(free=2**40)
    forked.command(arguments)


def called(line: str, folder: Path, environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """The command in a process of its own."""
    return forked.ended(forked.Forked(life, shlex.split(line), folder=folder, environment=environment), 900)


@contextmanager
def disk(place: Path, kilobytes: int) -> Iterator[Path]:
    """A disk of that size.

    Raises:
        PermissionError: mounting is not allowed here.
    """
    place.mkdir(exist_ok=True)
    mounted(place, f"size={kilobytes}k")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def mounted(place: Path, options: str) -> None:
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(place)], capture_output=True, text=True)
    if done.returncode:
        raise PermissionError(done.stderr.strip() or "mount failed")


def contents(place: Path) -> dict[str, bytes]:
    """All files by their path."""
    found = (path for path in sorted(place.rglob("*")) if path.is_file())
    return {path.relative_to(place).as_posix(): path.read_bytes() for path in found}


def used(place: Path) -> int:
    """Kilobytes."""
    told = os.statvfs(place)
    return (told.f_blocks - told.f_bfree) * told.f_frsize // 1024


def comparable(files: Mapping[str, bytes], varies: str) -> dict[str, str]:
    """Hashes by path, without what differs from run to run: the names of such files stay, and losses without times."""
    found = {}
    for name, data in files.items():
        own = name.rpartition("/")[2]
        if own == "metrics.jsonl":
            lines = [json.loads(line) for line in data.splitlines()]
            found[name] = repr([{k: v for k, v in line.items() if k not in ("images_per_second", "waiting")} for line in lines])
        elif not own.startswith("events.out") and own != "hparams.yml":
            varied = GROWS.fullmatch(own) or re.fullmatch(varies, own)
            found[name] = "" if varied else hashlib.sha256(data).hexdigest()
    return found


def faults(
    command: Command, kilobytes: int, whole: Mapping[str, str], folder: Path, environment: Mapping[str, str]
) -> list[str]:
    """What is wrong with a command on a disk of that size, and when it is given again."""
    wrong: list[str] = []
    with disk(folder / "disk", kilobytes + 4) as place:  # as 0 is without limit
        (ballast := place / "ballast").write_bytes(bytes(4096))
        line = command.line.replace("DISK", "disk")
        done = called(line, folder, environment)
        said = [text for text in done.stderr.splitlines() if text.startswith("i2i: ")]
        if done.returncode != 2 or len(said) != 1 or "the disk is full" not in said[0] or "Traceback" in done.stderr:
            wrong.append(f"exit code {done.returncode}, {said}: {done.stderr.strip()[-400:]!r}")
        if re.search(r"^(written|published)", done.stdout, re.M):
            wrong.append(f"it said {done.stdout!r}")
        ballast.unlink()
        left = contents(place)
        if hidden := [name for name in left if re.search(r"(^|/)\.(?!lock)", name)]:
            wrong.append(f"hidden files were left: {hidden}")
        for name, data in comparable(left, command.varies).items():
            if name.startswith(STAGES):  # compared once the run has ended
                continue
            if not GROWS.fullmatch(name.rpartition("/")[2]) and data != whole.get(name):
                wrong.append(f"{name} is not what it should be")
        mounted(place, f"remount,size={PLENTY}k")
        fresh = "--resume" in command.again and not (place / "run" / "recipe.yaml").exists()
        done = called(f"{line} {'' if fresh else command.again}", folder, environment)
        after = contents(place)
        if done.returncode:
            wrong.append(f"again: exit code {done.returncode}: {done.stderr.strip()[-400:]!r}")
        elif different := differing(comparable(after, command.varies), whole):
            wrong.append(f"again: it makes something else: {different}")
    return wrong


def differing(found: Mapping[str, str], whole: Mapping[str, str]) -> list[str]:
    """Names of files that are missing, too many or different."""
    return [name for name in {**whole, **found} if found.get(name) != whole.get(name)]


def prepare(folder: Path, environment: Mapping[str, str]) -> None:
    """A trained run, pictures and what else the commands read."""
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    for line in (
        "run recipe.yaml --out RUN --set log.trackers=[]",
        "run recipe.yaml --out NIGHT --set log.trackers=[] --set dataset.a=night",
    ):
        done = called(line, folder, environment)
        assert done.returncode == 0, done.stderr
    random = np.random.default_rng(0)
    (folder / "pictures").mkdir()
    for i in range(3):
        ids = random.integers(0, 2, (64, 64), dtype=np.uint8)
        Image.fromarray(ids).save(folder / "pictures" / f"{i}.png")
    for side in "ab":
        (folder / "sides" / side).mkdir(parents=True)
        for i in range(4):
            pixels = random.integers(0, 255, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "sides" / side / f"{i}.png")
    sides = "dataset: {name: folders, a: sides/a, b: sides/b, paired: false}"
    (folder / "sides.yaml").write_text(RECIPE.replace(RECIPE.split("\n")[1], sides), encoding="utf-8")
    film(folder / "film.mp4", torchcodec("encoders"), [random.integers(0, 255, (96, 96, 3), dtype=np.uint8) for _ in range(40)])
    signers(folder)
    case = Case(next(name for name in files("generator") if "resnet" in name))
    torch.save(case.state("netG"), folder / "net_G.pth")


def moments(need: int, cuts: int) -> list[int]:
    """Sizes in kilobytes, whole pages, of which none is enough."""
    return sorted(size for i in range(cuts) if (size := int(need * (i + 0.5) / cuts / 4) * 4) < need)


def tried(name: str, cuts: int, folder: Path, environment: Mapping[str, str]) -> tuple[int, int, list[str]]:
    """Kilobytes that a command needs, the number of full disks, and what was wrong."""
    command = COMMANDS[name]
    with disk(folder / "disk", PLENTY) as place:
        done = called(command.line.replace("DISK", "disk"), folder, environment)
        assert done.returncode == 0, done.stderr
        whole, need = comparable(contents(place), command.varies), used(place)
    sizes = list(dict.fromkeys(moments(need, cuts)))
    found = {size: faults(command, size, whole, folder, environment) for size in sizes}
    return need, len(sizes), [f"{size} kB: {text}" for size, texts in found.items() for text in texts]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--cuts", type=int, default=4, help="full disks for each command")
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=[*COMMANDS])
    options = parser.parse_args()
    print(machine_line())
    figures = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
        prepare(folder, environment)
        for name in options.commands:
            need, count, wrong = tried(name, options.cuts, folder, environment)
            print(f"{name:22} needs {need:6,} kB: {count} full disks, {len(wrong)} faults", flush=True)
            for text in wrong:
                print(f"    {text}")
            figures[name] = {"kilobytes": need, "disks": count, "faults": wrong}
    keep(figures, options.json)


if __name__ == "__main__":
    main()
