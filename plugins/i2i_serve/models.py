"""The models that ``i2i serve`` was told: runs, model folders, or a folder of them."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from i2i.errors import printable
from i2i.translation.finding import has_best
from i2i.translation.model_folder import has_model
from i2i_serve.service import plain_name


def listed(paths: Iterable[Path]) -> Mapping[str, Path]:
    """The models by their names: a folder that is itself no run and no model stands for those in it, in alphabetical order.

    Of two of one name the second gets "-2". What is no model at all is left as it is, for loading to say what is wrong.
    """
    found: dict[str, Path] = {}
    for path in paths:
        inside = [] if _is_model(path) or not path.is_dir() else sorted(child for child in path.iterdir() if _is_model(child))
        for one in inside or [path]:
            found[_free(plain_name(one.resolve().name), found)] = one
    return found


def title(path: Path) -> str:
    """What people are told the model is called."""
    return printable(path.resolve().name) or "model"


def _is_model(path: Path) -> bool:
    return path.is_dir() and (has_model(path) or has_model(path / "model") or has_best(path))


def _free(name: str, taken: Mapping[str, Path]) -> str:
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    return found
