"""From what a user gives for each part to a recipe as a mapping, and the objects of their own that it names."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from torch import nn

from i2i.errors import UserError
from i2i.experiment.items import every_side, first_item, keys_of, one_side
from i2i.experiment.naming import named_after, names_of
from i2i.experiment.options import components, placed
from i2i.experiment.own import PLUGIN, Own
from i2i.hub import split_name
from i2i.pictures.files import opened_picture
from i2i.recipe import COMPONENTS, KEYS, Recipe, load_recipe
from i2i.recipe.plugin_sections import section_names
from i2i.recipe.suggested import laid_over
from i2i.registry import Registry

Layout = Literal["unpaired", "paired", "labels"]
"""What two places or sides are: pictures of two kinds, pairs, or label maps and their pictures."""

KINDS = ("generator", "discriminator", "loss")


def component_of(kind: str, value: Any, default: Any, own: Own) -> Any:
    """A network or a loss as a recipe has it: a mapping with a name, several in a list, or one for each direction or domain.

    A mapping of options without a name has that of the *default*; nothing at all is the default, without its options. In a list
    of discriminators, ``{"name": network, "weight": 0.5}`` gives an object of one's own its weight.
    """
    if value is None:
        return None if default is None else {"name": default["name"]}
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, list | tuple) and kind in ("loss", "discriminator"):
        return [component_of(kind, part, None, own) for part in value]
    if not isinstance(value, Mapping):
        return {"name": own.add(kind, value)}
    if isinstance(value.get("name"), nn.Module):
        return {**value, "name": own.add(kind, value["name"])}
    if "name" in value:
        return dict(value)
    if value and all(isinstance(part, Mapping | nn.Module) for part in value.values()):
        return {key: component_of(kind, part, default, own) for key, part in value.items()}
    if default is None:
        raise UserError(f"{kind}: the mapping has no 'name'. Give {{'name': …}} with its options.")
    return {"name": default["name"], **value}


def dataset_of(
    data: tuple[Any, ...], dataset: Any, names: Sequence[str] | None, layout: Layout, own: Own, registry: Registry
) -> dict[str, Any]:
    """The data set as a recipe has it, from positional places or sides, or from what was given as ``dataset``.

    Raises:
        UserError: neither or both were given, or it is not data.
    """
    if bool(data) == (dataset is not None):
        raise UserError("give the data: two folders, lists of pictures or data sets, or dataset=…, and not both.")
    if isinstance(names, str):
        raise UserError(f"names: {names!r} is text. Give a name for each domain: names=('horse', 'zebra').")
    if names is not None and not all(isinstance(name, str) and name.strip() for name in names):
        raise UserError(f"names: {names!r}: every name is text and not empty: names=('horse', 'zebra').")
    value = dataset if not data else data[0] if len(data) == 1 else data
    if isinstance(value, Mapping) and "name" in value:
        return _named(dict(value), names)
    if isinstance(value, str) and not data and (value in registry.names("dataset") or not Path(value).exists()):
        return _named({"name": value}, names)
    if isinstance(value, str | Path):
        return _named(_under(str(value), layout), names)
    if hasattr(value, "domains") and hasattr(value, "paired"):
        if names:
            raise UserError("names: the data set names its own domains. Leave it out.")
        return {"name": own.add_data(value)}
    if isinstance(value, Mapping):
        if hasattr(value, "column_names"):  # of Hugging Face's splits
            first_item(value, "the data")
        sides, named = dict(value), True
    elif isinstance(value, tuple) and len(value) > 1 and (isinstance(value[0], str | Path) or keys_of(value[0]) != [None]):
        sides, named = dict(zip("abcdefghijklmnopqrstuvwxyz", value, strict=False)), False
    else:
        return _given(every_side(value, "the data"), names, "paired" if layout == "unpaired" else layout, own, registry)
    if all(isinstance(side, str | Path) for side in sides.values()):
        return _places({key: str(side) for key, side in sides.items()}, named, names, layout)
    if places := [side for side in sides.values() if isinstance(side, str | Path)]:
        raise UserError(
            f"the data: '{places[0]}' is a place, and the others are pictures. Give one kind of data for all domains."
        )
    found = {key: one_side(side, f"the pictures of '{key}'") for key, side in sides.items()}
    return _given(found, names if names or named else _after_folders(found), layout, own, registry, named)


def _after_folders(sides: Mapping[str, Sequence[Any]]) -> list[str] | None:
    """The domains' names where the pictures are lists of paths: those of the first one's folder, if they differ."""
    firsts = [side[0] if isinstance(side, list | tuple) else None for side in sides.values()]
    called = [named_after(Path(first).parent) for first in firsts if isinstance(first, str | Path)]
    return called if len(set(called)) == len(sides) else None


def _named(component: dict[str, Any], names: Sequence[str] | None) -> dict[str, Any]:
    return component if names is None else {**component, "names": list(names)}


def _under(root: str, layout: Layout) -> dict[str, Any]:
    """One folder, of pairs side by side or with trainA and trainB or the like in it; or a data set on the hub."""
    base = Path(root).expanduser()
    if split_name(root) and not base.exists() and not base.parent.exists():
        return {"name": "hub", "source": root, "paired": layout != "unpaired", "names": list(names_of(base.name))}
    if layout == "labels":
        return {"name": "labels", "root": root}
    if layout == "paired" and not any((base / f"train{end}").is_dir() for end in ("A", "/A", "_A")):
        _check_wide(base)
        return {"name": "side_by_side", "root": root, "names": list(names_of(root))}
    return {"name": "folders", "root": root, "names": list(names_of(root)), **({"paired": True} if layout == "paired" else {})}


def _check_wide(base: Path) -> None:
    """Pictures A|B side by side are wider than high: a look at one of them."""
    for file in (file for file in base.rglob("*") if file.is_file()):
        try:
            with opened_picture(file) as picture:
                width, height = picture.size
        except UserError:  # the data set says what is wrong with its files
            continue
        if width <= height:
            raise UserError(
                f"{base}: {file.relative_to(base)} is {width} x {height}, so it is no pair side by side. Give the folders of "
                f"both sides, or say dataset={{'name': 'side_by_side', 'root': {str(base)!r}}}."
            )
        return


def _places(places: dict[str, str], named: bool, names: Sequence[str] | None, layout: Layout) -> dict[str, Any]:
    """Several folders, globs or files."""
    if named and len(places) > 2:
        return {"name": "folders", "domains": places}
    if len(places) > 2:
        raise UserError(
            f"the data: there are {len(places)} places. Give more than two as a mapping: dataset={{'name': place, …}}."
        )
    called = list(names or (places if named else map(named_after, places.values())))
    first, second = places.values()
    if len(called) != 2:
        raise UserError(f"names: there are {len(called)}, and 2 domains. Give one for each.")
    if Path(first).resolve() == Path(second).resolve():
        raise UserError(f"{first}: both sides are the same. Give a folder for each side.")
    if layout == "labels":
        return {"name": "labels", "maps": first, "images": second, "names": called}
    return {"name": "folders", "a": first, "b": second, "names": called, **({"paired": True} if layout == "paired" else {})}


def _given(
    sides: dict[str, Sequence[Any]],
    names: Sequence[str] | None,
    layout: Layout,
    own: Own,
    registry: Registry,
    named: bool = True,
) -> dict[str, Any]:
    """Pictures in memory: the plugin that has data sets of files offers them through its factories' ``given``."""
    offered = (getattr(entry.factory, "given", None) for entry in registry.entries("dataset"))
    given: Callable[..., Any] | None = next((factory for factory in offered if factory is not None), None)
    if given is None:
        raise UserError(
            "no loaded plugin makes data sets of pictures that are given in Python. Give a data set as i2i.protocols.Dataset "
            f"describes it. {registry.turned_off}".rstrip()
        )
    called = list(names or (sides if named else ()))
    keyed = dict(zip("ab", sides.values(), strict=True)) if len(sides) == 2 else sides
    if len(sides) == 2 and not called and layout == "labels":
        called = ["labels", "photo"]
    options: dict[str, Any] = {"names": called} if called else {}
    options |= {} if layout == "unpaired" else {"paired": True}
    options |= {"labels": "a"} if layout == "labels" else {}
    return {"name": own.add_pictures(given(keyed)), **options}


def is_own(name: object) -> bool:
    """Whether a component's name is that of an object given in Python."""
    return isinstance(name, str) and name.startswith(f"{PLUGIN}:")


def whole(
    data: tuple[Any, ...],
    dataset: Any,
    parts: Mapping[str, Any],
    defaults: Mapping[str, Any],
    names: Sequence[str] | None,
    layout: Layout,
    own: Own,
    registry: Registry,
) -> dict[str, Any]:
    """The recipe as a mapping; own objects are registered with *own*.

    Raises:
        UserError: a part is missing or not of its kind.
    """
    if dataset is None and not data:
        dataset = defaults.get("dataset")
    made: dict[str, Any] = {"dataset": dataset_of(data, dataset, names, layout, own, registry)}
    for kind in KINDS:
        component = component_of(kind, parts.get(kind), defaults.get(kind), own)
        if component is None and kind != "discriminator":
            raise UserError(f"give {kind}=…: a name ({', '.join(registry.names(kind))}), a mapping, or an object of your own.")
        if component is not None:
            made[kind] = component
    if not isinstance(parts.get("train") or {}, Mapping):
        raise UserError("train: give a mapping, train={'ema': 0.999}; for how long, .train(epochs=…) says.")
    return {**made, "train": dict(parts.get("train") or {})}


def checked(made: dict[str, Any], options: Mapping[str, Any], defaults: Mapping[str, Any], registry: Registry) -> Recipe:
    """The checked recipe, with options and sections where they belong, and sizes that follow the pictures' own.

    The options of *defaults* hold where nothing else is said, neither of a part nor in *options*.

    Raises:
        UserError: an option does not exist or does not fit.
    """
    sections = {key: value for key, value in options.items() if key in (*KEYS, *section_names())}
    flat = {key: value for key, value in options.items() if key not in sections}
    made = placed({**made, **sections}, flat, registry)
    for kind in KINDS:
        for component in components(made.get(kind)).values():
            if kind in defaults and component.get("name") == defaults[kind]["name"]:
                component.update({**defaults[kind], **component})
    made["train"] = laid_over(made.get("train", {}), defaults.get("train", {}))
    name = made["dataset"]["name"]
    fitted = getattr(registry.get("dataset", name).factory, "fitted", None) if isinstance(name, str) else None
    if fitted is not None:
        try:
            made["dataset"] = {"name": name, **fitted({key: v for key, v in made["dataset"].items() if key != "name"})}
        except UserError as error:
            where = "" if str(error).startswith(f"dataset '{name}'") else f"dataset '{name}': "
            raise UserError(f"{where}{error}") from error
    transform = made["dataset"].get("transform") or {}
    side: Any = transform.get("crop") or transform.get("resize")
    for component in components(made["generator"]).values() if side else []:
        fitting = getattr(registry.get("generator", component["name"]).factory, "fitted", None)
        if fitting is not None:
            component.update(fitting(component, (side, side) if isinstance(side, int) else tuple(side)))
    return load_recipe(made, [], registry)


def check_named(recipe: Recipe) -> None:
    """All parts of a recipe have names that others know.

    Raises:
        UserError: one is an object.
    """
    for kind in COMPONENTS:
        for component in recipe.components(kind).values():
            if is_own(component.name):
                advice = "Give folders, or" if kind == "dataset" else "To give it one,"
                raise UserError(
                    f"the {kind} is an object that was given in Python ({component.name.partition(':')[2]}), and a recipe has "
                    f"only names. {advice} register its class in a plugin: i2i plugins new."
                )
