"""Memory and time of large pictures: ``i2i translate`` on one of each kind, each in a process of its own.

    python benchmarks/large_pictures.py RUN [--side 8192] [--tiles 384 1024]

RUN is a trained run or a model folder. Plain pictures are the hardest for tiles: their channels hardly vary, and norms make the
rounding of what is left as large as any picture. Reported is the peak of the resident memory, of which torch itself is a part,
and the time of the whole command.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import tifffile
from machine import arguments, keep, machine_line
from PIL import Image

import i2i
from i2i.protocols import Domain

PLAIN = (120, 80, 40)


def main() -> None:
    """Write a picture of each kind, translate it, and print."""
    parser = arguments(__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--side", type=int, default=8192)
    parser.add_argument("--tiles", type=int, nargs="+", default=[], help="sides of tiles; default: that of the command")
    parser.add_argument("--kinds", nargs="+", default=[], metavar="NAME", help="default: all")
    options = parser.parse_args()
    model = i2i.load(options.run)
    source, target = model.directions[0]
    way = ["--source", model.label(source), "--to", model.label(target)]
    kinds = pictures(model.domains[source], options.side)
    figures = []
    print(f"torch alone: {peak_of([sys.executable, '-c', 'import torch'])[0]:.2f} GB")
    for name in options.kinds or kinds:
        for tile in options.tiles or [None]:
            with tempfile.TemporaryDirectory() as folder:
                path = kinds[name](Path(folder) / "picture")
                command = [
                    sys.executable,
                    "-m",
                    "i2i",
                    "translate",
                    str(options.run),
                    str(path),
                    *way,
                    "--out",
                    folder + "/out",
                ]
                peak, seconds = peak_of(command + (["--tile", str(tile)] if tile else []))
            figures.append({"kind": name, "tile": tile, "gigabytes": peak, "seconds": seconds})
            print(
                f"{name}, {options.side} px, tile {tile or 'of the command'}: peak {peak:.2f} GB, {seconds:.0f} s", flush=True
            )
    print(machine_line())
    keep(figures, options.json)


def peak_of(command: list[str]) -> tuple[float, float]:
    """The largest resident memory of a command, in units of 10^9 bytes, and its seconds."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return used.ru_maxrss * 1024 / 1e9, time.perf_counter() - begun


def pictures(domain: Domain, side: int) -> Mapping[str, Callable[[Path], Path]]:
    """What writes a picture of each kind and returns its path."""

    def labels(path: Path) -> Path:
        ids = np.zeros((side, side), np.uint8)
        ids[side // 4 : -side // 4, side // 4 : -side // 4] = domain.label_count - 1
        return saved(Image.fromarray(ids), path)

    def sixteen(path: Path) -> Path:
        tifffile.imwrite(path.with_suffix(".tif"), np.full((side, side, 4), 30000, np.uint16), compression="zlib")
        return path.with_suffix(".tif")

    def noise(path: Path) -> Path:
        return saved(Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)), path)

    if domain.kind == "labels":
        return {"one class at the edge": labels}
    plain = Image.new("RGB", (side, side), PLAIN)
    return {"one colour": lambda path: saved(plain, path), "16-bit RGBA of one colour": sixteen, "noise": noise}


def saved(picture: Image.Image, path: Path) -> Path:
    """Write a PNG."""
    picture.save(path.with_suffix(".png"), compress_level=1)
    return path.with_suffix(".png")


if __name__ == "__main__":
    main()
