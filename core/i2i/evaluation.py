"""Evaluation of a saved model, and of a model in training: ``evaluate:`` in a recipe."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate.utils import gather_object
from pydantic import ValidationError

from i2i.checkpoint import BEST, write_model
from i2i.components import Component
from i2i.errors import UserError, printable
from i2i.files import partial_of, present, put_in_place, read_json, sha256, write_text
from i2i.foreign import check_data, check_metrics, is_own, may_be_read
from i2i.held_out import Held, held_out
from i2i.inference import Translator, load
from i2i.limits import MAX_PARAMETERS
from i2i.measuring import Evaluation
from i2i.metrics import Figure
from i2i.model_folder import WEIGHTS, find_model
from i2i.naming import key_of
from i2i.recipe import Recipe, load_recipe
from i2i.registry import Registry, hookimpl
from i2i.sections import Evaluate
from i2i.unsaved import as_saved
from i2i.yaml_nodes import setting

if TYPE_CHECKING:
    from i2i.state import Run

FORMAT = 2
"""Since 2 each picture is translated alone where its batch would change it."""
RESULTS = "evaluation.json"

ACTING = ("dataset", "evaluate.metrics")
"""The keys of a recipe that an evaluation takes from ``--set``, with all below them."""
INSTEAD = {"dataset.split": "--split", "evaluate.images": "--images", "evaluate.batch_size": "--batch-size"}
"""Keys of a recipe that have options of their own."""


@dataclass(frozen=True)
class Result:
    """What an evaluation of a saved model found. ``weights`` is the hash of the model's file."""

    model: str
    weights: str
    step: int | None
    figures: Sequence[Figure]
    notes: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """For a JSON file."""
        head = {"format": FORMAT, "model": self.model, "weights_sha256": self.weights, "step": self.step}
        return {**head, "figures": [figure.to_json() for figure in self.figures], "notes": list(self.notes)}


def read_result(path: Path) -> Result:
    """What ``i2i eval`` wrote.

    Raises:
        UserError: it is no such file, or one of another version.
    """
    try:
        data = read_json(path)
        if data["format"] != FORMAT:
            raise UserError(f"{path} has format {data['format']}; this i2i reads {FORMAT}. Evaluate again.")
        figures = [Figure.from_json(figure) for figure in data["figures"]]
        step, notes = data["step"], [printable(str(note)) for note in data["notes"]]
        if step is not None and type(step) is not int:
            raise TypeError("step is not a number")
        return Result(str(data["model"]), str(data["weights_sha256"]), step, figures, notes)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is not a result of i2i eval ({type(error).__name__}: {error}).") from error


def evaluate_model(
    path: Path,
    registry: Registry,
    *,
    data: Path | None = None,
    overrides: Sequence[str] = (),
    metrics: Sequence[str] | None = None,
    split: str = "test",
    images: int | None = None,
    to: str | None = None,
    seed: int = 0,
    batch_size: int = 8,
    changed: bool = False,
    max_parameters: int = MAX_PARAMETERS,
) -> Result:
    """Evaluate a run or model folder on a *split* of its own recipe's data, or on those of the recipe *data*.

    Without *metrics*, those of ``evaluate`` in *data* are taken, else in the model's own recipe, else all that fit. *overrides*
    are ``key=value`` for the recipe's ``dataset`` and ``evaluate.metrics``. ``changed`` and ``max_parameters`` are those of
    :func:`i2i.load`. What is taken from the model's own recipe is said in ``i2i.foreign``.

    Raises:
        UserError: there is no model, the data do not fit it, a metric cannot be had, an override would have no effect, or the
            model's own recipe names files or functions.
    """
    check_acting(overrides, metrics is not None)
    translator = load(path, registry=registry, changed=changed, max_parameters=max_parameters)
    own = own_recipe(translator, path)
    recipe = own
    if data is not None or overrides:
        recipe = load_recipe(data if data is not None else path / "recipe.yaml", overrides, registry)
    if recipe is None:
        raise UserError(f"{path}: the model does not say which data it was trained on. Give a recipe with --data.")
    said = [".".join(setting(override)[0]) for override in overrides]
    if data is None and not (overrides and is_own(load_recipe(path / "recipe.yaml", [], registry))):
        check_data(recipe, registry, path, said)
    mine = data is not None and recipe.evaluate is not None  # the caller's recipe, with metrics of its own
    measured = recipe if mine or any(key.startswith(ACTING[1]) for key in said) else own
    if metrics is None and measured is not None and not mine:
        check_metrics(measured, registry, path, said)
    asked = own is not None and (recipe.dataset == own.dataset or may_be_read(own, registry))
    held = held_out(recipe.dataset, registry, split, images=images, trained=own.dataset if own is not None and asked else None)
    chosen, lenient = _chosen(metrics, measured, registry)
    ways = [way for way in translator.directions if way[0] != way[1]]
    if to is not None:
        target = key_of(translator.domains, to, [way[1] for way in ways], "to")
        ways = [way for way in ways if way[1] == target]
    evaluation = Evaluation(translator, held, chosen, directions=ways, seed=seed, batch_size=batch_size, lenient=lenient)
    figures = evaluation.run()
    if not figures:
        raise UserError("no metric could be computed. " + " ".join(evaluation.notes))
    step = (translator.config.get("extra") or {}).get("step")
    return Result(str(path), weights_hash(path), step, figures, evaluation.notes)


def check_acting(overrides: Sequence[str], named: bool) -> None:
    """Refuse ``key=value`` that an evaluation would ignore; with *named*, metrics were given by their names.

    Raises:
        UserError: saying what to give instead.
    """
    for override in overrides:
        key = ".".join(setting(override)[0])
        if key in INSTEAD:
            raise UserError(f"--set {override}: give {INSTEAD[key]} instead.")
        if named and f"{key}.".startswith("evaluate.metrics."):
            raise UserError(f"--set {override}: --metrics names other metrics. Leave out one of the two.")
        if not any(f"{key}.".startswith(f"{acting}.") for acting in ACTING):
            raise UserError(
                f"--set {override}: this would change nothing, as the model is evaluated as it was saved. An evaluation takes "
                f"dataset.KEY (the data) and {ACTING[1]} from --set."
            )


def own_recipe(translator: Translator, path: Path) -> Recipe | None:
    """The recipe that a model was trained with, if it is known."""
    saved = (translator.config.get("extra") or {}).get("recipe")
    try:
        return None if saved is None else Recipe.model_validate(saved)
    except ValidationError as error:
        raise UserError(f"{path}: the recipe in the model's config.json cannot be read: {error}") from error


def weights_hash(path: Path) -> str:
    """The hash of the weights of a run or model folder."""
    return sha256(present(find_model(path)) / WEIGHTS)


def _chosen(names: Sequence[str] | None, own: Recipe | None, registry: Registry) -> tuple[list[Component], bool]:
    """The metrics to take, and whether one may be left out."""
    if names is not None:
        for name in names:
            registry.get("metric", name)
        return [Component(name=name) for name in dict.fromkeys(names)], False
    if own is not None and own.evaluate is not None:
        return list(own.evaluate.metrics), False
    return [Component(name=name) for name in registry.names("metric")], True


class Evaluating:
    """Evaluates every so many steps and at the end; with ``keep_best``, the best model so far lies in ``best``.

    Every process takes its share of the batches, all learn all figures, and the first one writes. No random number of the
    training is drawn.
    """

    def __init__(self, run: "Run", settings: Evaluate) -> None:
        self.settings = settings
        self.listeners: list[Callable[[dict[str, Any], int], None]] = []
        self.best: float | None = None
        self.held = self._held(run)
        self._read(run)
        with as_saved(run, everyone=True) as model:
            trial = self._evaluation(model)
            self.better = _watched(trial, settings.keep_best)
            trial.look(*trial.first_batch())  # what does not fit is said before the first step

    @classmethod
    def of(cls, run: "Run") -> "Evaluating | None":
        """The run's evaluation, if its recipe asks for one; nothing is written yet.

        Raises:
            UserError: a metric or the data do not fit.
        """
        return None if run.recipe.evaluate is None else cls(run, run.recipe.evaluate)

    @hookimpl
    def step_ended(self, run: "Run") -> None:
        if run.step % self.settings.every and run.step != run.recipe.train.steps:
            return
        figures = self.evaluate(run)
        if run.accelerator.is_main_process:
            self._write(run, figures)
            self._keep(run, figures)

    def evaluate(self, run: "Run") -> list[Figure]:
        """The figures of the model as it is now, the same in every process."""
        accelerator = run.accelerator
        several = accelerator.num_processes > 1
        share = (accelerator.process_index, accelerator.num_processes)
        with as_saved(run, everyone=True) as model:
            return self._evaluation(model).run(share, _gathered if several else None)

    def _held(self, run: "Run") -> Held:
        settings = self.settings
        try:
            data = run.recipe.dataset
            return held_out(data, run.registry, "val", settings.dataset, settings.images, trained=data)
        except UserError as error:
            raise UserError(f"evaluate.dataset: {error} The split is 'val' unless evaluate.dataset names another.") from error

    def _read(self, run: "Run") -> None:
        """Read this process's share of the pictures once: a damaged one would end the run when it is evaluated."""
        try:
            self.held.read(run.accelerator.process_index, run.accelerator.num_processes)
        except UserError as error:
            raise UserError(f"evaluate.dataset: {error} 'i2i data check' reads all of them.") from error

    def _evaluation(self, model: Translator) -> Evaluation:
        return Evaluation(model, self.held, self.settings.metrics, batch_size=self.settings.batch_size)

    def _write(self, run: "Run", figures: Sequence[Figure]) -> None:
        assert run.out is not None
        values = {"step": run.step, **named(figures)}
        with (run.out / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")
        for listener in self.listeners:
            listener(values, run.step)

    def _keep(self, run: "Run", figures: Sequence[Figure]) -> None:
        """Put the model into ``best`` if its figure, the mean over the directions, is the best so far."""
        name = self.settings.keep_best
        if name is None:
            return
        assert run.out is not None
        watched = [figure for figure in figures if is_called(figure.name, name)]
        value, folder = sum(figure.value for figure in watched) / len(watched), run.out / "best"
        before = self.best if self.best is not None else _best_before(folder, name, watched)
        sign = 1 if self.better == "higher" else -1
        if before is None or sign * value > sign * before:
            partial = partial_of(folder)
            write_model(run, partial)
            kept = {"keep_best": name, "value": value, "step": run.step, "figures": [f.to_json() for f in figures]}
            write_text(partial / BEST, json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
            put_in_place(partial, folder)
            before = value
        self.best = before


def named(figures: Sequence[Figure]) -> dict[str, float]:
    """The figures by name for metrics.jsonl, as ``eval/psnr``; with the direction where there are several."""
    ways = {figure.protocol["direction"] for figure in figures}
    return {f"eval/{f.name}" + (f" {f.protocol['direction']}" if len(ways) > 1 else ""): f.value for f in figures}


def is_called(figure: str, name: str) -> bool:
    """Whether a figure has that name, its extractor being left out or not."""
    return name in (figure, figure.partition("[")[0])


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
    """The figure of the best model that an earlier part of this run has kept, if *figures* are measured as it was."""
    try:
        kept: Mapping[str, Any] = read_json(present(folder) / BEST)
        measured = [figure for figure in kept["figures"] if is_called(figure["name"], name)]
        return float(kept["value"]) if _ways(measured) == _ways([figure.to_json() for figure in figures]) else None
    except (OSError, ValueError, KeyError):
        return None


def _ways(figures: Sequence[Mapping[str, Any]]) -> Any:
    """How figures, as JSON has them, were measured, by whatever versions."""
    protocols = [{key: value for key, value in figure["protocol"].items() if key != "versions"} for figure in figures]
    return json.loads(json.dumps([(figure["name"], protocol) for figure, protocol in zip(figures, protocols, strict=True)]))


def _gathered(mine: Any) -> list[Any]:
    everyone: list[Any] = gather_object([mine])
    return everyone
