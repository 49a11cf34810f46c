"""``i2i data check``: read all pictures of a recipe once, and report problems before they cost a training run."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from i2i.building.parts import build_dataset
from i2i.data import SeededDataset, spread
from i2i.errors import UserError
from i2i.inspectable import Inspectable, parallel
from i2i.pictures.pixels import save_picture
from i2i.pictures.sheet import Column, contact_sheet
from i2i.protocols import Dataset, Domain, Stream
from i2i.recipe import Recipe
from i2i.recipe.options import options_model
from i2i.registry import Registry
from i2i_data.fitting import fitting
from i2i_data.hub_stream import Streamed
from i2i_data.sides import Sides
from i2i_data.transforms import Transform, pair, scaled

ENLARGED = 1.25
"""Sides may become this many times as long, or proportions change by it, before a warning. The published 286 of 256 is 1.12."""
SHOWN = 20
"""The largest number of findings of one kind that are listed."""


class Picture(NamedTuple):
    """What was found in one picture; ``error`` says why it could not be read."""

    name: str
    digest: bytes = b""
    shape: tuple[int, ...] = ()
    flat: bool = False
    ids: Tensor | None = None
    remarks: tuple[str, ...] = ()
    error: str = ""


@dataclass
class Findings:
    """Findings for the user. Any error makes the data unfit for training."""

    facts: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    unreadable: int = 0
    """The number of pictures that cannot be used; they are among the errors."""
    unequal: int = 0
    """The number of pairs of different sizes; they are too."""


def check(recipe: Recipe, registry: Registry, sheet: Path | None, console: Console, at_most: int | None = None) -> Findings:
    """Read the recipe's data set, and those of its grids and its evaluation where they are others; write a contact sheet.

    With *at_most*, no more than this number of pictures of each side, evenly spread.
    """
    findings = Findings()
    training = _opened(recipe, registry)
    surveyed = _survey("dataset", training, findings, console, at_most)
    for part, over in _held_out(recipe, registry).items():
        try:
            dataset = _opened(recipe, registry, **over)
        except UserError as error:
            findings.errors.append(f"{part}: {error}")
            continue
        _overlap(surveyed, _survey(part, dataset, findings, console, at_most), findings)
    if sheet is not None:
        _write_sheet(training, sheet, recipe.train.seed, findings)
    return findings


def _held_out(recipe: Recipe, registry: Registry) -> dict[str, dict[str, Any]]:
    """The options that override the data set's for the grids and for the evaluation, by their place, without duplicates."""
    parts = {"samples.dataset": dict(recipe.samples.dataset)}
    if (evaluate := recipe.section("evaluate")) is not None:
        over = dict(evaluate.dataset)
        if "split" in options_model("dataset", registry.get("dataset", recipe.dataset.name).factory).model_fields:
            over.setdefault("split", "val")
        if over != parts["samples.dataset"]:
            parts["evaluate.dataset"] = over
    return {part: over for part, over in parts.items() if over}


def _opened(recipe: Recipe, registry: Registry, **over: Any) -> Dataset:
    keep = {"corrupt": "keep"} if "corrupt" in recipe.dataset.options else {}
    return build_dataset(recipe.dataset, registry, **{**over, **keep})


def _survey(part: str, dataset: Dataset, findings: Findings, console: Console, at_most: int | None) -> dict[str, list[Picture]]:
    """Look at the pictures of every side."""
    findings.facts.append(f"{part}: {len(dataset)} samples in an epoch, {'paired' if dataset.paired else 'unpaired'}")
    if isinstance(dataset, Inspectable):
        findings.warnings += dataset.notes
    surveyed = {}
    for key, domain in dataset.domains.items():
        look, count = _looker(dataset, key, domain)
        title = f"{part}: {key} ({domain.name})"
        chosen = spread(count, at_most or count)
        if len(chosen) < count:
            title += f", {len(chosen)} of {count} looked at"
        looked = (map if isinstance(dataset, Stream) else parallel)(look, chosen)
        surveyed[key] = list(track(looked, title, len(chosen), console=console, disable=not console.is_terminal))
        _tell(title, domain, surveyed[key], findings)
    if isinstance(dataset, Sides | Streamed) and dataset.train:
        _scaling(part, dataset.transform, surveyed, findings)
    if dataset.paired and isinstance(dataset, Inspectable):
        _sizes_of_pairs(part, surveyed, findings)
    return surveyed


def _looker(dataset: Dataset, key: str, domain: Domain) -> tuple[Callable[[int], Picture], int]:
    """How to look at picture i of a side, and how many there are; a plain data set shows its samples only."""
    if not isinstance(dataset, Inspectable):
        seeded = SeededDataset(dataset, 0)
        return (lambda i: _look(f"sample {i}", lambda: (seeded[0, i][key], ()), domain)), len(dataset)
    names = dataset.inventory()[key]
    return (lambda i: _look(names[i], lambda: dataset.raw(key, i), domain)), len(names)


def _look(name: str, read: Callable[[], tuple[Tensor, tuple[str, ...]]], domain: Domain) -> Picture:
    try:
        pixels, remarks = read()
    except UserError as error:
        return Picture(name, error=str(error))
    except Exception as error:  # one bad file must not end the survey of the others
        return Picture(name, error=f"{name}: {type(error).__name__}: {error}")
    pixels = pixels.contiguous()
    digest = hashlib.blake2b(pixels.numpy().data, digest_size=16).digest()
    shape = tuple(pixels.shape)
    if domain.kind == "labels":
        ids = torch.bincount(pixels[0].flatten().long(), minlength=domain.label_count)
        return Picture(name, digest, shape, ids=ids, remarks=remarks)
    return Picture(name, digest, shape, bool(pixels.min() == pixels.max()), remarks=remarks)


def _tell(title: str, domain: Domain, pictures: list[Picture], findings: Findings) -> None:
    """One side's findings."""
    good = [picture for picture in pictures if not picture.error]
    bad = [picture.error for picture in pictures if picture.error]
    findings.facts.append(f"{title}: {len(pictures)} pictures, {_sizes(good)}")
    findings.errors += _listed(f"{title}: {len(bad)} of {len(pictures)} cannot be used", bad)
    findings.unreadable += len(bad)
    remarked: dict[str, list[str]] = {}
    for picture in good:
        for remark in picture.remarks:
            remarked.setdefault(remark, []).append(picture.name)
    findings.warnings += [f"{title}: {len(names)} pictures: {text}; the first: {names[0]}" for text, names in remarked.items()]
    channels = Counter(picture.shape[0] for picture in good)
    if domain.kind == "image" and set(channels) - {domain.channels}:
        findings.errors.append(f"{title}: pictures have {sorted(channels)} channels, the domain {domain.channels}")
    flat = [picture.name for picture in good if picture.flat]
    findings.warnings += _listed(f"{title}: {len(flat)} pictures of one colour only", flat)
    same: dict[bytes, list[str]] = {}
    for picture in good:
        same.setdefault(picture.digest, []).append(picture.name)
    groups = [names for names in same.values() if len(names) > 1]
    twice = [" = ".join(names[:4]) + (f" = {len(names) - 4} more" if len(names) > 4 else "") for names in groups]
    noun = "group" if len(twice) == 1 else "groups"
    findings.warnings += _listed(f"{title}: {len(twice)} {noun} of pictures that are the same", twice)
    if domain.kind == "labels":
        _shares(title, domain, good, findings)


def _sizes(pictures: list[Picture]) -> str:
    if not pictures:
        return "none of which can be read"
    sizes = Counter((picture.shape[-1], picture.shape[-2]) for picture in pictures)
    (width, height), count = sizes.most_common(1)[0]
    if len(sizes) == 1:
        return f"all {width} x {height}"
    low, high = ([side(size[i] for size in sizes) for i in (0, 1)] for side in (min, max))
    return f"{low[0]} x {low[1]} to {high[0]} x {high[1]}; {count} are {width} x {height}"


def _scaling(part: str, transform: Transform, surveyed: Mapping[str, list[Picture]], findings: Findings) -> None:
    """What the transform does to the pictures' sizes; that it enlarges or distorts them much is a warning."""
    sizes = {
        key: [(picture.shape[-2], picture.shape[-1]) for picture in pictures if not picture.error]
        for key, pictures in surveyed.items()
    }
    every = [size for side in sizes.values() for size in side]
    if not every:
        return
    made = [scaled(transform, size) for size in every]
    by = [(new[0] / old[0], new[1] / old[1]) for old, new in zip(every, made, strict=True)]
    usual = sorted(max(factors) for factors in by)[len(by) // 2]
    low, high = min(map(min, by)), max(map(max, by))
    zoomed = f", varied by zoom {list(transform.zoom)}" if transform.zoom else ""
    cut = f"then crops of {'{1} x {0}'.format(*pair(transform.crop))}" if transform.crop else "no crop"
    span = " to ".join(dict.fromkeys((f"{low:.2g}", f"{high:.2g}")))
    kept = "keep their size" if low == high == 1 else f"become {span} times as large a side"
    findings.facts.append(f"{part}: in training the pictures {kept}{zoomed}; {cut}")
    fitted = Transform.model_validate(fitting(sizes, {})).model_dump(exclude_unset=True)
    instead = f"transform: {{{', '.join(f'{name}: {value}' for name, value in fitted.items())}}}"
    if usual > ENLARGED:
        findings.warnings.append(
            f"{part}: the transform enlarges most pictures, {usual:.2g} times or more: this adds no detail, and steps take "
            f"longer. {instead} would keep their size"
        )
    bent = sum(max(factors) > ENLARGED * min(factors) for factors in by)
    if bent > len(by) / 2:
        findings.warnings.append(
            f"{part}: resize changes the proportions of {bent} of {len(by)} pictures. {instead} keeps them"
        )


def _shares(title: str, domain: Domain, pictures: list[Picture], findings: Findings) -> None:
    total = sum((picture.ids for picture in pictures if picture.ids is not None), torch.zeros(domain.label_count))
    if not isinstance(total, Tensor) or not total.sum():
        return
    shares = (total / total.sum()).tolist()
    named = [domain.classes[i] if domain.classes else f"class {i}" for i in range(domain.label_count)]
    present = sorted(((name, share) for name, share in zip(named, shares, strict=True) if share), key=lambda item: -item[1])
    findings.facts.append(f"{title}: " + ", ".join(f"{name} {share:.2%}" for name, share in present))
    absent = [name for share, name in zip(shares, named, strict=True) if not share]
    if absent:
        shown = ", ".join(absent[:SHOWN]) + (", …" if len(absent) > SHOWN else "")
        findings.warnings.append(f"{title}: {len(absent)} of {domain.label_count} classes never occur: {shown}")


def _sizes_of_pairs(part: str, surveyed: Mapping[str, list[Picture]], findings: Findings) -> None:
    unequal = []
    for partners in zip(*surveyed.values(), strict=True):
        sizes = [picture.shape[-2:] for picture in partners if not picture.error]
        if len(set(sizes)) > 1:
            unequal.append(", ".join(f"{p.name} is {p.shape[-1]} x {p.shape[-2]}" for p in partners if not p.error))
    findings.errors += _listed(f"{part}: {len(unequal)} pairs of different sizes", unequal)
    findings.unequal += len(unequal)


def _overlap(training: Mapping[str, list[Picture]], held_out: Mapping[str, list[Picture]], findings: Findings) -> None:
    """Held-out pictures that the model is trained on."""
    for key in training:
        known = {picture.digest: picture.name for picture in training[key] if not picture.error}
        both = [f"{p.name} = {known[p.digest]}" for p in held_out[key] if not p.error and p.digest in known]
        findings.errors += _listed(f"{key}: {len(both)} held-out pictures are also trained on", both)


def _write_sheet(dataset: Dataset, path: Path, seed: int, findings: Findings) -> None:
    """Eight samples as the networks will see them, after the transforms."""
    seeded, drawn = SeededDataset(dataset, seed), []
    for index in spread(len(dataset), 8):
        try:
            drawn.append(seeded[0, index])
        except UserError as error:
            if str(error) not in "\n".join(findings.errors):
                findings.errors.append(str(error))
    if not drawn:
        findings.facts.append("no contact sheet: none of the samples drawn for it can be read")
        return
    shapes = {tuple(tuple(image.shape) for image in sample.values()) for sample in drawn}
    if len(shapes) > 1:
        findings.warnings.append("samples have different sizes, so they form no batch: use batch_size 1, or set a crop")
        drawn = drawn[:1]
    columns = [_column(domain, torch.stack([sample[key] for sample in drawn])) for key, domain in dataset.domains.items()]
    save_picture(contact_sheet(columns), path)
    findings.facts.append(f"contact sheet of what the networks will see: {path}")


def _column(domain: Domain, images: Tensor) -> Column:
    """Pictures show one or three channels; if there are more, the first ones."""
    if domain.kind == "image" and domain.channels not in (1, 3):
        shown = 3 if domain.channels > 3 else 1
        return f"{domain.name}, first {shown}", images[:, :shown], Domain(domain.name, "image", shown)
    return domain.name, images, domain


def _listed(title: str, items: Sequence[str]) -> list[str]:
    """One finding with its items below it, or none."""
    if not items:
        return []
    more = [f"  … and {len(items) - SHOWN} more"] if len(items) > SHOWN else []
    return ["\n".join([f"{title}:", *(f"  {item}" for item in items[:SHOWN]), *more])]
