"""An experiment again from its run folder: the objects that its recipe cannot name are given again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from i2i.errors import UserError
from i2i.experiment.options import components
from i2i.experiment.own import PLUGIN, Own
from i2i.experiment.parts import dataset_of, is_own
from i2i.recipe import COMPONENTS
from i2i.recipe.nodes import read
from i2i.registry import Registry
from i2i.training.run_folder import RECIPE
from i2i.translation.model_folder import has_model


def begun(run: Path, given: Mapping[str, Any], registry: Registry) -> tuple[Own, Registry]:
    """The own objects of a run under the names that its recipe has for them, and the registry with them.

    Raises:
        UserError: there is no run, an object is missing, or one is given that the run does not have.
    """
    if not (run / RECIPE).is_file():
        if has_model(run) or has_model(run / "model"):
            raise UserError(f"{run}: a model, and no run that could go on. Translate with it: i2i.load({str(run)!r}).")
        raise UserError(f"{run}: there is no run here ({RECIPE} is missing). Give the folder of a run.")
    own, saved = Own(), read(run / RECIPE).plain()
    for kind in COMPONENTS:
        parts = {place: part["name"] for place, part in components(saved.get(kind)).items()}
        for place, name in parts.items():
            thing = _at(given[kind], place)
            if not is_own(name):
                continue
            bare = name.removeprefix(f"{PLUGIN}:")
            if thing is None:
                raise UserError(
                    f"{run}: its {kind} was an object that was given in Python ({bare}). Give it again: "
                    f"i2i.Experiment.load({str(run)!r}, {kind}=…)."
                )
            if kind != "dataset":
                own.add(kind, thing, bare)
            else:
                _data(own, thing, bare, run, registry)
        if given[kind] is not None and not any(map(is_own, parts.values())):
            raise UserError(f"{run}: its {kind} has a name, by which it is built again. Leave {kind}=… out.")
    return own, own.joined(registry)


def _data(own: Own, thing: Any, bare: str, run: Path, registry: Registry) -> None:
    """The run's own data, which may have any of the forms that they could have the first time."""
    other = Own()
    named = dataset_of((), thing, None, "unpaired", other, registry)["name"]
    if not is_own(named):
        raise UserError(f"{run}: its data were objects given in Python ({bare}), and '{named}' is another data set.")
    own.add_pictures(other.factories["dataset"][named.removeprefix(f"{PLUGIN}:")], bare)


def _at(thing: Any, place: Any) -> Any:
    """What was given for a place: the object itself, or one of a list or mapping."""
    if place is None or thing is None:
        return thing
    if isinstance(thing, Mapping):
        return thing.get(place)
    found = thing[place] if isinstance(thing, list | tuple) and place < len(thing) else None
    return found.get("name") if isinstance(found, Mapping) else found
