"""``i2i run``: from a recipe to a run folder."""

import json
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from shlex import quote
from typing import Any

import torch
from rich.console import Console

from i2i.building.epochs import with_data
from i2i.building.naming import as_options, between, named, takes_any_source
from i2i.errors import DiskFullError, UserError, is_full, one_line
from i2i.files import remove_partials, write_text
from i2i.recipe import COMPONENTS, Recipe, load_recipe
from i2i.recipe.own import remember
from i2i.registry import Registry, default_registry
from i2i.stopping import GRACE, stops_when_asked
from i2i.training.loop import train
from i2i.training.processes import make_accelerator
from i2i.training.records import Records
from i2i.training.run_folder import RECIPE, check_content, check_place, check_shared, folder_of, locked
from i2i.training.samples import newest
from i2i.training.starting import begun_with, check_length, ready
from i2i.training.state import Run
from i2i.training.tracking import check_trackers
from i2i.translation import precision
from i2i.translation.checkpoints import checkpoints
from i2i.translation.model_folder import own_version


def run(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    *,
    set: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    grace: float = GRACE,
    device: str | torch.device | None = None,
) -> Path:
    """Train a recipe, as ``i2i run`` does, and return its run folder: a file, a mapping of what it would hold, or a Recipe.

    Without *out* the folder is ``runs/NAME`` after the file, or else ``runs/recipe``. ``set`` maps dotted paths to values that
    replace the recipe's: ``i2i.run("r.yaml", set={"train.steps": 100})``. A run that is sent SIGTERM or SIGHUP has *grace*
    seconds to save. ``device`` is where it trains: "cpu", "cuda:1"; left out, on an accelerator if there is one.

    Raises:
        UserError: the recipe, the options, the device or the folder are not usable; nothing has been written then.
    """
    overrides = [f"{path}={json.dumps(value)}" for path, value in (set or {}).items()]
    registry = default_registry()
    checked = load_recipe(recipe, overrides, registry)
    file = Path(recipe if isinstance(recipe, str | Path) else "recipe")
    folder = folder_of(file, None if out is None else Path(out), resume)
    console = Console(stderr=True)
    with precision.computing_on(device):
        return run_recipe(checked, folder, registry, resume=resume, console=console, grace=grace).out or folder


def run_recipe(recipe: Recipe, out: Path, registry: Registry, *, resume: bool, console: Console, grace: float = GRACE) -> Run:
    """Train a checked recipe into the folder *out*; Ctrl-C, SIGTERM and SIGHUP finish the step and save.

    Where several processes were launched, each calls this; the first one writes. A run that ended before its first checkpoint
    is resumed from its beginning.
    """
    check_length(recipe)
    accelerator = make_accelerator(recipe.train.settled())
    main = accelerator.is_main_process
    with ExitStack() as held:
        held.enter_context(_on_a_full_disk(out))
        if main:
            check_place(out)
            held.enter_context(locked(out))  # before any look at what the folder holds
            check_content(out, resume)
            check_trackers(recipe.log.trackers)
        check_shared(out, accelerator)
        if not main:
            held.enter_context(locked(out, accelerator.process_index))
        before = begun_with(recipe, out, registry) if resume and checkpoints(out) else None
        accelerator.wait_for_everyone()
        recipe, dataset = with_data(recipe, registry, accelerator.num_processes, before.train.epoch if before else None)
        chosen = registry.hook.choose_settings(recipe=recipe, registry=registry, before=before, console=console)
        recipe = (chosen or recipe).settled(before)
        state, grids, changed = ready(recipe, before, out, registry, console, dataset)
        if main:
            remove_partials(out)
            write_recipe(state.recipe, out, registry)
            remember(recipe)
        records = Records.of(state, console, grids)
        for line in [*state.parts.notes, *state.began, *(f"changed after step {state.step}: {line}" for line in changed)]:
            state.note(line)
        try:
            with stops_when_asked(state.ask_to_stop, grace), closing(state.batches()) as batches:
                train(state, batches, records)
        except Exception as error:
            told = _explained(error, state)
            state.hook.run_failed(run=state, error=told)
            if told is error:
                raise  # with all that led to it
            raise told from error
        finally:
            records.log.close()
        state.accelerator.wait_for_everyone()
        state.accelerator.end_training()
    return state


def _explained(error: Exception, state: Run) -> Exception:
    """The error for a person, where torch's own does not say what to do."""
    if isinstance(error, torch.OutOfMemoryError):
        return UserError(out_of_memory(state))
    torn = isinstance(error, EOFError | ConnectionError)  # what a loader process was sending when it was killed
    if (torn and state.recipe.train.settled().workers) or (
        isinstance(error, RuntimeError) and "DataLoader worker" in str(error)
    ):
        return UserError(
            f"step {state.step}: a loader process has ended ({one_line(error).rstrip(' .')}). The system ends one if memory is "
            "short. Set train.workers to 0 or a smaller number, and continue with --resume."
        )
    return error


@contextmanager
def _on_a_full_disk(out: Path) -> Iterator[None]:
    """A full disk is said once, with how to continue; that a tracker's own thread finds it, the run is told as well."""
    before = threading.excepthook
    threading.excepthook = lambda told: None if told.exc_value and is_full(told.exc_value) else before(told)
    try:
        yield
    except DiskFullError as error:
        if not (out / RECIPE).exists():
            raise
        raise DiskFullError(error.path, "continue with --resume; what was saved is complete") from error
    finally:
        threading.excepthook = before


def write_recipe(recipe: Recipe, out: Path, registry: Registry) -> None:
    """Write the resolved recipe: every default spelled out, the plugins and their versions in its head."""
    out.mkdir(parents=True, exist_ok=True)
    lines = [f"# i2i {own_version()}, torch {torch.__version__}, Python {sys.version.split()[0]}"]
    for kind in COMPONENTS:
        for component in recipe.components(kind).values():
            entry = registry.get(kind, component.name)
            lines.append(f"# {kind} {component.name}: plugin {entry.plugin} {entry.version}")
    write_text(out / RECIPE, "\n".join(lines) + "\n" + recipe.to_yaml())


def out_of_memory(state: Run) -> str:
    """What did not fit, and what to try."""
    settings = state.recipe.train
    sizes = state.parts.sizes
    shapes = ", ".join(
        f"{domain.name} {domain.channels} x {' x '.join(map(str, sizes[key]))}" for key, domain in state.parts.domains.items()
    )
    smaller = f"train.batch_size: {settings.batch_size // 2}, train.accumulate: {settings.accumulate * 2}"
    tips = [smaller if settings.batch_size > 1 else "a smaller crop"]
    if settings.precision == "fp32" and precision.in_hardware("bf16", state.accelerator.device):
        tips.append("train.precision: bf16")
    tips.append("a smaller generator.width")
    return (
        f"step {state.step + 1}: the device's memory is too small for batches of {settings.batch_size} ({shapes}). "
        f"Continue with --resume and {'; or '.join(tips)}."
    )


def closing_lines(state: Run, again: str) -> str:
    """What users want to know at the end: where the pictures and the model are, and how to continue."""
    assert state.out is not None
    lines = []
    if state.step < state.recipe.train.steps:
        lines.append(f"stopped after step {state.step} of {state.recipe.train.steps}; continue with: {again}")
    directions = state.parts.needs.directions
    any_source, way = takes_any_source(state.model, state.parts.domains, directions), [*between(directions), *directions][0]
    words = as_options(named(state.parts.domains, directions, way, any_source))
    told = [pair for found in reversed(state.hook.closing_lines(run=state)) for pair in found.items()]
    labelled = [("pictures", newest(state.out)), *told, ("model", state.out / "model")]
    lines += [f"{label + ':':9} {text}" for label, text in labelled]
    lines.append(f"use it:   i2i translate {quote(str(state.out))} IMAGE {words} --out translated")
    return "\n".join(lines)
