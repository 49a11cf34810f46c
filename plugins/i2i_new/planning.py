"""From what was found to a recipe: held-out pictures, audit, method, size, and as many steps as the time allows."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil, floor, log10
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from i2i.errors import UserError
from i2i.recipe import Recipe, load_recipe
from i2i.registry import Registry
from i2i_data.check import Findings, check
from i2i_data.fitting import fitting, opened, sizes_of, smallest
from i2i_data.sides import Sides, log
from i2i_new.estimate import Estimate, measured, this_machine
from i2i_new.found import Found
from i2i_new.methods import LONG, WANTED, Said, batch_of, chosen_method, multiple_for, networks, rates
from i2i_new.writing import text_of

MINUTES = {False: 20.0, True: 60.0}
"""The length of a run where nobody says it, on a CPU and on a GPU."""
LARGEST, SMALLER = {False: 128, True: 256}, 64
"""The largest side that is tried on a CPU and on a GPU; and the one that is tried if that is too slow."""
LEAST_SIDE = 8
FOR_STEPS = 0.85
"""The share of the time that steps get; the rest is for grids, evaluations and the start."""
GRIDS = 8
"""The number of grids, evaluations and checkpoints in a run."""
AUDITED, AUDITED_PIXELS = 500, 2e8
"""The largest number of pictures of each side that the audit decodes, and of their pixels."""
SHARES = (0.1, 0.2, 0.3, 0.4)
EVALUATED = 64

Size = tuple[int, int]


@dataclass
class Plan:
    """A recipe in the making."""

    found: Found
    registry: Registry
    method: str
    why_method: str
    sizes: Mapping[str, list[Size]]
    minutes: float
    gpu: bool
    samples: int
    """The number of samples in an epoch."""
    size: int = 0
    steps: int = 1000
    estimate: Estimate | None = None
    held: str | None = None
    """The split for the evaluation."""
    shown: str | None = None
    """The split for the grids."""
    notes: dict[str, str] = field(default_factory=dict)
    """Reasons for options of the data set, by their names."""

    def sections(self, transform: Mapping[str, Any]) -> dict[str, Any]:
        """The recipe, in epochs once its length is known and long enough."""
        found, paired = self.found, self.found.paired and self.method not in ("cyclegan", "unit")
        options = {"name": found.name, **found.options, "transform": dict(transform)}
        truth = {}
        if found.paired and not paired and found.name == "folders":
            options.pop("paired")
            truth = {"paired": True}
        told = {key: Said(value, self.notes[key]) if key in self.notes else value for key, value in options.items()}
        length, count = self.length()
        train: dict[str, Any] = {**length, "batch_size": self.batch, **rates(self.method, self.steps)}
        train |= {"schedule": {"name": "constant_then_linear"}, "ema": 0.999 if self.steps >= LONG else 0.995}
        shown = {**({"split": self.shown} if self.shown else {}), **truth}
        made = {"dataset": told, **networks(self.method, self.size, self.gpu), "train": train}
        made |= {"samples": {"every": count, "count": 6, **({"dataset": shown} if shown else {})}}
        made |= {"checkpoint": {"every": count}}
        if self.held:
            metrics, best = (["psnr", "l1"], "psnr") if paired else ([patches(self.size), "cycle"], "swd")
            evaluate: dict[str, Any] = {"every": count, "metrics": metrics, "keep_best": best, "images": EVALUATED}
            over = {**({"split": self.held} if self.held != "val" else {}), **truth}
            made["evaluate"] = {**evaluate, **({"dataset": over} if over else {})}
        return made

    @property
    def batch(self) -> int:
        """The batch size."""
        return batch_of(self.method, min(self.found.counts), self.gpu)

    def length(self) -> tuple[dict[str, Any], int | str]:
        """``epochs`` or ``steps`` of ``train``, and how often there is a grid."""
        epoch = max(1, round(self.samples / self.batch))
        epochs = self.steps / epoch
        if self.estimate is None or self.steps < 10 * GRIDS or epochs < 1:
            return {"steps": self.steps}, self.steps // GRIDS if self.steps >= 10 * GRIDS else self.steps
        every = max(1, int(epochs / GRIDS)) if epochs >= 4 else round(epochs / GRIDS, 1)
        whole = every * GRIDS if epochs >= 2 * GRIDS else floor(2 * epochs) / 2 if epochs >= 4 else round(epochs, 1)
        told = Said(float(whole), f"of {epoch} steps, as many as the time allows")
        return {"epochs": told}, f"{every:g} epoch{'s' * (every != 1)}"

    def transform(self) -> dict[str, Any]:
        """Sizes for the crop ``size``; only a size that was asked for may enlarge pictures."""
        if self.size > least_of(self.sizes):
            return {"short_side": self.size, "crop": self.size}
        return fitting(self.sizes, {"crop": self.size})


def patches(size: int) -> Any:
    """The metric of patches, at three scales if the pictures are large enough: 7 pixels at the smallest."""
    scales = max(1, (size // 7).bit_length())
    return "swd" if scales >= 3 else {"name": "swd", "scales": scales}


def least_of(sizes: Mapping[str, list[Size]]) -> int:
    """The shorter side of the smallest picture."""
    return min(smallest([min(size) for size in side]) for side in sizes.values() if side)


def planned(
    found: Found, registry: Registry, method: str | None, size: int | None, minutes: float | None, console: Console
) -> tuple[Plan, Findings]:
    """The plan with its audit and its estimate.

    Raises:
        UserError: the pictures cannot be trained on, or what was asked for does not fit.
    """
    factory: Any = registry.get("dataset", found.name).factory
    dataset = opened(factory, found.name, {**found.options, "transform": {"flip": False}})
    sizes = sizes_of(dataset)
    if not all(sizes.values()):
        side = next(key for key, known in sizes.items() if not known)
        names = dataset.inventory()[side] if isinstance(dataset, Sides) else ["?"]
        raise UserError(f"none of the pictures looked at can be read, such as {names[0]}. Check the files.")
    own = int(fitting(sizes, {})["crop"])
    gpu = torch.accelerator.is_available()
    name, why = chosen_method(found, method, size or own)
    plan = Plan(found, registry, name, why, sizes, minutes or MINUTES[gpu], gpu, len(dataset))
    plan.size = asked(size, name) if size else multiple_for(name, min(own, LARGEST[gpu]))
    if plan.size < LEAST_SIDE:
        raise UserError(f"the smallest picture has a side of {least_of(sizes)}: too small to train on. Give --size to enlarge.")
    hold_out(plan, factory)
    findings = audited(plan, console)
    fit_time(plan, size is None)
    plan.notes["transform"] = _why_size(plan, own, size is not None)
    return plan, findings


def asked(size: int, method: str) -> int:
    """The size that was asked for.

    Raises:
        UserError: the method's networks do not take it.
    """
    fits = multiple_for(method, size)
    if fits != size or size < LEAST_SIDE:
        step = multiple_for(method, 10**4) - multiple_for(method, 10**4 - 1)
        near = max(fits, step, LEAST_SIDE)
        raise UserError(f"--size {size}: the networks of {method} take multiples of {step}. Give {near} or {near + step}.")
    return size


def hold_out(plan: Plan, factory: Any) -> None:
    """Name the splits that evaluation and grids use, or hold pictures out of a data set without any."""
    found = plan.found
    there = [split for split in ("val", "test") if split in found.splits]
    if there:
        plan.held, plan.shown = there[0], there[-1]
        return
    for share in SHARES if min(found.counts) >= 6 else ():
        try:
            parts = [opened(factory, found.name, {**found.options, "holdout": share, "split": s}) for s in ("val", "train")]
        except UserError:  # the hash leaves none
            continue
        counts = [[len(side) for side in part.sides.values()] for part in parts if isinstance(part, Sides)]
        if min(map(min, counts)) >= 2:
            found.options["holdout"], plan.samples = share, len(parts[1])
            plan.held = plan.shown = "val"
            some = " and ".join(str(count) for count in (counts[0][:1] if found.paired else counts[0]))
            plan.notes["holdout"] = (
                f"{some} {'pairs' if found.paired else 'pictures'} are kept for val: there is no folder for them"
            )
            if found.name == "hub":
                plan.notes["holdout"] = f"{some} rows are kept for val: the table has no split for it"
            return


def audited(plan: Plan, console: Console) -> Findings:
    """What ``i2i data check`` finds in a sample of the pictures; unreadable ones are left out of the training.

    Raises:
        UserError: most cannot be read, or pairs have different sizes.
    """
    every = [size for side in plan.sizes.values() for size in side]
    usual = sum(height * width for height, width in every) / len(every)
    at_most = max(16, min(AUDITED, int(AUDITED_PIXELS / usual)))
    findings = check(_recipe(plan), plan.registry, None, console, at_most)
    if findings.unequal:
        raise UserError("\n".join(["pairs must have the same size:", *findings.errors]))
    if findings.unreadable:
        if findings.unreadable * 2 > sum(min(at_most, count) for count in plan.found.counts):
            raise UserError("\n".join(["most pictures cannot be read:", *findings.errors]))
        plan.found.options["corrupt"] = "skip"
        plan.notes["corrupt"] = "some files cannot be read; a run reads all once, and leaves those out"
    return findings


def fit_time(plan: Plan, may_shrink: bool) -> None:
    """Measure a step; take a smaller size if the time allows too few or the memory none, and as many steps as it allows.

    Raises:
        UserError: the memory is too small.
    """
    sides = [plan.size, multiple_for(plan.method, SMALLER)] if may_shrink and plan.size > SMALLER else [plan.size]
    for plan.size in sides:
        try:
            plan.estimate = measured(_recipe(plan), plan.registry)
        except torch.OutOfMemoryError as error:
            if plan.size == sides[-1]:
                raise UserError(
                    f"the device's memory is too small to train {plan.method} at {plan.size} px. Give a smaller --size."
                ) from error
            continue
        count = plan.minutes * 60 * FOR_STEPS / plan.estimate.seconds
        plan.steps = _rounded(count / GRIDS) * GRIDS if count >= 10 * GRIDS else max(1, int(count))
        if plan.steps >= WANTED[plan.method]:
            return


def _rounded(count: float) -> int:
    """Down to two figures."""
    step = 10 ** max(0, floor(log10(max(count, 1))) - 1)
    return max(1, int(count // step * step))


def _recipe(plan: Plan) -> Recipe:
    """The recipe as it stands, checked; damaged files are found later."""
    quiet, log.disabled = log.disabled, True
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "new.yaml")
            path.write_text(text_of([], plan.sections(plan.transform())), encoding="utf-8")
            unread = [] if "corrupt" in plan.found.options else ["dataset.corrupt=keep"]
            return load_recipe(path, [*unread, "train.workers=0"], plan.registry)
    finally:
        log.disabled = quiet


def _why_size(plan: Plan, own: int, was_asked: bool) -> str:
    every = sorted({size for side in plan.sizes.values() for size in side})
    low, high = every[0], every[-1]
    told = f"the pictures are {low[1]} x {low[0]}" + ("" if low == high else f" to {high[1]} x {high[0]}")
    if plan.size > least_of(plan.sizes):
        return f"as asked for; {told}, and are enlarged, which adds no detail"
    if plan.size >= own:
        return told
    if was_asked:
        return f"as asked for; {told}"
    larger = multiple_for(plan.method, own)
    return f"{told}; scaled down, they leave time for more steps. --size {larger} takes {larger}"


def head(plan: Plan, command: str) -> list[str]:
    """The reasons, a paragraph each."""
    assert plan.estimate is not None
    label = {"cyclegan": "CycleGAN", "unit": "UNIT", "pix2pix": "pix2pix", "spade": "SPADE"}[plan.method]
    return [
        f"Written by: {command}. Change what you like; docs/recipe.md lists all keys.",
        *plan.found.why,
        *plan.found.remarks,
        f"Method: {label}, {plan.why_method}.",
        time_line(plan),
    ]


def _steps(count: int) -> str:
    return f"{count} step{'s' if count != 1 else ''}"


def time_line(plan: Plan) -> str:
    """How long it takes, and whether that is enough."""
    assert plan.estimate is not None
    seconds, bytes_, steps = plan.estimate
    text = (
        f"Estimate: about {plan.minutes:g} min for {_steps(plan.steps)} on this machine ({this_machine()}). A step takes "
        f"{seconds:.2g} s at {plan.size} px (measured over {_steps(steps)}); the memory is about {bytes_ / 2**20:.0f} MiB "
        "besides Python and torch."
    )
    wanted = WANTED[plan.method]
    if plan.steps < 0.9 * wanted:
        needed = wanted * seconds / FOR_STEPS / 60
        text += f" Something is usually to be seen from {wanted} steps on: --minutes {ceil(needed)}."
    return text
