"""Figures of a model in training: ``evaluate:`` in a recipe."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate.utils import gather_object

from i2i.data import read_sample
from i2i.errors import UserError
from i2i.files import UNREADABLE, new_folder, present, read_json, write_text
from i2i.hooks import hookimpl
from i2i.inspectable import Inspectable, parallel
from i2i.metrics import Figure
from i2i.protocols import Stream
from i2i.training.checkpoint import write_model
from i2i.training.state import Run
from i2i.training.unsaved import as_saved
from i2i.translation.checkpoints import BEST
from i2i.translation.translator import Translator
from i2i_evaluate.held import Held, held_out
from i2i_evaluate.kept import FOLDER, is_called, kept, named
from i2i_evaluate.measuring import Evaluation
from i2i_evaluate.section import Evaluate


class Evaluating:
    """Evaluates at regular steps and at the end; with ``keep_best``, the best model so far is in ``best``.

    Every process takes its share of the batches, all learn all figures, and the first one writes. No random number of the
    training is drawn.

    Raises:
        UserError: a metric or the data do not fit.
    """

    def __init__(self, run: Run, settings: Evaluate) -> None:
        self.settings = settings
        self.best: float | None = None
        self.held = self._held(run)
        self._read(run)
        with as_saved(run, everyone=True) as model:
            trial = self._evaluation(model)
            self.better = _watched(trial, settings.keep_best)
            trial.look(*trial.first_batch())  # report what does not fit before the first step

    @hookimpl
    def step_ended(self, run: Run) -> None:
        if run.step % self.settings.every and run.step != run.recipe.train.steps:
            return
        figures = self.evaluate(run)
        if run.accelerator.is_main_process:
            run.record(named(figures))
            self._keep(run, figures)

    @hookimpl
    def closing_lines(self, run: Run) -> dict[str, str]:
        assert run.out is not None
        found = kept(run.out) if self.settings.keep_best else None
        return {} if found is None else {"best": f"{run.out / FOLDER}, {found}"}

    def evaluate(self, run: Run) -> list[Figure]:
        """The figures of the model as it is now, the same in every process."""
        accelerator = run.accelerator
        several = accelerator.num_processes > 1
        share = (accelerator.process_index, accelerator.num_processes)
        with as_saved(run, everyone=True) as model:
            return self._evaluation(model).run(share, _gathered if several else None)

    def _held(self, run: Run) -> Held:
        settings = self.settings
        try:
            data = run.recipe.dataset
            return held_out(data, run.registry, "val", settings.dataset, settings.images, trained=data)
        except UserError as error:
            raise UserError(f"evaluate.dataset: {error} The split is 'val' unless evaluate.dataset names another.") from error

    def _read(self, run: Run) -> None:
        """Read this process's share of the pictures once, because a damaged one would end the run at its first evaluation."""
        data, share = self.held.dataset, slice(run.accelerator.process_index, None, run.accelerator.num_processes)
        threads = isinstance(data, Inspectable) and not isinstance(data, Stream)  # others may not be made for them
        each = parallel if threads else map
        try:
            for _ in each(lambda index: read_sample(data, 0, (0, index)), self.held.indices[share]):
                pass
        except UserError as error:
            raise UserError(f"evaluate.dataset: {error} 'i2i data check' reads all of them.") from error

    def _evaluation(self, model: Translator) -> Evaluation:
        return Evaluation(model, self.held, self.settings.metrics, batch_size=self.settings.batch_size)

    def _keep(self, run: Run, figures: Sequence[Figure]) -> None:
        """Put the model into ``best`` if its figure, the mean over the directions, is the best so far."""
        name = self.settings.keep_best
        if name is None:
            return
        assert run.out is not None
        watched = [figure for figure in figures if is_called(figure.name, name)]
        value, folder = sum(figure.value for figure in watched) / len(watched), run.out / FOLDER
        before = self.best if self.best is not None else _best_before(folder, name, watched)
        sign = 1 if self.better == "higher" else -1
        if before is None or sign * value > sign * before:
            record = {"keep_best": name, "value": value, "step": run.step, "figures": [f.to_json() for f in figures]}
            with new_folder(folder) as partial:
                write_model(run, partial)
                write_text(partial / BEST, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
            before = value
        self.best = before


def _watched(evaluation: Evaluation, name: str | None) -> str:
    """Whether the figure to keep the best of should be ``higher`` or ``lower``."""
    watched = evaluation.every_metric()
    names = list(dict.fromkeys(figure for metric in watched for figure in metric.names))
    found = [figure for figure in names if name is not None and is_called(figure, name)]
    if name is not None and len(found) != 1:
        reason = f"both {' and '.join(found)} are called so" if found else "no metric gives that figure"
        raise UserError(f"evaluate.keep_best: '{name}': {reason}. The figures are: {', '.join(names)}.")
    return next((metric.better for metric in watched if found and found[0] in metric.names), "")


def _best_before(folder: Path, name: str, figures: Sequence[Figure]) -> float | None:
    """The figure of the best model so far, kept before this run was resumed, if *figures* are measured in the same way."""
    try:
        record: Mapping[str, Any] = read_json(present(folder) / BEST)
        measured = [figure for figure in record["figures"] if is_called(figure["name"], name)]
        return float(record["value"]) if _ways(measured) == _ways([figure.to_json() for figure in figures]) else None
    except UNREADABLE:
        return None


def _ways(figures: Sequence[Mapping[str, Any]]) -> Any:
    """How figures, in the form of JSON, were measured, ignoring versions."""
    protocols = [{key: value for key, value in figure["protocol"].items() if key != "versions"} for figure in figures]
    return json.loads(json.dumps([(figure["name"], protocol) for figure, protocol in zip(figures, protocols, strict=True)]))


def _gathered(mine: Any) -> list[Any]:
    everyone: list[Any] = gather_object([mine])
    return everyone
