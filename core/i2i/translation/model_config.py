"""config.json of a model folder, read as what a stranger may have written: its size is bounded and every value is checked.

Format 2 has the SHA-256 of the weights, and domains with every field. Format 1 is still read; what it lacks has its default.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from i2i.building.naming import NAME
from i2i.errors import UserError, one_line
from i2i.files import UNREADABLE, parsed_json, read_bounded
from i2i.pictures.preparation import check_preparation
from i2i.protocols import Direction, Domain, Preparation
from i2i.translation.limits import CHANNELS, CONFIG_BYTES, CONFIG_LISTS, DOMAINS

FORMAT = 2
CONFIG, WEIGHTS, DISCRIMINATOR = "config.json", "model.safetensors", "discriminator.safetensors"


@dataclass(frozen=True)
class Origin:
    """What a generator was made of: its name in the registry, the plugin with its version and distribution, and its options.

    Models of earlier versions name no distribution.
    """

    name: str
    plugin: str
    version: str
    options: Mapping[str, Any]
    distribution: str = ""


@dataclass(frozen=True)
class Description:
    """What config.json says. ``origins`` are those of :func:`written`; ``weights_sha256`` is None in format 1."""

    domains: dict[str, Domain]
    directions: tuple[Direction, ...]
    origins: dict[str, Origin]
    weights_sha256: str | None
    config: dict[str, Any]


def written(
    origins: Mapping[str, Origin],
    domains: Mapping[str, Domain],
    directions: tuple[Direction, ...],
    extra: Mapping[str, Any],
    weights_sha256: str,
    version: str,
) -> str:
    """The text of config.json. ``origins`` has one generator under "", or one for each direction under "ab" and the like."""
    config = {
        "format": FORMAT,
        "i2i": version,
        "weights_sha256": weights_sha256,
        "generator": asdict(origins[""]) if "" in origins else {key: asdict(origin) for key, origin in origins.items()},
        "domains": {key: asdict(domain) for key, domain in domains.items()},
        "directions": [list(direction) for direction in directions],
        "extra": dict(extra),
    }
    return json.dumps(config, indent=1, default=str, ensure_ascii=False)


def read_description(path: Path) -> Description:
    """The description in the file *path*.

    Raises:
        UserError: it cannot be read, is of a newer format, or describes no model.
    """
    try:
        content = read_bounded(path, CONFIG_BYTES)
        if content.count(b"[") + content.count(b"{") > CONFIG_LISTS:
            raise ValueError(f"it holds more than {CONFIG_LISTS} lists and mappings")
        config = parsed_json(content)
        number = config["format"]
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: it cannot be read ({one_line(error)}).") from error
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: it cannot be read: it names no 'format'. Is it the config.json of a model of i2i?") from error
    if type(number) is not int or not 1 <= number <= FORMAT:
        raise UserError(
            f"{path}: the model has format {one_line(number)}; this version of i2i reads 1 to {FORMAT}. "
            f"It was made by i2i {one_line(config.get('i2i') or 'of an unknown version')}: upgrade to that version or later."
        )
    try:
        return _description(config, number)
    except (*UNREADABLE, RecursionError) as error:
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise UserError(f"{path}: this does not describe a model ({reason}).") from error


def _description(config: dict[str, Any], number: int) -> Description:
    digest = config["weights_sha256"] if number > 1 else None
    if digest is not None and not (isinstance(digest, str) and len(digest) == 64):
        raise ValueError("weights_sha256 is not a SHA-256")
    given = config["generator"]
    origins = {"": _origin(given)} if "name" in given else {str(key): _origin(part) for key, part in given.items()}
    domains = {str(key): _domain(fields, strict=number > 1) for key, fields in config["domains"].items()}
    directions = tuple((str(source), str(target)) for source, target in config["directions"])
    if not 1 <= len(domains) <= DOMAINS or not directions or len(set(directions)) < len(directions):
        raise ValueError(f"a model has 1 to {DOMAINS} domains, and directions that differ")
    if unknown := {key for way in directions for key in way} - set(domains):
        raise ValueError(f"no domain {one_line(sorted(unknown)[0])}")
    _check_extra(config.setdefault("extra", {}))
    return Description(domains, directions, origins, digest, config)


def _origin(given: Mapping[str, Any]) -> Origin:
    name, plugin, version = (_name(given[field]) for field in ("name", "plugin", "version"))
    distribution = _name(given.get("distribution", ""))
    if distribution and not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", distribution):
        raise ValueError(f"{one_line(repr(distribution))} is not the name of a distribution")
    return Origin(name, plugin, version, dict(given["options"]), distribution)


_DOMAIN = TypeAdapter(Domain)


def _domain(given: Mapping[str, Any], *, strict: bool) -> Domain:
    """A domain; with *strict* it has all fields and no others, without it those that are missing have their defaults."""
    known, prepared = ({field.name for field in fields(kind)} for kind in (Domain, Preparation))
    if set(given.get("preparation", prepared)) != prepared:
        raise ValueError(f"a domain's preparation has the fields {', '.join(sorted(prepared))}")
    if (strict and set(given) != known) or not set(given) <= known:
        raise ValueError(f"a domain has the fields {', '.join(sorted(known))}, not {one_line(', '.join(sorted(given)))}")
    domain = _DOMAIN.validate_json(json.dumps(given), strict=True)
    if not 1 <= domain.channels <= CHANNELS or domain.label_count < 1:
        raise ValueError(f"a domain has 1 to {CHANNELS} channels, not {one_line(domain.channels)}")
    count = domain.label_count if domain.kind == "labels" else 0
    if len(domain.classes) not in (0, count) or len(domain.colors) not in (0, count):
        raise ValueError("a domain of labels has as many names and colours as classes, or none")
    if any(not 0 <= value <= 255 for color in domain.colors for value in color):
        raise ValueError("colours are numbers from 0 to 255")
    check_preparation(domain)
    for name in (domain.name, *domain.classes):
        _name(name)
    return domain


def _name(given: Any) -> str:
    """Text that can be shown: without control characters, which could rule a terminal."""
    if not isinstance(given, str) or len(given) > NAME or not given.isprintable():
        raise ValueError(f"names are printable text of at most {NAME} characters, not {one_line(repr(given))}")
    return given


def _check_extra(extra: Any) -> None:
    """What other commands read of it has the form that they expect; the rest may be anything."""
    if not isinstance(extra, dict):
        raise TypeError("extra must be a mapping")
    mappings = dict.fromkeys(("sizes", "recipe", "converted", "discriminator"), dict)
    known = {"step": int, "ema": (int, float), "left_out": list, **mappings}
    for key, kinds in known.items():
        if not isinstance(extra.get(key), (kinds, type(None))):  # type: ignore[arg-type]
            raise TypeError(f"extra.{key} is {one_line(repr(extra[key]))}")
    for size in (extra.get("sizes") or {}).values():
        if not isinstance(size, list) or len(size) != 2 or not all(type(side) is int and side > 0 for side in size):
            raise TypeError(f"extra.sizes holds {one_line(repr(size))}, which is not a height and a width")
    converted = extra.get("converted") or {}
    listed = [converted.get(key, []) for key in ("files", "notes", "left_out")]
    if not all(isinstance(part, list) for part in listed) or not all(
        isinstance(file, dict) and {"name", "sha256"} <= set(file) for file in listed[0]
    ):
        raise TypeError("extra.converted must hold lists of files (name, sha256), notes and names")
