"""Model folders: a generator's weights, and a config.json that rebuilds it with nobody passing a flag."""

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from i2i.composition import ByDirection
from i2i.errors import UserError
from i2i.files import partial_of, present, put_in_place
from i2i.options import check_options, options_model
from i2i.protocols import Direction, Domain
from i2i.randomness import seeded
from i2i.registry import Entry, Registry, default_registry

FORMAT = 1
CONFIG, WEIGHTS = "config.json", "model.safetensors"

Model = tuple[nn.Module, dict[str, Domain], tuple[Direction, ...], dict[str, Any]]
"""The generator in eval mode, its domains by key, its directions, and the whole config.json."""


@dataclass(frozen=True)
class Origin:
    """What a generator was made of: its name in the registry, the plugin with its version, and its options."""

    name: str
    plugin: str
    version: str
    options: Mapping[str, Any]


def save_model(
    folder: str | Path,
    generator_module: nn.Module,
    origins: Mapping[str, "Origin"],
    *,
    domains: Mapping[str, Domain],
    directions: Iterable[Direction],
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write the generator and all that is needed to build it again; an older model there is replaced.

    ``origins`` holds what the generator was made of: under "" one for all directions, or under "ab" and the like one for
    each. ``extra`` is kept under "extra".
    The folder appears whole or not at all: it is written beside its place, then renamed.
    """
    folder = Path(folder)
    config = {
        "format": FORMAT,
        "i2i": own_version(),
        "generator": asdict(origins[""]) if "" in origins else {key: asdict(origin) for key, origin in origins.items()},
        "domains": {key: asdict(domain) for key, domain in domains.items()},
        "directions": [list(direction) for direction in directions],
        "extra": dict(extra or {}),
    }
    try:
        partial = partial_of(folder)
        save_file(_tensors(generator_module), partial / WEIGHTS)
        (partial / CONFIG).write_text(json.dumps(config, indent=1, default=str, ensure_ascii=False), encoding="utf-8")
        put_in_place(partial, folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(folder.with_name(f".{folder.name}.partial"), ignore_errors=True)
        raise UserError(f"{folder}: the model cannot be written ({error}).") from error


def load_model(folder: str | Path, *, registry: Registry | None = None) -> Model:
    """Rebuild the generator of a model folder, on the CPU and in eval mode.

    Raises:
        UserError: a file is missing or broken, or made by a newer i2i; the plugin is missing; the weights do not fit.
    """
    folder = present(Path(folder))
    config = _read_config(folder)
    try:
        domains = {str(key): _domain(fields) for key, fields in config["domains"].items()}
        directions = tuple((str(source), str(target)) for source, target in config["directions"])
        given = config["generator"]
        origins = {"": _origin(given)} if "name" in given else {key: _origin(part) for key, part in given.items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{folder / CONFIG}: this is no description of a model ({reason}).") from error
    registry = default_registry() if registry is None else registry
    module = _generator(folder, origins, registry, domains, directions)
    _load_weights(folder, module, origins, registry)
    return module.eval(), domains, directions, config


def _generator(
    folder: Path,
    origins: Mapping[str, Origin],
    registry: Registry,
    domains: Mapping[str, Domain],
    directions: tuple[Direction, ...],
) -> nn.Module:
    if "" in origins:
        return _build(folder, _entry(folder, origins[""], registry), origins[""], domains, directions)
    parts = {}
    for source, target in directions:
        if f"{source}{target}" not in origins:
            raise UserError(f"{folder / CONFIG}: it describes no generator for the direction {source} to {target}.")
        origin = origins[f"{source}{target}"]
        way: Direction = (source, target)
        parts[way] = _build(folder, _entry(folder, origin, registry), origin, domains, (way,))
    return ByDirection(parts)


def _origin(given: Mapping[str, Any]) -> Origin:
    return Origin(str(given["name"]), str(given["plugin"]), str(given["version"]), dict(given["options"]))


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
        raise UserError(f"the generator's state '{odd[0]}' is no tensor and cannot be saved. Make it a buffer.")
    return {key: value.detach().cpu().clone(memory_format=torch.contiguous_format) for key, value in state.items()}


def _read_config(folder: Path) -> dict[str, Any]:
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise UserError(f"{folder}: no model here: {name} is missing. Give a run folder or a model folder.")
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        number = config["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / CONFIG}: it cannot be read ({type(error).__name__}: {error}).") from error
    if not isinstance(number, int) or number > FORMAT:
        raise UserError(
            f"{folder / CONFIG}: the model has format {number}; this i2i reads {FORMAT}. "
            f"Made by i2i {config.get('i2i') or 'of an unknown version'}: upgrade to that version or a newer one."
        )
    return dict(config)


def _domain(fields: Mapping[str, Any]) -> Domain:
    colors = tuple((int(r), int(g), int(b)) for r, g, b in fields["colors"])
    return Domain(**{**fields, "classes": tuple(fields["classes"]), "colors": colors})


def _entry(folder: Path, made: Origin, registry: Registry) -> Entry:
    try:
        return registry.get("generator", f"{made.plugin}:{made.name.rpartition(':')[2]}")
    except UserError as error:
        wanted = " ".join(part for part in (made.plugin, made.version) if part)
        raise UserError(f"{folder}: the model needs the plugin '{wanted}': {error}") from error


def _build(
    folder: Path,
    entry: Entry,
    made: Origin,
    domains: Mapping[str, Domain],
    directions: tuple[Direction, ...],
) -> nn.Module:
    """Call the factory; the caller's random state is left as it is."""
    try:
        checked = check_options(options_model("generator", entry.factory), dict(made.options))
        with seeded(0):
            module: nn.Module = entry.factory(domains=domains, directions=directions, **checked)
    except Exception as error:  # a plugin may raise anything
        raise UserError(f"{folder}: {_misfit(entry, made)}: {type(error).__name__}: {error}") from error
    return module


def _load_weights(folder: Path, module: nn.Module, origins: Mapping[str, Origin], registry: Registry) -> None:
    try:
        weights = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{folder / WEIGHTS}: the weights cannot be read ({error}). Copy the file anew.") from error
    try:
        module.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        reason = reason if len(reason) < 400 else f"{reason[:400]} …"
        suspects = "; ".join(_misfit(_entry(folder, made, registry), made) for made in origins.values())
        raise UserError(f"{folder / WEIGHTS}: {suspects}: the weights do not fit: {reason}") from error


def _misfit(entry: Entry, made: Origin) -> str:
    """What to suspect: another version of the plugin than the one that made the model."""
    then, now = made.version or "an unknown version", entry.version or "an unknown version"
    return f"the generator '{entry.name}' cannot be rebuilt (plugin '{entry.plugin}', made with {then}, now {now})"
