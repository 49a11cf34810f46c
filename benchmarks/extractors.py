"""Whether a distance in an extractor's features orders what everybody would order.

Pictures are halved at random. Against the first half stand the second as it is, blurred, strongly blurred and with noise; a
distance that can be used rises in this order, and that of the second half as it is lies near 0. Pictures are crops of the Earth
sample and, with ``--parquet``, the emoji of a file with columns of encoded pictures.

    python benchmarks/extractors.py [--parquet FILE] [--networks NAME[/LAYER] …] [--count N] [--json FILE]
"""

import io
from collections.abc import Sequence
from pathlib import Path

import torch
from machine import arguments, keep, machine_line
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur, pil_to_tensor

from i2i.registry import default_registry
from i2i_metrics.extractors import extractor
from i2i_metrics.fid import Moments, frechet
from i2i_metrics.kid import discrepancy

NETWORKS = ("efficientnet_lite0", "efficientnet_lite2", "thin_resnet50", "thin_resnet50/stage2")
VARIANTS = ("other half", "blur", "strong blur", "noise")


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("--networks", nargs="+", default=NETWORKS, help="extractors, each with a layer after a slash, if any")
    parser.add_argument("--parquet", type=Path, help="a file with the columns glossy and noto, encoded pictures")
    parser.add_argument("--count", type=int, default=400, help="pictures of each set (400)")
    chosen = parser.parse_args()
    torch.manual_seed(0)
    sets = {f"earth {side}": earth(side, chosen.count) for side in ("day", "night")}
    if chosen.parquet is not None:
        sets |= {column: emoji(chosen.parquet, column, chosen.count) for column in ("glossy", "noto")}
    console, found = Console(width=180), {}
    console.print(machine_line())
    table = Table("pictures", "extractor", *(f"{kind} {v}" for kind in ("kid", "fid") for v in VARIANTS))
    with torch.inference_mode():
        for name, pictures in sets.items():
            for network in chosen.networks:
                found[f"{name}: {network}"] = figures = distances(network, pictures)
                table.add_row(name, network, *(f"{figure:.4g}" for figure in figures))
    console.print(table)
    keep(found, chosen.json)


def distances(network: str, pictures: Tensor) -> list[float]:
    """KID of each variant, then FID of each, from pictures (N, 3, H, W) in [-1, 1]."""
    plain, other = pictures.chunk(2)
    name, _, layer = network.partition("/")
    look = extractor(name, layer or None)

    def features(x: Tensor) -> Tensor:
        return torch.cat([look(part) for part in x.split(50)]).double()

    noise = torch.randn(other.shape, generator=torch.Generator().manual_seed(0))
    variants = (
        other,
        gaussian_blur(other, [7, 7], [1.0]),
        gaussian_blur(other, [19, 19], [3.0]),
        (other + 0.3 * noise).clamp(-1, 1),
    )
    reference, made = features(plain), [features(x) for x in variants]
    return [discrepancy(x, reference) for x in made] + [frechet(gauss(x), gauss(reference)) for x in made]


def gauss(features: Tensor) -> tuple[Tensor, Tensor]:
    moments = Moments()
    moments.add(features)
    return moments.gauss()


def earth(side: str, count: int) -> Tensor:
    """(count, 3, 64, 64): random crops of the training bands."""
    other = "night" if side == "day" else "day"
    dataset = default_registry().get("dataset", "earth").factory(a=side, b=other, crop=64, flip=False)
    return torch.stack([dataset[index]["a"] for index in range(count)])


def emoji(path: Path, column: str, count: int) -> Tensor:
    """(count, 3, H, W) on white, shuffled."""
    import pyarrow.parquet

    rows: Sequence[bytes] = pyarrow.parquet.read_table(path, columns=[column])[column].to_pylist()
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:count]
    return torch.stack([on_white(rows[place]) for place in order.tolist()])


def on_white(content: bytes) -> Tensor:
    picture = Image.open(io.BytesIO(content), formats=("WEBP", "PNG")).convert("RGBA")
    drawn = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return pil_to_tensor(drawn) / 127.5 - 1


if __name__ == "__main__":
    main()
