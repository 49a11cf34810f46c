"""Model folders: a generator's weights, and a config.json that rebuilds it without any flags."""

import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from i2i.building.combined import ByDirection
from i2i.building.naming import keyed
from i2i.building.reach import leave_out
from i2i.errors import UserError
from i2i.files import new_folder, present, sha256
from i2i.protocols import Direction, Domain
from i2i.randomness import seeded
from i2i.recipe.at_use import changed_options, in_use
from i2i.recipe.options import check_options, explain, options_model, taken
from i2i.registry import Entry, Registry, default_registry
from i2i.translation.limits import MAX_PARAMETERS
from i2i.translation.model_check import (
    MisfitError,
    TooLargeError,
    built,
    check_finite,
    check_fits,
    check_hash,
    read_header,
    take,
)
from i2i.translation.model_config import CONFIG as CONFIG
from i2i.translation.model_config import DISCRIMINATOR, Description, read_description, written
from i2i.translation.model_config import WEIGHTS as WEIGHTS
from i2i.translation.model_config import Origin as Origin


@dataclass(frozen=True)
class Model:
    """A generator that was rebuilt, in eval mode, its domains by key, its directions, and the whole config.json.

    ``use`` are the values of its options that may change after training.
    """

    module: nn.Module
    domains: Mapping[str, Domain]
    directions: tuple[Direction, ...]
    config: Mapping[str, Any]
    use: Mapping[str, Any] = field(default_factory=dict)


def save_model(
    folder: str | Path,
    generator_module: nn.Module,
    origins: Mapping[str, "Origin"],
    *,
    domains: Mapping[str, Domain],
    directions: Iterable[Direction],
    extra: Mapping[str, Any] | None = None,
    discriminator: Mapping[str, Tensor] | None = None,
) -> None:
    """Write the generator and all that is needed to build it again; an older model there is replaced.

    ``origins`` holds what the generator was made of: under "" one for all directions, or under "ab" and the like one for
    each. ``extra`` is kept under "extra". A *discriminator* stands beside, for training, with its hash in its own ``extra``.
    The folder appears completely or not at all: it is written under a temporary name, then renamed.
    """
    folder = Path(folder)
    try:
        with new_folder(folder) as place:
            save_tensors(_tensors(generator_module), place / WEIGHTS)
            told = dict(extra or {})
            if discriminator is not None:
                save_tensors(dict(discriminator), place / DISCRIMINATOR)
                told["discriminator"] = {**told.get("discriminator", {}), "sha256": sha256(place / DISCRIMINATOR)}
            digest = sha256(place / WEIGHTS)
            config = written(origins, domains, tuple(directions), told, digest, own_version())
            (place / CONFIG).write_text(config, encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise UserError(f"{folder}: the model cannot be written ({error}).") from error


def save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write a new safetensors file; its mode is what any new file of this process gets, not the library's 0600."""
    path.touch()
    mode = path.stat().st_mode
    save_file(tensors, path)
    path.chmod(stat.S_IMODE(mode))


def load_model(
    folder: str | Path,
    *,
    registry: Registry | None = None,
    changed: bool = False,
    max_parameters: int = MAX_PARAMETERS,
    use: Mapping[str, Any] | None = None,
) -> Model:
    """Rebuild the generator of a model folder, on the CPU and in eval mode.

    The folder may be a stranger's. Before anything is built at size, the shapes that config.json asks for are compared with
    the weights' header, and the weights with the SHA-256 that config.json records. *changed* takes weights that are not
    those recorded; a model of more than *max_parameters* numbers is refused. *use* are options of the generator that may
    change after training.

    Raises:
        UserError: a file is missing or broken, or made by a newer i2i; the plugin is missing; *use* does not fit; the weights
            do not fit, are not those recorded, are too many, or are NaN or infinite.
    """
    folder = present(Path(folder))
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise UserError(f"{folder}: no model here: {name} is missing. Give a run folder or a model folder.")
    registry = default_registry() if registry is None else registry
    told, weights = read_description(folder / CONFIG), folder / WEIGHTS
    entries = {key: _entry(folder, made, registry) for key, made in told.origins.items()}
    generators = {key: (entry.factory, told.origins[key].options) for key, entry in entries.items()}
    options, problems = changed_options(generators, use or {})
    if problems:
        raise UserError("\n".join(f"{folder}: use.{'.'.join(map(str, p.loc))}: {p.text}" for p in problems))
    told = replace(told, origins={key: replace(made, options=options[key]) for key, made in told.origins.items()})
    header = read_header(weights, max_parameters)

    def build() -> nn.Module:
        return leave_out(_generator(folder, told, entries), told.config["extra"].get("left_out") or ())

    try:
        check_fits(build, header, max_parameters, weights)
        check_hash(weights, told.weights_sha256, changed)
        module = built(build, header, weights)
        take(module, load_file(weights))
    except MisfitError as error:
        suspects = "; ".join(_misfit(entries[key], made) for key, made in told.origins.items())
        raise UserError(f"{weights}: {suspects}: the weights do not fit: {error}") from error
    except (OSError, SafetensorError) as error:
        raise UserError(f"{weights}: the weights cannot be read ({error}). Copy the file again.") from error
    check_finite(module, weights)
    used = in_use({key: (entry.factory, options[key]) for key, entry in entries.items()})
    return Model(module.eval(), told.domains, told.directions, told.config, used)


def _generator(folder: Path, told: Description, entries: Mapping[str, Entry]) -> nn.Module:
    if "" in entries:
        return _build(folder, entries[""], told.origins[""], told, told.directions)
    parts = {}
    for key, way in keyed(told.directions).items():
        if key not in entries:
            raise UserError(f"{folder / CONFIG}: it describes no generator for the direction {way[0]} to {way[1]}.")
        parts[way] = _build(folder, entries[key], told.origins[key], told, (way,))
    return ByDirection(parts)


def has_model(folder: Path) -> bool:
    """Whether the folder holds a model, or would if its replacement had not been cut short."""
    return (present(folder) / CONFIG).is_file()


def own_version() -> str:
    """This package's version; empty where it is used from a source tree."""
    try:
        return version("i2i-framework")
    except PackageNotFoundError:
        return ""


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """The state as contiguous tensors of their own: weights that are shared are stored twice."""
    state = module.state_dict()
    odd = [key for key, value in state.items() if not isinstance(value, Tensor)]
    if odd:
        raise UserError(f"the generator's state '{odd[0]}' is not a tensor and cannot be saved. Make it a buffer.")
    return {key: value.detach().cpu().clone(memory_format=torch.contiguous_format) for key, value in state.items()}


def _entry(folder: Path, made: Origin, registry: Registry) -> Entry:
    try:
        return registry.get("generator", f"{made.plugin}:{made.name.rpartition(':')[2]}")
    except UserError as error:
        wanted = " ".join(part for part in (made.plugin, made.version) if part)
        install = made.distribution and made.plugin not in registry.disabled
        how = f" (pip install {made.distribution}, if you trust it)" if install else ""
        raise UserError(f"{folder}: the model needs the plugin '{wanted}'{how}: {error}") from error


def _build(folder: Path, entry: Entry, made: Origin, told: Description, directions: tuple[Direction, ...]) -> nn.Module:
    """Call the factory, which reads no weights if it asks for ``rebuilt``; the caller's random state is left as it is."""
    size = (told.config["extra"].get("sizes") or {}).get(directions[0][0])  # earlier versions record none
    supplied = {"domains": told.domains, "directions": directions, "rebuilt": True, "size": size and tuple(size)}
    model = options_model("generator", entry.factory)
    try:
        checked = check_options(model, dict(made.options))
        with seeded(0):
            module: nn.Module = entry.factory(**taken("generator", entry.factory, supplied), **checked)
    except TooLargeError:
        raise
    except ValidationError as error:
        problem = next(explain(error, model))
        raise UserError(f"{folder}: {_misfit(entry, made)}: {'.'.join(map(str, problem.loc))}: {problem.text}") from error
    except Exception as error:  # a plugin may raise anything
        raise UserError(f"{folder}: {_misfit(entry, made)}: {type(error).__name__}: {error}") from error
    return module


def _misfit(entry: Entry, made: Origin) -> str:
    """What to suspect: another version of the plugin than the one that made the model."""
    then, now = made.version or "an unknown version", entry.version or "an unknown version"
    return f"the generator '{entry.name}' cannot be rebuilt (plugin '{entry.plugin}', made with {then}, now {now})"
