"""What a person sees of a run: the progress bar, metrics.jsonl and log.txt."""

import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from i2i.errors import UserError
from i2i.files import write_text
from i2i.registry import hookimpl

if TYPE_CHECKING:
    from i2i.state import Run


class Logging:
    """Fetches the losses from the device every ``log.every`` steps, and only then.

    Of several processes all take part in that, as the losses are means over them; the *main* one writes.
    """

    def __init__(self, console: Console, out: Path, resumed_at: int, main: bool = True) -> None:
        self.console, self.out, self.main = console, out, main
        if main:
            keep_until(out / "metrics.jsonl", resumed_at)
        self.progress = Progress(
            TextColumn("step {task.completed}/{task.total}"),
            BarColumn(),
            TextColumn("{task.fields[speed]:.1f} images/s"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
            console=console,
        )
        self.task: TaskID | None = None
        self.since = (0.0, 0)

    @hookimpl
    def run_started(self, run: "Run") -> None:
        self.task = self.progress.add_task("", total=run.recipe.train.steps, completed=run.step, speed=0.0, losses="")
        if self.console.is_terminal and self.main:
            self.progress.start()
        self.since = (time.perf_counter(), run.step)
        self.note(f"training on {run.accelerator.device} from step {run.step}")

    @hookimpl
    def step_ended(self, run: "Run") -> None:
        last = run.step == run.recipe.train.steps
        if run.step % run.recipe.log.every and not last:
            return
        terms = fetch(run)
        check_finite(terms, run.step)
        then, step = self.since
        now = time.perf_counter()
        settings = run.recipe.train
        images = settings.batch_size * settings.accumulate * run.accelerator.num_processes
        speed = (run.step - step) * images / (now - then)
        self.since = (now, run.step)
        self._record({"step": run.step, "images_per_second": round(speed, 2), **terms})
        losses = "  ".join(f"{name} {value:.3g}" for name, value in terms.items())
        assert self.task is not None
        self.progress.update(self.task, completed=run.step, speed=speed, losses=totals(terms))
        if last or run.step % (10 * run.recipe.log.every) == 0:
            self.note(f"step {run.step}/{settings.steps}  {speed:.1f} images/s  {losses}", quiet=self.console.is_terminal)

    @hookimpl
    def run_ended(self, run: "Run") -> None:
        self.close()

    def close(self) -> None:
        """Take the bar from the screen; safe to call twice."""
        self.progress.stop()

    def note(self, text: str, quiet: bool = False) -> None:
        """A line for log.txt and, unless *quiet*, for the screen."""
        if not self.main:
            return
        with (self.out / "log.txt").open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {text}\n")
        if not quiet:
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _record(self, values: dict[str, Any]) -> None:
        if not self.main:
            return
        with (self.out / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")


def fetch(run: "Run") -> dict[str, float]:
    """The terms of a step as numbers, means over the processes: one copy from the device for all of them.

    The processes also learn here whether one of them was asked to stop, so that all stop at the same step.
    """
    values = torch.stack([term.float() for term in run.terms.values()])
    if run.accelerator.num_processes > 1:
        wanted = values.new_tensor([float(run.stop_wanted)])
        *means, stop = run.accelerator.reduce(torch.cat([values, wanted]), "mean").tolist()
        run.stop = run.stop or stop > 0
    else:
        means = values.tolist()
    return {name: float(f"{value:.6g}") for name, value in zip(run.terms, means, strict=True)}


def totals(terms: dict[str, float]) -> str:
    """The few largest terms, for the bar."""
    largest = sorted(terms, key=lambda name: -abs(terms[name]))[:3]
    return "  ".join(f"{name} {terms[name]:.3g}" for name in largest)


def check_finite(terms: dict[str, float], step: int) -> None:
    """Raises UserError naming the step and the terms that are not finite."""
    bad = [name for name, value in terms.items() if not math.isfinite(value)]
    if bad:
        raise UserError(
            f"step {step}: {', '.join(bad)} is not finite; training stopped. The last checkpoint is from before it. "
            "Resume with a lower learning rate (train.generator.lr, train.discriminator.lr), or with train.clip: 1."
        )


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The lines of metrics.jsonl; a last line that was cut off by a crash is left out."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines


def keep_until(path: Path, step: int) -> None:
    """Drop the lines of metrics.jsonl after *step*: a resumed run writes them again."""
    lines = [line for line in read_metrics(path) if line["step"] <= step]
    if path.exists():
        write_text(path, "".join(json.dumps(line) + "\n" for line in lines))
