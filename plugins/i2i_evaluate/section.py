"""The section ``evaluate`` of a recipe."""

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field

from i2i.recipe.components import Component
from i2i.recipe.lengths import Steps
from i2i.recipe.sections import Check, Count, Section


def _named(metric: Any) -> Any:
    """``psnr`` as ``{name: psnr}``."""
    return {"name": metric} if isinstance(metric, str) else metric


Metric = Annotated[Component, BeforeValidator(_named), Field(json_schema_extra={"component": "metric"})]


class Evaluate(Section):
    """Metrics of the model while it trains, over held-out pictures."""

    every: Steps = 1000
    """The number of steps between two evaluations."""
    metrics: Annotated[list[Metric], Field(min_length=1)]
    """The metrics: each a name, or a component with options."""
    keep_best: str | None = None
    """The figure by which the best model is kept, in best/."""
    dataset: dict[str, Any] = Field(default_factory=dict)
    """Options that replace the data set's; the split is val unless they name another."""
    images: Count | None = None
    """The largest number of pictures to use, evenly spread."""
    batch_size: Count = 8
    """The number of pictures in a batch; it does not change the figures."""

    def resolved(self, check: Check) -> Self:
        checked = [check("metric", metric, "metrics", i) for i, metric in enumerate(self.metrics)]
        return self.model_copy(update={"metrics": checked})
