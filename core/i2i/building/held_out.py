"""Pictures that are held out: that a model is not trained on them."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from pydantic_core import to_jsonable_python

from i2i.building.parts import build_dataset
from i2i.errors import UserError
from i2i.protocols import Dataset
from i2i.recipe.components import Component
from i2i.recipe.options import complete_options
from i2i.registry import Registry


@runtime_checkable
class Identified(Protocol):
    """Optional methods of a data set by which pictures in two splits are found."""

    unsplit: Sequence[str]
    """The places (paths, sources) that are the same in every split."""

    def identities(self) -> Mapping[str, Sequence[str]]:
        """For each domain key, identities of its pictures that are the same in every data set."""
        ...


def check_held_out(dataset: Dataset, component: Component, trained: Component, registry: Registry) -> bool:
    """Whether no picture of a data set, made of *component* with complete options, is *trained* on.

    A data set of one picture has none to hold out, and may be.

    Raises:
        UserError: another has pictures that are trained on.
    """
    if not trained_on(dataset, component, trained, registry):
        return True
    if not _is_one_picture(dataset):
        raise UserError(_refusal(component, dataset, split_of(component)))
    return False


def split_of(component: Component) -> str:
    """The split that a data set's complete options name, in words."""
    return str(component.options.get("split", "all (the data set has no splits)"))


def trained_on(dataset: Dataset, component: Component, trained: Component, registry: Registry) -> bool:
    """Whether pictures of a held-out data set, made of *component*, are among those of the component that is *trained* on.

    A split whose name begins with ``train`` was asked for, and is not. What is trained on is built only if some place is the
    same in every split; if it is not there any more, its pictures are not among these.
    """
    if str(component.options.get("split", "")).startswith("train"):
        return False
    trained = trained.model_copy(update={"options": complete("dataset", trained, registry)})
    if component.name == trained.name and to_jsonable_python(component.options) == to_jsonable_python(trained.options):
        return True
    if not isinstance(dataset, Identified) or not dataset.unsplit:
        return False
    unread = {"corrupt": "keep"} if "corrupt" in trained.options else {}
    try:
        other = build_dataset(trained, registry, **unread)
    except UserError:
        return False
    known = {name for names in other.identities().values() for name in names} if isinstance(other, Identified) else set()
    return any(name in known for names in dataset.identities().values() for name in names)


def _is_one_picture(dataset: Dataset) -> bool:
    """Whether each side has only one picture, so that nothing can be held out."""
    return len(dataset) == 1 and isinstance(dataset, Identified) and all(len(x) == 1 for x in dataset.identities().values())


def _refusal(component: Component, dataset: Dataset, split: str) -> str:
    """That figures would be of the pictures trained on, and what to do about it."""
    places = f" ({', '.join(dataset.unsplit)})" if isinstance(dataset, Identified) and dataset.unsplit else ""
    ways = ["give other pictures, with evaluate.dataset while training and with --data afterwards"]
    if "holdout" in component.options:
        ways = [
            "Train with 'dataset.holdout: 0.1', which keeps a tenth of the pictures for val and test",
            "put {split} into the path, for train, val and test",
            *ways,
        ]
    text = "; or ".join(ways)
    return (
        f"dataset '{component.name}': the pictures of the split '{split}' are those that are trained on{places}. Figures of "
        f"them say little about others. {text[0].upper()}{text[1:]}."
    )


def complete(kind: str, component: Component, registry: Registry) -> dict[str, Any]:
    """A component's options, checked, with every default.

    Raises:
        UserError: one does not fit.
    """
    return complete_options(kind, component.name, registry.get(kind, component.name).factory, component.options)
