"""The figures of translations, each kept place by place, so that a table can draw places anew without measuring again.

A place is a tile of the Earth or a thing that was drawn. Crops lie at fixed spots of a picture, the same for all arms. Sets are
compared by pairs of crops from different places only, in all three terms of a distance alike: crops of one place resemble each
other, and a translation resembles its own truth, neither of which says anything about the set.
"""

import hashlib
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from arms import EXTRACTORS, LUMINANCE, REACH, USES
from held import from_bytes, held_out, read, save, to_bytes
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from i2i.metrics import to_zero_one
from i2i_metrics.extractors import extractor
from i2i_metrics.perceptual import distance
from i2i_metrics.retrieval import ranks

CROPS, CROP, ENLARGED = 8, 48, 96
"""So many crops of a picture, of so many pixels a side; crops and whole pictures are enlarged to so many."""
RETRIEVED = 128
"""To so many for retrieval, as the metric of that name has it."""
NEIGHBOURS = 3
"""Precision and recall: a ball reaches to this neighbour."""
LUMA = torch.tensor([0.2126, 0.7152, 0.0722])

Arrays = dict[str, NDArray[Any]]


class Case(NamedTuple):
    """Translations (places, 3, H, W) in [-1, 1] of a use's split, and the folder for the features of the truths."""

    name: str
    split: str
    made: Tensor
    kept: Path

    @property
    def true(self) -> Tensor:
        """The true pictures."""
        return truths(self.name, self.split)


def figures_of(
    name: str, split: str, folder: Path, made: Callable[[], Tensor], extractors: Sequence[str] = tuple(EXTRACTORS)
) -> Arrays:
    """All figures of one set of translations, from *folder* or measured and kept there; *made* is called if they are missing.

    By name: ``kid[NET]`` (places, places), the blocks of :func:`blocks`; ``precision[NET]``, ``recall[NET]``, ``lpips[NET]``,
    ``psnr``, ``ssim`` (places,); ``retrieval[NET]`` (places,), 1 where the nearest truth is the own; ``lights`` and
    ``elsewhere`` (places, 4).
    """
    pictures, path = folder / f"{split}-pictures.npz", folder / f"{split}-figures.npz"
    found, wanted = read(path), wanted_of(name, extractors)
    if missing := [figure for figure in wanted if figure not in found]:
        kept = read(pictures)
        if len(kept.get("made", ())) != len(truths(name, split)):
            kept, found = {"made": made().numpy()}, {}
            save(pictures, **kept)
        case = Case(name, split, from_bytes(torch.from_numpy(kept["made"])), folder.parents[1] / "truths")
        for figure in missing:
            kind, _, net = figure.rstrip("]").partition("[")
            found.update(_MEASURES[kind](case, net))
        save(path, **found)
    return {figure: found[figure] for figure in wanted}


def are_there(name: str, split: str, folder: Path, extractors: Sequence[str]) -> bool:
    """Whether all figures were measured."""
    return set(wanted_of(name, extractors)) <= set(read(folder / f"{split}-figures.npz"))


def wanted_of(name: str, extractors: Sequence[str]) -> list[str]:
    """The names of the figures of a use."""
    use = USES[name]
    pairs = ["lpips"] if use.aligned or "retrieval" in use.figures else []
    sets = ["kid", "precision", "recall", *pairs, *(["retrieval"] if "retrieval" in use.figures else [])]
    alone = [*(["psnr", "ssim"] if use.aligned else []), *(["lights", "elsewhere"] if "lights" in use.figures else [])]
    return [f"{kind}[{net}]" for net in extractors for kind in sets] + alone


def crops(images: Tensor) -> Tensor:
    """Pictures (N, 3, H, W) to their crops (N, 8, 3, h, w), at spots that depend on the place alone."""
    spots, most = torch.Generator().manual_seed(0), images.shape[-1] - CROP
    found = []
    for image in images:
        corners = torch.randint(most + 1, (CROPS, 2), generator=spots).tolist()
        found.append(torch.stack([image[:, y : y + CROP, x : x + CROP] for y, x in corners]))
    return torch.stack(found)


def features(images: Tensor, net: str, whole: bool, side: int = ENLARGED) -> Tensor:
    """The pooled features of all crops, or of *whole* pictures, (places, crops, d), float64, enlarged to *side* pixels."""
    cut = images[:, None] if whole else crops(images)
    flat = cut.flatten(0, 1)
    if flat.shape[-1] < side:
        flat = F.interpolate(flat, (side, side), mode="bicubic", antialias=True).clamp(-1, 1)
    network = extractor(net)
    with torch.inference_mode():
        found = torch.cat([network(part).double() for part in torch.split(flat, 32)])
    return found.reshape(*cut.shape[:2], -1).clone()


@cache
def true_features(name: str, split: str, net: str, kept: Path, side: int = ENLARGED) -> Tensor:
    """Those of the truths, computed once for all arms."""
    true = truths(name, split)
    path = kept / f"{split}-{net}-{side}-{hashlib.sha256(true.numpy().tobytes()).hexdigest()[:8]}.npz"
    if not path.is_file():
        save(path, features=features(true, net, USES[name].whole, side))
    return torch.from_numpy(read(path)["features"])


@cache
def truths(name: str, split: str) -> Tensor:
    """The true pictures, (places, 3, H, W), as files hold them."""
    return from_bytes(to_bytes(held_out(name, split)[1]))


@lru_cache(maxsize=2)
def _both(case: Case, net: str) -> tuple[Tensor, Tensor]:
    """The features of the translations and of the truths."""
    return features(case.made, net, USES[case.name].whole), true_features(case.name, case.split, net, case.kept)


def blocks(x: Tensor, y: Tensor) -> Tensor:
    """(places, crops, d) of translations and truths to k(x, x') + k(y, y') - k(x, y') - k(y, x'), a mean for each two places.

    The kernel is that of the kernel distance (Bińkowski et al. 2018). :func:`tables.kernel_distance` makes the distance of it.
    """
    places, each, d = x.shape

    def between(one: Tensor, other: Tensor) -> Tensor:
        whole = (one.flatten(0, 1) @ other.flatten(0, 1).T / d + 1) ** 3
        return whole.reshape(places, each, places, each).mean((1, 3))

    cross = between(x, y)
    return between(x, x) + between(y, y) - cross - cross.T


def covered(points: Tensor, centres: Tensor) -> Tensor:
    """For each place the share of its points that lie in a ball around a centre of another place, (places,).

    A ball reaches to the centre's third nearest neighbour of another place (Kynkäänniemi et al. 2019, section 2).
    """
    places, each, _ = points.shape
    own = torch.eye(places, dtype=torch.bool).repeat_interleave(each, 0).repeat_interleave(each, 1)
    flat, middle = points.flatten(0, 1), centres.flatten(0, 1)
    radii = torch.cdist(middle, middle).masked_fill(own, float("inf")).kthvalue(NEIGHBOURS).values
    inside = (torch.cdist(flat, middle) <= radii).masked_fill(own, False).any(1)
    return inside.double().reshape(places, each).mean(1)


def _kid(case: Case, net: str) -> Arrays:
    return {f"kid[{net}]": blocks(*_both(case, net)).numpy()}


def _coverage(case: Case, net: str) -> Arrays:
    made, real = _both(case, net)
    return {f"precision[{net}]": covered(made, real).numpy(), f"recall[{net}]": covered(real, made).numpy()}


def _retrieval(case: Case, net: str) -> Arrays:
    """1 where no other truth is nearer to the translation than its own, by the angle of the features."""
    made = features(case.made, net, True, RETRIEVED)
    real = true_features(case.name, case.split, net, case.kept, RETRIEVED)
    made, real = (F.normalize(x.mean(1), dim=1) for x in (made, real))
    return {f"retrieval[{net}]": (ranks(made, real) == 0).double().numpy()}


def _lpips(case: Case, net: str) -> Arrays:
    network = distance(net)
    with torch.inference_mode():
        pairs = zip(torch.split(case.made, 32), torch.split(case.true, 32), strict=True)
        return {f"lpips[{net}]": torch.cat([network(x, y).double() for x, y in pairs]).numpy()}


def _psnr(case: Case, net: str) -> Arrays:
    error = (to_zero_one(case.made) - to_zero_one(case.true)).double().square().mean((1, 2, 3))
    return {"psnr": (-10 * error.clamp_min(1e-10).log10()).numpy()}


def _ssim(case: Case, net: str) -> Arrays:
    one, other = to_zero_one(case.made), to_zero_one(case.true)
    _, spots = structural_similarity_index_measure(one, other, reduction="none", data_range=1.0, return_full_image=True)
    inner: Tensor = spots[..., 5:-5, 5:-5]
    return {"ssim": inner.mean((1, 2, 3)).double().numpy()}


def _lights(case: Case, net: str) -> Arrays:
    """Of each place: lights made, those of them near a true one, true lights, those of them near one that was made."""
    return {"lights": np.array([lights(one, true) for one, true in zip(case.made, case.true, strict=True)])}


def _elsewhere(case: Case, net: str) -> Arrays:
    """The same with the true lights of another place: what lights get that know nothing of the place."""
    pairs = zip(case.made, case.true.roll(len(case.true) // 2, 0), strict=True)
    return {"elsewhere": np.array([lights(one, other) for one, other in pairs])}


def lights(made: Tensor, true: Tensor) -> list[int]:
    """The four numbers of two pictures (3, H, W) in [-1, 1]."""
    ours, theirs = (bright(image) for image in (made, true))
    return [int(ours.sum()), int((ours & near(theirs)).sum()), int(theirs.sum()), int((theirs & near(ours)).sum())]


def bright(image: Tensor) -> NDArray[np.bool_]:
    """The pixels whose luminance, of the colours as they are stored, is above the threshold, (H, W)."""
    found: NDArray[np.bool_] = (torch.einsum("chw,c->hw", to_zero_one(image), LUMA) > LUMINANCE).numpy()
    return found


def near(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels within the reach of one that is set."""
    if not mask.any():
        return np.zeros_like(mask)
    found: NDArray[np.bool_] = distance_transform_edt(~mask) <= REACH
    return found


_MEASURES = {
    "kid": _kid,
    "precision": _coverage,
    "recall": _coverage,
    "retrieval": _retrieval,
    "lpips": _lpips,
    "psnr": _psnr,
    "ssim": _ssim,
    "lights": _lights,
    "elsewhere": _elsewhere,
}
