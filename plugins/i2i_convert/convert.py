"""Makes model folders from published checkpoints, with the converters that plugins register."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from i2i.building.naming import between
from i2i.errors import UserError, nearest, one_line
from i2i.files import sha256
from i2i.hooks import Factory
from i2i.published import Checkpoint, Converted, Converter
from i2i.published.fitting import shortened
from i2i.recipe.options import complete_options, taken
from i2i.registry import Entry, Registry
from i2i.translation.model_check import check_finite
from i2i.translation.model_folder import Origin, has_model, save_model
from i2i_convert.checkpoints import discriminators_beside, is_discriminator, read_checkpoint


@dataclass(frozen=True)
class Report:
    """What was converted, as lines of text."""

    folder: Path
    lines: tuple[str, ...]


def convert(
    files: Sequence[str | Path],
    form: str,
    out: str | Path,
    registry: Registry,
    *,
    names: tuple[str, str] = ("a", "b"),
    settings: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Report:
    """Make a model folder at *out* of checkpoints published in the form *form*.

    Discriminators among the files, by their names, or beside them become the model's, for training that starts from it.
    ``names`` are what the two domains are called. ``settings`` replace options that the files cannot tell.

    Raises:
        UserError: the form is unknown, a file is not a checkpoint in it, or weights are missing; nothing is written.
    """
    out = Path(out)
    converters = _converters(registry, form)
    if not files:
        raise UserError("no checkpoint was given. Name at least one file.")
    if out.exists() and not (overwrite and has_model(out)):
        raise UserError(
            f"{out}: it exists already. Choose another folder{', or overwrite it (--overwrite)' if has_model(out) else ''}."
        )
    given = [Path(file) for file in files if is_discriminator(Path(file))]
    files = [file for file in files if Path(file) not in given] or files
    checkpoints = [read_checkpoint(file) for file in files]
    plugin, made = _first(converters, checkpoints, form, names, dict(settings or {}))
    entry = registry.get("generator", f"{plugin}:{made.generator}")
    module, options = _built(entry, made)
    _load(module, made.state, made.generator, files)
    judge = _judge(converters, given or discriminators_beside(files), made, registry)
    if given and judge.problem:
        raise UserError(f"{judge.problem} Leave the file out.")
    origins = {"": Origin(entry.name, entry.plugin, entry.version, options, entry.distribution)}
    ways, extra = made.directions, _extra(form, checkpoints, made, judge)
    save_model(out, module, origins, domains=made.domains, directions=ways, extra=extra, discriminator=judge.state)
    return Report(out, (*_lines(entry, options, module, made), *judge.lines))


def _extra(form: str, checkpoints: Sequence[Checkpoint], made: Converted, judge: "_Judge") -> dict[str, Any]:
    """What config.json says besides: from what the model was made, its sizes, its discriminator."""
    files = [{"name": one.path.name, "sha256": sha256(one.path)} for one in (*checkpoints, *judge.files)]
    told = {"licence": made.licence, "left_out": list(made.left_out), "notes": list(made.notes)}
    sizes = {"sizes": dict.fromkeys(made.domains, made.size)} if made.size else {}
    judged = {"discriminator": judge.told} if judge.told else {}
    return {**sizes, "converted": {"from": form, "files": files, **told}, **judged}


@dataclass(frozen=True)
class _Judge:
    """A discriminator that comes with the model, and what config.json says of it; or the reason why none does."""

    state: Mapping[str, Tensor] | None = None
    told: Mapping[str, Any] = field(default_factory=dict)
    files: Sequence[Checkpoint] = ()
    lines: Sequence[str] = ()
    problem: str = ""


def _converters(registry: Registry, form: str) -> list[tuple[str, Factory]]:
    """The converters of that form in all plugins: several may know networks of one family."""
    found = [(entry.plugin, entry.factory) for entry in registry.entries("converter") if entry.name == form]
    if not found:
        choices = registry.names("converter")
        listed = f"Forms: {', '.join(choices)}." if choices else "No plugin offers a converter."
        raise UserError(f"there is no published form '{form}'.{nearest(form, choices)} {listed}")
    return found


def _first(
    converters: Sequence[tuple[str, Factory]],
    checkpoints: Sequence[Checkpoint],
    form: str,
    names: tuple[str, str],
    settings: Mapping[str, Any],
) -> tuple[str, Converted]:
    for plugin, converter in converters:
        made: Converted | None = _asked(converter, checkpoints, names, settings)
        if made is not None:
            return plugin, made
    first = checkpoints[0]
    listed = ", ".join(list(next(iter(first.states.values())))[:3])
    raise UserError(
        f"{first.path}: this is not a generator in the form '{form}'; its weights begin with {listed}. "
        "Give the generator's file, or another form."
    )


def _asked(convert: Callable[..., Any], checkpoints: Sequence[Checkpoint], *given: Any) -> Any:
    """What a converter makes of checkpoints; it looks for shapes that another network's tensors need not have."""
    try:
        return convert(checkpoints, *given)
    except (LookupError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        if isinstance(error, UserError):
            raise
        told = f"its tensors are not shaped like those of this form ({type(error).__name__}: {one_line(error)})."
        raise UserError(f"{', '.join(str(checkpoint.path) for checkpoint in checkpoints)}: {told}") from error


def _built(entry: Entry, made: Converted) -> tuple[nn.Module, dict[str, Any]]:
    options = complete_options("generator", entry.name, entry.factory, made.options)
    supplied = {"domains": made.domains, "directions": made.directions, "rebuilt": True, "size": made.size}
    module: nn.Module = entry.factory(**taken("generator", entry.factory, supplied), **options)
    return module, options


def _judge(converters: Sequence[tuple[str, Factory]], paths: Sequence[Path], made: Converted, registry: Registry) -> _Judge:
    """The discriminator in the files, which must fill a network of ours."""
    if not paths:
        return _Judge()
    named = ", ".join(map(str, paths))
    try:
        checkpoints = [read_checkpoint(path) for path in paths]
        known = [converter.discriminator for _, converter in converters if isinstance(converter, Converter)]
        found = next((judge for convert in known if (judge := _asked(convert, checkpoints, made)) is not None), None)
        if found is None:
            raise UserError("no discriminator in this form.")
        entry = registry.get("discriminator", found.discriminator)
        options = complete_options("discriminator", entry.name, entry.factory, found.options)
        judged = {key: made.domains[key] for key in found.judged}
        seen = {key: made.domains[source] for key, source in found.judged.items() if found.conditional}
        supplied = {"domains": judged, "conditions": seen, "size": made.size}
        _load(entry.factory(**taken("discriminator", entry.factory, supplied), **options), found.state, entry.name, paths)
    except UserError as error:
        problem = f"{named}: not taken: {str(error).removeprefix(f'{named}: ')}"
        return _Judge(problem=problem, lines=[problem])
    lines = [f"discriminator '{entry.name}', for training: {_told(options)}", *(f"assumed: {note}" for note in found.notes)]
    lines += _left_out(found.left_out)
    told = {"name": entry.name, "plugin": entry.plugin, "options": options, "conditional": found.conditional}
    return _Judge(found.state, told, checkpoints, lines)


def _load(module: nn.Module, state: Mapping[str, Tensor], name: str, files: Sequence[str | Path]) -> None:
    """Load the weights: every tensor must have a place, and every place a tensor."""
    own = module.state_dict()
    listed = ", ".join(str(file) for file in files)
    problems = [f"{key} is missing" for key in own if key not in state]
    problems += [f"{key} has no place" for key in state if key not in own]
    problems += [
        f"{key} is {tuple(state[key].shape)} and should be {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise UserError(f"{listed}: the weights do not make a whole '{name}': {'; '.join(problems[:3])}{more}.")
    module.load_state_dict(dict(state))
    check_finite(module, Path(listed))


def _lines(entry: Entry, options: Mapping[str, Any], module: nn.Module, made: Converted) -> tuple[str, ...]:
    count = sum(parameter.numel() for parameter in module.parameters()) / 1e6
    ways = ", ".join(f"{made.domains[s].name} → {made.domains[t].name}" for s, t in between(made.directions))
    lines = [
        f"generator '{entry.name}', {count:.3f} M parameters: {_told(options)}",
        f"translates {ways}",
        f"licence: {made.licence}",
    ]
    lines += [f"assumed: {note}" for note in made.notes]
    return (*lines, *_left_out(made.left_out))


def _left_out(names: Sequence[str]) -> list[str]:
    return [f"unknown names, left out: {', '.join(shortened(list(names), 5))}"] if names else []


def _told(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in options.items() if not name.startswith("init"))
