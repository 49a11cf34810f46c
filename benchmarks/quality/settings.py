"""From an arm to the recipe that it trains."""

import hashlib
import json
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from arms import EXTRACTORS, THREADS, USES, Settings, Use

from i2i.errors import UserError, nearest
from i2i.recipe import Recipe, load_recipe
from i2i.recipe.nodes import read
from i2i.registry import default_registry

RECIPES = Path(__file__).parents[2] / "recipes"
SHARES = ("from", "frozen_until", "start", "end", "warmup")
"""Keys whose whole numbers are steps of the run, and grow with it; ``every`` of a schedule is the paper's own number."""


def use_called(name: str) -> Use:
    """The use of that name."""
    if name not in USES:
        raise UserError(f"there is no use '{name}'.{nearest(name, list(USES))} The uses are: {', '.join(USES)}.")
    return USES[name]


def arms_of(name: str, wanted: Iterable[str] = ()) -> list[str]:
    """The arms of a use in the order of the table, or those of them that are wanted, by name or by ``ladder`` and ``tried``.

    Raises:
        UserError: none of the uses has an arm of that name.
    """
    use = use_called(name)
    groups = {"ladder": list(use.ladder), "tried": list(use.tried), "ends": ["published", "recipe"]}
    every = ["published", *use.ladder, "recipe", *use.tried]
    known = {*groups, *(arm for other in USES.values() for arm in ("published", "recipe", *other.ladder, *other.tried))}
    if odd := [arm for arm in wanted if arm not in known]:
        raise UserError(f"there is no arm '{odd[0]}'.{nearest(odd[0], sorted(known))}")
    chosen = {arm for word in wanted for arm in groups.get(word, [word])}
    return [arm for arm in every if arm in chosen or not chosen]


def settings_of(name: str, arm: str) -> Settings:
    """An arm as a mapping of what its recipe's file would hold, without the sections that the benchmark sets.

    Raises:
        UserError: the use has no such arm.
    """
    use = use_called(name)
    file = RECIPES / f"{use.recipe}.yaml"
    if not file.is_file():
        raise UserError(f"{file}: there is no such recipe, which the use '{name}' needs.")
    shipped: Settings = read(file, file.name).plain()
    if arm == "recipe":
        return shipped
    if arm == "published":
        train = {"steps": 1000, **use.published["train"]}
        return {"dataset": shipped["dataset"], **use.published, "train": train}
    if arm in use.ladder:
        rungs = list(use.ladder)
        found = settings_of(name, "published")
        for rung in rungs[: rungs.index(arm) + 1]:
            found = laid(found, use.ladder[rung])
        return found
    if arm not in use.tried:
        raise UserError(f"the use '{name}' has no arm '{arm}'. Its arms are: {', '.join(arms_of(name))}.")
    below, change = use.tried[arm]
    return laid(settings_of(name, below), change)


def laid(settings: Settings, change: Settings) -> Settings:
    """Dotted keys laid over a mapping; numbers count places in a list, and None removes."""
    made: Settings = json.loads(json.dumps(settings))
    for dotted, value in change.items():
        *above, last = dotted.split(".")
        at: Any = made
        for key in above:
            at = at[int(key)] if isinstance(at, list) else at.setdefault(key, {})
        place: Any = int(last) if isinstance(at, list) else last
        if value is None:
            at.pop(place, None) if isinstance(at, dict) else at.pop(place)
        else:
            at[place] = value
    return made


def place_of(out: Path, name: str, arm: str) -> Path:
    """The folder of an arm's runs: ``OUT/USE/ARM``."""
    return out / name / re.sub(r"[^\w.-]+", "-", arm)


def recipe_of(name: str, arm: str, steps: int, seed: int = 0, *, whole: bool = False) -> Recipe:
    """The recipe that an arm trains: its lengths scaled to so many steps, one thread, and little written beside.

    *whole*: all judges and parts are there from the first step, as a step is timed.
    """
    given = settings_of(name, arm)
    share = 0 if whole else steps / given["train"]["steps"]
    best = arm in use_called(name).best and not whole
    scaled: Settings = {key: _scaled(given[key], share) for key in given if key in ("generator", "discriminator", "loss")}
    evaluate = {"evaluate": _watched(given["evaluate"], share)} if best else {}
    train = {**_scaled(given["train"], share), "steps": steps, "seed": seed, "threads": THREADS, "workers": 0}
    train.pop("epochs", None)
    written = {
        "dataset": given["dataset"],
        **scaled,
        "train": train,
        "samples": {"every": steps, "count": 1, "dataset": {"split": "val"}},
        "checkpoint": {"every": max(50, -(-steps // 8)), "keep_last": 1},
        "log": {"every": max(1, steps // 50), "trackers": []},
        **evaluate,
    }
    return load_recipe(written, [], default_registry())


def _scaled(given: Any, share: float) -> Any:
    """The same with the lengths in steps multiplied by *share*."""
    if isinstance(given, list):
        return [_scaled(part, share) for part in given]
    if not isinstance(given, dict):
        return given
    lengths = {key: value for key, value in given.items() if key in SHARES and type(value) is int and value}
    scaled = {key: max(1, round(value * share)) for key, value in lengths.items()} if share else {}
    return {key: scaled[key] if key in lengths else _scaled(given[key], share) for key in given if share or key not in lengths}


def _watched(evaluate: Settings, share: float) -> Settings:
    """The section by which the best checkpoint is found."""
    return {**evaluate, "every": max(1, round(evaluate["every"] * share))}


TRAINED = ("dataset", "generator", "discriminator", "loss", "train", "evaluate")


def fingerprint(name: str, arm: str) -> str:
    """What distinguishes what an arm trains: 12 digits of the hash of its recipe, whatever else the recipe's file says."""
    made = recipe_of(name, arm, 1000).model_dump(mode="json")
    kept = json.dumps({key: made.get(key) for key in TRAINED}, sort_keys=True)
    return hashlib.sha256(kept.encode()).hexdigest()[:12]


def has_seen(name: str, arm: str, net: str) -> bool:
    """Whether an arm uses a network of the family of *net*: in a judge, a loss, a generator, or to find the best checkpoint."""
    return net in EXTRACTORS and EXTRACTORS[net] in _used(name, arm)


@cache
def _used(name: str, arm: str) -> str:
    """All that an arm is made of besides its data, defaults included, as text."""
    recipe = recipe_of(name, arm, 1000).model_dump(mode="json")
    return json.dumps({key: recipe[key] for key in recipe if key != "dataset"})


def changes(name: str, arm: str, before: str) -> list[str]:
    """What an arm sets otherwise than another one, a dotted key each."""
    ours, theirs = (_flat(settings_of(name, one)) for one in (arm, before))
    keys = sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
    return [f"{key}: {ours.get(key, 'not set')} (was {theirs.get(key, 'not set')})" for key in keys]


def _flat(given: Any, key: str = "") -> Settings:
    """Dotted keys to values, of the parts that arms set."""
    if key in ("dataset", "samples", "evaluate", "train.steps"):
        return {}
    if not isinstance(given, dict | list) or not given:
        return {key: given}
    parts = given.items() if isinstance(given, dict) else enumerate(given)
    return {dotted: value for at, part in parts for dotted, value in _flat(part, f"{key}.{at}".lstrip(".")).items()}
