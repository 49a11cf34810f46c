"""What users see of a run: the progress bar, metrics.jsonl, log.txt, and the trackers' curves."""

import json
import time
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from math import ceil
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from i2i.building.epochs import steps_of_epoch
from i2i.files import append, parsed_json, write_text
from i2i.training.state import Run
from i2i.training.tracking import Tracking

WAITING = 0.1
"""A share of waiting for data from which on something should be done about it."""


class Logging:
    """Fetches the losses from the device every ``log.every`` steps, and only then.

    Of several processes all take part in that, as the losses are means over them; the first one writes.
    """

    def __init__(self, run: Run, console: Console) -> None:
        """Begin the log of a run, into which its observers may write too."""
        assert run.out is not None
        self.console, self.out, self.main = console, run.out, run.accelerator.is_main_process
        if self.main:
            keep_until(self.out / "metrics.jsonl", run.step)
        self.tracking = Tracking(run, self.note)
        run.note, run.record, run.trackers = self.note, partial(self.record, run), self.tracking.trackers
        self.progress = Progress(
            TextColumn("{task.fields[epoch]}step {task.completed}/{task.total}"),
            BarColumn(),
            TextColumn("{task.fields[speed]:.1f} images/s"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
            console=console,
        )
        self.task = self.progress.add_task("", total=run.recipe.train.steps, completed=run.step, speed=0.0, losses="", epoch="")
        self.since, self.started, self.waited = (0.0, 0), 0.0, 0.0

    def run_started(self, run: Run) -> None:
        if self.console.is_terminal and self.main:
            self.progress.start()
        self.since = self.started, _ = time.perf_counter(), run.step
        self.note(f"training on {run.accelerator.device} from step {run.step}; {epochs_of(run)}")

    def step_ended(self, run: Run) -> None:
        last = run.step == run.recipe.train.steps
        if run.step % run.recipe.log.every and not last:
            return
        terms = fetch(run)
        (then, step), now = self.since, time.perf_counter()
        settings = run.recipe.train
        images = settings.batch_size * settings.accumulate * run.accelerator.num_processes
        speed = (run.step - step) * images / (now - then)
        self.since = (now, run.step)
        times = {"images_per_second": round(speed, 2), "waiting": round(run.waited / (now - then), 4)}
        self.waited, run.waited = self.waited + run.waited, 0.0
        self.record(run, {**times, **rates(run), **terms})
        shown = {name: terms[name] for name in run.terms}
        adaptive = {name: terms[name] for name in ("augment_p", "real_signs") if run.adaptive is not None}
        losses = "  ".join(f"{name} {value:.3g}" for name, value in {**shown, **adaptive}.items())
        epoch, left = f"{epoch_of(run)}, ", (settings.steps - run.step) / (run.step - step) * (now - then)
        self.progress.update(self.task, completed=run.step, epoch=epoch, speed=speed, losses=totals(shown))
        if last or run.step % (10 * run.recipe.log.every) == 0:
            done = f"{epoch}step {run.step}/{settings.steps}, {timedelta(seconds=round(left))} left"
            self.note(f"{done}  {speed:.1f} images/s  {losses}", quiet=self.console.is_terminal)

    def run_ended(self, run: Run) -> None:
        self.close()
        share = (self.waited + run.waited) / max(1e-9, time.perf_counter() - self.started)
        advice = "; more train.workers may help" if share > WAITING and run.accelerator.device.type != "cpu" else ""
        self.note(f"waiting for data: {share:.1%} of the time{advice}")

    def close(self) -> None:
        """Remove the bar from the screen; safe to call twice."""
        if self.progress.live.is_started:  # else it prints an empty line
            self.progress.stop()

    def note(self, text: str, quiet: bool = False) -> None:
        """A line for log.txt and, unless *quiet*, for the screen."""
        if not self.main:
            return
        append(self.out / "log.txt", f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {text}")
        if not quiet:
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def record(self, run: Run, values: Mapping[str, float]) -> None:
        """Numbers of the step just made: for metrics.jsonl, the trackers and the observers."""
        if not self.main:
            return
        line = {"step": run.step, **values}
        append(self.out / "metrics.jsonl", json.dumps(line))
        self.tracking.log(values, run.step)
        run.hook.numbers_logged(run=run, values=line)


def fetch(run: Run) -> dict[str, float]:
    """The terms of a step and the norms of its gradients as numbers: one copy from the device for all of them.

    They are means over the processes, which also learn here whether one of them was asked to stop: all stop together.
    """
    found = {**run.terms, **{f"gradient_norm_{player}": norm for player, norm in run.norms.items()}}
    if run.adaptive is not None:
        found |= {"augment_p": run.adaptive.p, "real_signs": run.adaptive.signs}
    values = torch.stack([value.float() for value in found.values()])
    if run.accelerator.num_processes > 1:
        wanted = values.new_tensor([float(run.stop_wanted)])
        *means, stop = run.accelerator.reduce(torch.cat([values, wanted]), "mean").tolist()
        run.stop = run.stop or stop > 0
    else:
        means = values.tolist()
    counted = {"skipped": float(run.skipped)} if run.skipped else {}
    return {name: float(f"{value:.6g}") for name, value in zip(found, means, strict=True)} | counted


def rates(run: Run) -> dict[str, float]:
    """The learning rates of both players, and of their groups that have a name."""
    groups = [(player, group) for player, optimizer in run.optimizers.items() for group in optimizer.param_groups]
    return {f"lr_{player}.{group.get('name', '')}".rstrip("."): float(f"{group['lr']:.6g}") for player, group in groups}


def epoch_of(run: Run) -> str:
    """The epoch that the last step belongs to, and the number of epochs: ``epoch 3/200``."""
    epoch = run.recipe.train.epoch or 1
    return f"epoch {max(1, ceil(run.step / epoch))}/{ceil(run.recipe.train.steps / epoch)}"


def epochs_of(run: Run) -> str:
    """The length of an epoch in words, and what the data would make it, if that is something else."""
    train = run.recipe.train
    made = steps_of_epoch(len(run.parts.dataset), train, run.accelerator.num_processes)
    return f"an epoch is {train.epoch} steps{f' (train.epoch; the data make {made})' if made != train.epoch else ''}"


def totals(terms: dict[str, float]) -> str:
    """The few largest terms, for the bar."""
    largest = sorted(terms, key=lambda name: -abs(terms[name]))[:3]
    return "  ".join(f"{name} {terms[name]:.3g}" for name in largest)


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The lines of metrics.jsonl without those that are no numbers by name with a step, as one that a crash has cut off."""
    return [line for _, line in _lines(path) if line]


def _lines(path: Path) -> list[tuple[str, dict[str, float]]]:
    """Each line as text, and what it says; an empty mapping for an odd one."""
    texts = path.read_text(encoding="utf-8", errors="surrogateescape").split("\n") if path.is_file() else []
    return [(text, _line(text)) for text in texts if text]


def _line(text: str) -> dict[str, float]:
    try:
        line = parsed_json(text)
    except ValueError:
        return {}
    sound = isinstance(line, dict) and type(line.get("step")) is int and all(map(_is_number, line.values()))
    return line if sound else {}


def _is_number(value: object) -> bool:
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**53)


def keep_until(path: Path, step: int) -> None:
    """Drop the lines of metrics.jsonl after *step*, which a resumed run writes again, and a last one that was cut off.

    Other odd lines stay as they are: whoever wrote them may need them.
    """
    lines = _lines(path)
    kept = [text for i, (text, line) in enumerate(lines) if (line["step"] <= step if line else i < len(lines) - 1)]
    if path.exists():
        write_text(path, "".join(f"{text}\n" for text in kept), errors="surrogateescape")
