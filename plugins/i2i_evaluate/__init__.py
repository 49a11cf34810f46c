"""Figures of a model: ``i2i eval``, ``i2i compare``, and ``evaluate:`` in a recipe."""

from typing import TYPE_CHECKING

from i2i.hooks import hookimpl

if TYPE_CHECKING:
    from i2i.training.state import Run


@hookimpl
def run_assembled(run: "Run") -> list[object]:
    settings = run.recipe.section("evaluate")
    if settings is None:
        return []
    from i2i_evaluate.evaluating import Evaluating

    return [Evaluating(run, settings)]
