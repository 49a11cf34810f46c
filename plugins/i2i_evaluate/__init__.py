"""Figures of a model: ``i2i eval``, ``i2i compare``, and ``evaluate:`` in a recipe."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from i2i.hooks import hookimpl

if TYPE_CHECKING:
    from i2i.registry import Registry
    from i2i.training.state import Run
    from i2i_evaluate.evaluation import Result


@hookimpl
def run_assembled(run: "Run") -> list[object]:
    settings = run.recipe.section("evaluate")
    if settings is None:
        return []
    from i2i_evaluate.evaluating import Evaluating

    return [Evaluating(run, settings)]


@hookimpl
def measure_model(path: Path, registry: "Registry", options: Mapping[str, Any]) -> "Result":
    from i2i_evaluate.evaluation import measured

    return measured(path, registry, options)
