"""Comparing runs: figures of one protocol side by side, the same inputs through all models, curves, recipe differences."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from i2i.building.naming import between
from i2i.data import SeededDataset, to_device
from i2i.errors import UserError
from i2i.metrics import Figure, described
from i2i.pictures.sheet import Column, contact_sheet, stacked
from i2i.protocols import Batch, Direction
from i2i.recipe import load_recipe
from i2i.registry import Registry
from i2i.training.log import read_metrics
from i2i.translation.finding import split_run
from i2i.translation.limits import MAX_PARAMETERS
from i2i.translation.loading import load
from i2i.translation.translator import Translator
from i2i_evaluate.evaluation import RESULTS, Result, evaluate_model, own_recipe, read_result, weights_hash, write_result
from i2i_evaluate.foreign import check_data
from i2i_evaluate.held import Held, held_out
from i2i_evaluate.kept import METRICS, Kept, kept
from i2i_evaluate.measuring import matched

DRAWS, SEED = 1000, 0
"""Of the bootstrap."""
MOST = 12
"""Directions in the grid."""


@dataclass(frozen=True)
class Subject:
    """A run or model that is compared; ``kept`` is its run's, told once."""

    name: str
    path: Path
    result: Result
    recipe: Mapping[str, Any]
    curves: Sequence[Mapping[str, float]]
    kept: Kept | None = None


@dataclass(frozen=True)
class Comparison:
    """All subjects, the columns of their figures, and the grid of their pictures with notes on what it leaves out."""

    subjects: Sequence[Subject]
    columns: Mapping[tuple[str, str], Sequence[Figure | None]]
    grid: Image.Image | None
    notes: Sequence[str]


def compare(
    paths: Sequence[Path],
    registry: Registry,
    *,
    data: Path | None = None,
    metrics: Sequence[str] | None = None,
    split: str = "test",
    images: int | None = None,
    pictures: int = 4,
    changed: bool = False,
    max_parameters: int = MAX_PARAMETERS,
    use: Mapping[str, Any] | None = None,
) -> Comparison:
    """Compare run or model folders; a result of ``i2i eval`` in a run's folder is used if it belongs to this model.

    With *data*, *metrics* or *images*, all models are evaluated again.

    Raises:
        UserError: there are fewer than two, or one cannot be evaluated.
    """
    if len(paths) < 2:
        raise UserError("give at least two runs to compare.")
    labels = short_names(paths)
    opened = partial(load, registry=registry, changed=changed, max_parameters=max_parameters, use=use)
    subjects, notes, seen = [], [], set[Path]()
    for name, path in zip(labels, paths, strict=True):
        translator = opened(path)
        stored = None if data or metrics or images else fresh_result(path, split, translator.use)
        result = stored or evaluate_model(
            path,
            registry,
            data=data,
            metrics=metrics,
            split=split,
            images=images,
            changed=changed,
            max_parameters=max_parameters,
            use=use,
        )
        if stored is None and (path / "recipe.yaml").is_file() and not (data or metrics or images or use):
            write_result(path / RESULTS, result)
        recipe = own_recipe(translator, path)
        settings = {} if recipe is None else recipe.model_dump(mode="json")
        run, _ = split_run(path) or (path, "")
        best = None if run in seen else kept(run)
        seen.add(run)
        subjects.append(Subject(name, path, result, settings, read_metrics(run / METRICS), best))
        notes += [f"{name}: {note}" for note in result.notes]
    grid, missing = _grid(subjects, opened, registry, data, split, pictures)
    return Comparison(subjects, columns(subjects), grid, [*notes, *missing])


def fresh_result(path: Path, split: str, use: Mapping[str, Any]) -> Result | None:
    """The result in a run's folder, if it is of this version and of the weights, their use and the split that are meant."""
    try:
        result = read_result(path / RESULTS)
    except (OSError, UserError):
        return None
    told = [figure.protocol for figure in result.figures]
    same = all(one.get("split") in (split, None) and one.get("use", {}) == use for one in told)
    return result if same and result.weights == weights_hash(path) else None


def short_names(paths: Sequence[Path]) -> list[str]:
    """The names of the folders, with enough of their paths to distinguish them."""
    resolved = [path.resolve() for path in paths]
    for depth in range(1, max(len(path.parts) for path in resolved) + 1):
        found = ["/".join(path.parts[-depth:]) for path in resolved]
        if len(set(found)) == len(found):
            return found
    raise UserError("the same run is named twice.")


def columns(subjects: Sequence[Subject]) -> dict[tuple[str, str], list[Figure | None]]:
    """For each figure and protocol, every subject's figure, or None; no column mixes protocols."""
    keys = sorted({figure.key for subject in subjects for figure in subject.result.figures})
    found = [{figure.key: figure for figure in subject.result.figures} for subject in subjects]
    return {key: [figures.get(key) for figures in found] for key in keys}


def interval(images: Mapping[int, float], level: float = 0.95) -> tuple[float, float]:
    """The percentile bootstrap interval of the mean over pictures, from DRAWS resamples and always the same numbers."""
    values = np.array([images[index] for index in sorted(images)], dtype=np.float64)
    draw = np.random.default_rng(SEED)
    means = [float(values[draw.integers(0, len(values), len(values))].mean()) for _ in range(DRAWS)]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], method="nearest")
    return float(low), float(high)


def spread_of(figure: Figure) -> str:
    """The 95 % interval of a mean over pictures, or the spread that the metric gives, or nothing."""
    if len(figure.images) > 1:
        return " to ".join(f"{end:.4g}" for end in interval(figure.images))
    return "" if figure.spread is None else f"± {figure.spread:.4g}"


def protocols(figures: Sequence[Figure]) -> tuple[str, list[str]]:
    """In words, what the protocols of all figures have in common, and what is specific to each."""
    found = [figure.protocol for figure in figures]
    common = {key: value for key, value in found[0].items() if all(key in p and p[key] == value for p in found)}
    return described(common), [described({k: v for k, v in p.items() if k not in common}) for p in found]


def differences(recipes: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """For each dotted key in which recipes differ, every recipe's value, or a dash if it has no such key."""
    flat = [dict(_flat(recipe)) for recipe in recipes]
    keys = list(dict.fromkeys(key for recipe in flat for key in recipe))
    rows = {key: [recipe.get(key, "-") for recipe in flat] for key in keys}
    return {key: values for key, values in rows.items() if len(set(values)) > 1}


def _flat(value: Any, path: str = "") -> list[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        return [pair for key, part in value.items() for pair in _flat(part, f"{path}.{key}" if path else str(key))]
    return [(path, json.dumps(value, ensure_ascii=False))]


def _grid(
    subjects: Sequence[Subject],
    opened: Callable[[Path], Translator],
    registry: Registry,
    data: Path | None,
    split: str,
    count: int,
) -> tuple[Image.Image | None, list[str]]:
    """The same inputs through all models, a sheet for each direction of the first; and a line for each that is missing."""
    first = opened(subjects[0].path)
    recipe = load_recipe(data, [], registry) if data is not None else own_recipe(first, subjects[0].path)
    if recipe is None:
        return None, ["no grid: the first model does not say which data it was trained on."]
    if data is None:
        check_data(recipe, registry, subjects[0].path)
    held = held_out(recipe.dataset, registry, split, images=count)
    keys = matched(first.domains, held.dataset.domains, held.name)
    ways = [(keys[source], keys[target]) for source, target in between(first.directions)]
    domains, batch = held.dataset.domains, _inputs(held)
    arrows = {way: " → ".join(domains[key].name for key in way) for way in ways}
    captions = {way: " to ".join(domains[key].name for key in way) for way in ways}
    made: dict[Direction, list[Column]] = {way: [(captions[way], batch[way[0]], domains[way[0]])] for way in ways[:MOST]}
    notes = []
    for subject in subjects:
        translator = first if subject is subjects[0] else opened(subject.path)
        for (source, target), shown in made.items():
            try:
                own = _way(translator, held, (source, target))
            except UserError as error:
                notes.append(f"{subject.name} is not in the grid: {error}")
                continue
            shown.append((subject.name, translator.batch(batch[source], own).cpu(), domains[target]))
    if held.dataset.paired:
        for (_, target), shown in made.items():
            shown.append((f"true {domains[target].name}", batch[target], domains[target]))
    if left := [arrows[way] for way in ways[MOST:]]:
        notes.append(f"the grid shows {MOST} of {len(ways)} directions. Left out: {', '.join(left)}.")
    return stacked([contact_sheet(shown) for shown in made.values()]), list(dict.fromkeys(notes))


def _inputs(held: Held) -> Batch:
    """The pictures of the grid, as networks see them, those of the first one's size."""
    drawn = [SeededDataset(held.dataset, SEED)[0, index] for index in held.indices]
    shapes = [[image.shape for image in sample.values()] for sample in drawn]
    same = [sample for sample, shape in zip(drawn, shapes, strict=True) if shape == shapes[0]]
    stacked = {key: torch.stack([sample[key] for sample in same]) for key in held.dataset.domains}
    return to_device(stacked, held.dataset.domains, torch.device("cpu"))


def _way(translator: Translator, held: Held, wanted: Direction) -> Direction:
    """A model's own keys for a direction between the data's keys."""
    back = {there: key for key, there in matched(translator.domains, held.dataset.domains, held.name).items()}
    way = (back.get(wanted[0], ""), back.get(wanted[1], ""))
    if way not in translator.directions:
        names = " → ".join(held.dataset.domains[key].name for key in wanted)
        raise UserError(f"it does not translate {names}.")
    return way
