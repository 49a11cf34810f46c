"""One sample of a data set, checked before the first step."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from i2i.data import read_sample
from i2i.errors import UserError
from i2i.labels import check_ids
from i2i.protocols import Dataset, Domain
from i2i.recipe import Recipe

Size = tuple[int, int]
"""Height, width."""


def check_sample(recipe: Recipe, dataset: Dataset, index: int = 0, wants: frozenset[str] = frozenset()) -> dict[str, Tensor]:
    """A sample, checked: keys, channels, type and range."""
    sample = read_sample(dataset, recipe.train.seed, (0, index), wants)
    name = recipe.dataset.name
    if missing := sorted({*dataset.domains, *wants} - set(sample)):
        why = f"which loss '{recipe.called('loss')}' wants" if missing[0] in wants else "one of its domains"
        raise UserError(f"a sample of dataset '{name}' has no '{missing[0]}', {why}. It has: {', '.join(sample)}.")
    for key, domain in dataset.domains.items():
        _check_image(sample[key], domain, f"dataset '{name}', domain {key} ({domain.name})")
    return sample


def sizes_of(sample: Mapping[str, Tensor], domains: Iterable[str]) -> dict[str, Size]:
    """Height and width of a sample's picture of each domain."""
    return {key: (sample[key].shape[-2], sample[key].shape[-1]) for key in domains}


def check_sizes(recipe: Recipe, sizes: Iterable[Size], generator: Any) -> None:
    """The generator can take pictures of these sizes.

    Raises:
        UserError: one is not a multiple of the divisor.
    """
    divisor = int(generator.divisor)
    for h, w in sizes:
        if h % divisor or w % divisor:
            good = max(divisor, min(h, w) // divisor * divisor)
            raise UserError(
                f"images of dataset '{recipe.dataset.name}' are {w} x {h}, but the generator '{recipe.called('generator')}' "
                f"needs multiples of {divisor}. Set the crop to {good}."
            )


def _check_image(image: Tensor, domain: Domain, where: str) -> None:
    if image.ndim != 3:
        raise UserError(f"{where}: a sample has the shape {tuple(image.shape)}; expected (C, H, W).")
    if domain.kind == "labels":
        check_ids(image, domain, where)
        return
    if image.shape[0] != domain.channels:
        raise UserError(f"{where}: a sample has {image.shape[0]} channels; the domain says {domain.channels}.")
    low, high = float(image.min()), float(image.max())
    if not (-1.001 <= low <= high <= 1.001):
        raise UserError(f"{where}: values lie in [{low:.3g}, {high:.3g}]; expected [-1, 1].")
