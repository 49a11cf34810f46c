"""The invisible watermark: how often it is found after JPEG, resizing and more, how visible it is, and what it costs.

For each size, crops of the Earth sample's three pictures and drawn pictures (a ramp, stripes, discs, noise, plain white, black
and grey) are marked, attacked and checked. Reported are the share in which the mark is found, the lowest score (it counts as
found from 6.5 on), the PSNR of the marked pictures, the seconds for one picture, and the highest score of many unmarked ones.
``--rivagan`` measures the package invisible-watermark (``pip install invisible-watermark onnxruntime``) instead: the share with
at most 2 of 32 bits wrong, which happens by chance once in 8 million (529 of 2^32), and the mean share of correct bits.

    python benchmarks/watermark.py [--sides 128 256 512] [--pictures 8] [--unmarked 2000] [--rivagan] [--json FILE]
"""

import io
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from machine import arguments, keep, machine_line
from PIL import Image, ImageDraw
from rich.console import Console
from rich.table import Table

import i2i_earth
from i2i.pictures.pixels import read_picture
from i2i.pictures.sources import Blob
from i2i_provenance.watermark import MARKER, THRESHOLD, mark, score

Picture = Image.Image
Score = Callable[[Picture], float]


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("--sides", type=int, nargs="+", default=[128, 256, 512])
    parser.add_argument("--pictures", type=int, default=8, help="crops of each of three pictures")
    parser.add_argument("--unmarked", type=int, default=2000, help="number of unmarked pictures")
    parser.add_argument("--rivagan", action="store_true", help="measure the package invisible-watermark instead")
    options = parser.parse_args()
    put, look, enough = rivagan() if options.rivagan else (mark, score, THRESHOLD)
    print(machine_line())
    figures = {str(side): measure(side, options.pictures, put, look, enough) for side in options.sides}
    highest = max(look(picture) for picture in unmarked(options.unmarked)) if options.unmarked else None
    show(figures, "found, mean bits right" if options.rivagan else "found, lowest score")
    print(f"highest score of {options.unmarked} unmarked pictures: {highest} (found from {enough} on)")
    keep({"sides": figures, "highest_unmarked": highest}, options.json)


def measure(side: int, count: int, put: Callable[[Picture], Picture], look: Score, enough: float) -> dict[str, Any]:
    """The figures of one size."""
    told: dict[str, Any] = {}
    for kind, pictures in (("earth", list(crops(side, count, seed=1))), ("drawn", drawn(side))):
        start = time.perf_counter()
        marked = [put(picture) for picture in pictures]
        seconds = (time.perf_counter() - start) / len(pictures)
        told[kind] = {"psnr": [psnr(*pair) for pair in zip(pictures, marked, strict=True)], "seconds": seconds}
        for name, attack in ATTACKS.items():
            scores = [look(attack(picture)) for picture in marked]
            middle = float(np.mean(scores)) if enough < 1 else min(scores)
            told[kind][name] = [float(np.mean([each >= enough for each in scores])), middle]
    return told


def crops(side: int, count: int, seed: int) -> Iterator[Picture]:
    """Squares from anywhere in the Earth sample's day, night and old map."""
    generator = np.random.default_rng(seed)
    for name in ("day", "night", "oldmap"):
        whole = read_picture(Path(i2i_earth.__file__).parent / "data" / f"{name}.jpg").convert("RGB")
        for _ in range(count):
            x, y = (int(generator.integers(length - side)) for length in whole.size)
            yield whole.crop((x, y, x + side, y + side))


def drawn(side: int) -> list[Picture]:
    """A ramp, stripes, discs, noise and uniform grey."""
    generator = np.random.default_rng(0)
    ramp = np.linspace(0, 255, side).astype(np.uint8)[:, None, None].repeat(side, 1).repeat(3, 2)
    stripes = (np.arange(side) // 4 % 2 * 200).astype(np.uint8)[None, :, None].repeat(side, 0).repeat(3, 2)
    noise = generator.integers(0, 256, (side, side, 3), np.uint8)
    discs = Image.new("RGB", (side, side), "navy")
    for _ in range(30):
        (x, y), r = generator.integers(0, side, 2), side // 10
        ImageDraw.Draw(discs).ellipse((x - r, y - r, x + r, y + r), tuple(int(c) for c in generator.integers(0, 256, 3)))
    plain = [Image.new("RGB", (side, side), colour) for colour in ("white", "black", "grey")]
    return [*(Image.fromarray(each) for each in (ramp, stripes, noise)), discs, *plain]


def unmarked(count: int) -> Iterator[Picture]:
    """Crops of several sizes, and the drawn pictures."""
    for side in (64, 128, 200, 256):
        yield from crops(side, -(-count // 12), seed=side)
        yield from drawn(side)


def jpeg(quality: int) -> Callable[[Picture], Picture]:
    """Through a JPEG file."""

    def attack(picture: Picture) -> Picture:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality)
        return read_picture(Blob(file.getvalue(), "the picture")).convert("RGB")

    return attack


def scaled(factor: float, back: bool = False) -> Callable[[Picture], Picture]:
    """Resized, and resized back if ``back``."""

    def attack(picture: Picture) -> Picture:
        small = picture.resize((round(picture.width * factor), round(picture.height * factor)), Image.Resampling.BICUBIC)
        return small.resize(picture.size, Image.Resampling.BICUBIC) if back else small

    return attack


def noisy(picture: Picture) -> Picture:
    """With normal noise of 4 grey levels."""
    pixels = np.asarray(picture) + np.random.default_rng(0).normal(0, 4, (picture.height, picture.width, 3))
    return Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))


def cropped(picture: Picture) -> Picture:
    """With a tenth cut away."""
    x, y = picture.width // 20, picture.height // 20
    return picture.crop((x, y, picture.width - x, picture.height - y))


ATTACKS: dict[str, Callable[[Picture], Picture]] = {
    "as it is": lambda picture: picture,
    **{f"JPEG {quality}": jpeg(quality) for quality in (95, 90, 80, 75, 70, 60, 50)},
    **{f"{percent} %": scaled(percent / 100) for percent in (50, 75, 150)},
    "50 % and back": scaled(0.5, back=True),
    "50 %, JPEG 75": lambda picture: jpeg(75)(scaled(0.5)(picture)),
    "noise": noisy,
    "contrast 1.15": lambda picture: picture.point(lambda value: value * 1.15),
    "grey": lambda picture: picture.convert("L").convert("RGB"),
    "10 % cropped": cropped,
}


def psnr(a: Picture, b: Picture) -> float:
    """In dB, over all channels."""
    return float(10 * np.log10(255**2 / np.mean((np.asarray(a, np.float64) - np.asarray(b, np.float64)) ** 2)))


def rivagan() -> tuple[Callable[[Picture], Picture], Score, float]:
    """The networks of invisible-watermark, with onnxruntime only: the package itself imports OpenCV."""
    import hashlib

    import onnxruntime

    spec = find_spec("imwatermark")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("pip install invisible-watermark onnxruntime")
    folder = Path(spec.submodule_search_locations[0])
    encoder, decoder = (onnxruntime.InferenceSession(folder / f"rivagan_{name}.onnx") for name in ("encoder", "decoder"))
    bits = np.unpackbits(np.frombuffer(hashlib.sha256(MARKER).digest()[:4], np.uint8)).astype(np.float32)

    def frame(picture: Picture) -> dict[str, Any]:
        return {"frame": (np.asarray(picture, np.float32) / 127.5 - 1).transpose(2, 0, 1)[None, :, None]}

    def put(picture: Picture) -> Picture:
        made = encoder.run(None, frame(picture) | {"data": bits[None]})[0][0, :, 0].transpose(1, 2, 0)
        return Image.fromarray(((made + 1) * 127.5).round().clip(0, 255).astype(np.uint8))

    def right(picture: Picture) -> float:
        return float(((decoder.run(None, frame(picture))[0][0] > 0.52) == (bits > 0)).mean())

    return put, right, 30 / 32


def show(figures: dict[str, Any], meaning: str) -> None:
    """Print one column for each size and kind of picture."""
    table = Table(title=meaning)
    table.add_column("")
    columns = [(side, kind) for side in figures for kind in figures[side]]
    for side, kind in columns:
        table.add_column(f"{side} px, {kind}", justify="right")
    cells = [figures[side][kind] for side, kind in columns]
    table.add_row("PSNR dB, mean (lowest)", *(f"{np.mean(c['psnr']):.1f} ({min(c['psnr']):.1f})" for c in cells))
    table.add_row("seconds to mark", *(f"{c['seconds']:.3f}" for c in cells))
    for name in ATTACKS:
        table.add_row(name, *(f"{c[name][0]:.0%}, {c[name][1]:.2f}" for c in cells))
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
