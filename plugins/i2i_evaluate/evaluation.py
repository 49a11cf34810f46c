"""Evaluation of a saved model, and of a model in training: ``evaluate:`` in a recipe."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from i2i.building.naming import between, key_of
from i2i.errors import UserError, nearest, printable
from i2i.files import present, read_json, sha256, write_text
from i2i.metrics import Figure
from i2i.recipe import Recipe, load_recipe, recipe_of
from i2i.recipe.components import Component
from i2i.recipe.nodes import setting
from i2i.recipe.own import is_own
from i2i.registry import Registry
from i2i.translation.finding import find_model
from i2i.translation.limits import MAX_PARAMETERS
from i2i.translation.loading import load
from i2i.translation.model_folder import WEIGHTS
from i2i.translation.translator import Translator
from i2i_evaluate.foreign import check_data, may_be_read, texts
from i2i_evaluate.held import held_out
from i2i_evaluate.measuring import Evaluation

FORMAT = 2
"""Since 2 each picture is translated alone where its batch would change it."""
RESULTS = "evaluation.json"

ACTING = ("dataset", "evaluate.metrics")
"""The keys of a recipe that an evaluation takes from ``--set``, with all below them."""
INSTEAD = {"dataset.split": "--split", "evaluate.images": "--images", "evaluate.batch_size": "--batch-size"}
"""Keys of a recipe that have options of their own."""


@dataclass(frozen=True, repr=False)
class Result:
    """What an evaluation of a saved model found. ``weights`` is the hash of the model's file."""

    model: str
    weights: str
    step: int | None
    figures: Sequence[Figure]
    notes: Sequence[str] = ()

    @property
    def columns(self) -> dict[str, list[Any]]:
        """For ``pandas.DataFrame``: the figures' names, directions and values, and whether a high or a low one is better."""
        found = self.figures
        ways = [one.protocol.get("direction", "") for one in found]
        named = {"figure": [one.name for one in found], "direction": ways, "value": [one.value for one in found]}
        return {**named, "better": [one.better for one in found]}

    def __repr__(self) -> str:
        rows = zip(*self.columns.values(), strict=True)
        return "\n".join(
            [*(f"{name}  {way}: {value:.5g} ({better} is better)" for name, way, value, better in rows), *self.notes]
        )

    def to_json(self) -> dict[str, Any]:
        """For a JSON file."""
        head = {"format": FORMAT, "model": self.model, "weights_sha256": self.weights, "step": self.step}
        return {**head, "figures": [figure.to_json() for figure in self.figures], "notes": list(self.notes)}


def write_result(path: Path, result: Result) -> None:
    """What :func:`read_result` reads."""
    write_text(path, json.dumps(result.to_json(), indent=1, ensure_ascii=False) + "\n")


def read_result(path: Path) -> Result:
    """What ``i2i eval`` wrote.

    Raises:
        UserError: it is not such a file, or has a different version.
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
    except (ValueError, ArithmeticError, LookupError, TypeError, AttributeError) as error:
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
    use: Mapping[str, Any] | None = None,
) -> Result:
    """Evaluate a run or model folder on a *split* of its own recipe's data, or on those of the recipe *data*.

    Without *metrics*, it uses those of ``evaluate`` in *data*, else in the model's own recipe, else all that fit. *overrides*
    are ``key=value`` for the recipe's ``dataset`` and ``evaluate.metrics``. ``changed``, ``max_parameters`` and ``use`` are
    those of :func:`i2i.load`. ``i2i_evaluate.foreign`` says what is used from the model's own recipe.

    Raises:
        UserError: there is no model, the data do not fit it, a metric is not available, an override would have no effect, or
            the model's own recipe names files or functions.
    """
    check_acting(overrides, metrics is not None)
    translator = load(path, registry=registry, changed=changed, max_parameters=max_parameters, use=use)
    own = own_recipe(translator, path)
    recipe = own
    if data is not None or overrides:
        recipe = load_recipe(data if data is not None else path / "recipe.yaml", overrides, registry)
    if recipe is None:
        raise UserError(f"{path}: the model does not say which data it was trained on. Give a recipe with --data.")
    said = [".".join(setting(override)[0]) for override in overrides]
    if data is None and not (overrides and is_own(load_recipe(path / "recipe.yaml", [], registry))):
        check_data(recipe, registry, path, said)
    mine = data is not None and recipe.section("evaluate") is not None  # the caller's recipe, with metrics of its own
    measured = recipe if mine or any(key.startswith(ACTING[1]) for key in said) else own
    if metrics is None and measured is not None and not mine:
        check_metrics(measured, registry, path, said)
    asked = own is not None and (recipe.dataset == own.dataset or may_be_read(own, registry))
    held = held_out(recipe.dataset, registry, split, images=images, trained=own.dataset if own is not None and asked else None)
    chosen, lenient = _chosen(metrics, measured, registry)
    ways = between(translator.directions)
    if to is not None:
        target = key_of(translator.domains, to, [way[1] for way in ways], "to")
        ways = [way for way in ways if way[1] == target]
    evaluation = Evaluation(translator, held, chosen, directions=ways, seed=seed, batch_size=batch_size, lenient=lenient)
    figures = evaluation.run()
    if not figures:
        raise UserError("no metric could be computed. " + " ".join(evaluation.notes))
    return Result(str(path), weights_hash(path), translator.recorded.get("step"), figures, evaluation.notes)


def measured(path: Path, registry: Registry, options: Mapping[str, Any]) -> Result:
    """``evaluate_model(path, registry, **options)`` for a run folder, in which the result is kept as ``i2i eval`` keeps it.

    Raises:
        UserError: also if there is no such option.
    """
    known = list(signature(evaluate_model).parameters)[2:]
    if odd := [name for name in options if name not in known]:
        raise UserError(
            f"evaluate: there is no option '{odd[0]}'.{nearest(odd[0], known)} The options are: {', '.join(known)}."
        )
    if isinstance(options.get("metrics"), str):
        raise UserError(f"evaluate: metrics: give a list of names: metrics={options['metrics'].split(',')!r}.")
    for name in ("images", "batch_size"):
        value = options.get(name, 1)
        if value is not None and (not isinstance(value, int) or value < 1):
            raise UserError(f"evaluate: {name} must be a whole number from 1 on, not {value!r}.")
    result = evaluate_model(path, registry, **options)
    write_result(path / RESULTS, result)
    return result


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
                f"--set {override}: this would have no effect, as the model is evaluated as it was saved. An evaluation takes "
                f"dataset.KEY (the data) and {ACTING[1]} from --set."
            )


def own_recipe(translator: Translator, path: Path) -> Recipe | None:
    """The recipe that a model was trained with, if it is known."""
    saved = translator.recorded.get("recipe")
    try:
        return None if saved is None else recipe_of(saved)
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
    if own is not None and own.section("evaluate") is not None:
        return list(own.section("evaluate").metrics), False
    return [Component(name=name) for name in registry.names("metric")], True


def check_metrics(recipe: Recipe, registry: Registry, path: Path, said: Sequence[str] = ()) -> None:
    """The metrics of the recipe that comes with the model at *path* are names and numbers.

    Raises:
        UserError: an option is other text: a file, a function, the name of something to download.
    """
    metrics = [] if recipe.section("evaluate") is None else recipe.section("evaluate").metrics
    places = [(metric, f"evaluate.metrics.{i}") for i, metric in enumerate(metrics)]
    if named := [text for metric, place in places for text in texts("metric", metric, registry, place, said)]:
        key, _, value = named[0].partition(": ")
        raise UserError(
            f"{path}: the recipe of this model measures with {', '.join(named)}. Files, functions and other text are not taken "
            f"from a model: give --set {key}={value}, a recipe of your own with --data, or names of metrics with --metrics."
        )
