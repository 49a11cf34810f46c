"""An epoch in steps, once the data are there. From then on the recipe of a run counts in steps alone."""

from typing import Any

from accelerate.utils import set_seed

from i2i.building.parts import build_dataset
from i2i.protocols import Dataset
from i2i.recipe import Recipe
from i2i.recipe.components import Component
from i2i.recipe.lengths import Epochs
from i2i.recipe.sections import Section, Train
from i2i.registry import Registry


def with_data(recipe: Recipe, registry: Registry, processes: int, kept: int | None = None) -> tuple[Recipe, Dataset]:
    """The recipe in steps, and its data set. An epoch is what the recipe says, else what a run has *kept*, else as computed."""
    set_seed(recipe.train.seed)
    dataset = build_dataset(recipe.dataset, registry)
    return in_steps(recipe, recipe.train.epoch or kept or steps_of_epoch(len(dataset), recipe.train, processes)), dataset


def steps_of_epoch(samples: int, train: Train, processes: int) -> int:
    """The number of steps in which a run sees so many samples: rounded, and at least 1."""
    together = train.batch_size * train.accumulate * processes
    return max(1, (2 * samples + together) // (2 * together))


def in_steps(recipe: Recipe, epoch: int) -> Recipe:
    """The recipe with the length of an *epoch*, and with steps for every length in epochs: rounded, and at least 1."""
    made: Recipe = _counted(recipe, epoch)
    return made.model_copy(update={"train": made.train.model_copy(update={"epoch": epoch})})


def _counted(value: Any, epoch: int) -> Any:
    match value:
        case Epochs():
            return max(1, int(value.number * epoch + 0.5))
        case Section() | Component():
            return value.model_copy(update={name: new for name, old in value if (new := _counted(old, epoch)) != old})
        case dict():
            return {key: _counted(part, epoch) for key, part in value.items()}
        case list():
            return [_counted(part, epoch) for part in value]
    return value
