"""Checkpoints: complete, whole or not at all, checked by their hashes, and read without unpickling anything.

``checkpoints/step-XXXXXXXX`` holds a safetensors file for each part of the state that all processes share, a folder for
each process with what is its own (random numbers, the loss's memory), and ``manifest.json`` with names, shapes and hashes.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from i2i.building.reach import left_out
from i2i.data import fingerprint_of
from i2i.errors import DiskFullError, UserError, is_full
from i2i.files import UNREADABLE, partial_of, partial_path, present, put_in_place, sha256
from i2i.recipe.sections import Train
from i2i.training.resuming import at_start
from i2i.training.soundness import RULE, Soundness
from i2i.training.state import Run, renamed
from i2i.translation.checkpoints import (
    BEFORE_IT,
    BEST,
    FORMAT,
    MANIFEST,
    checkpoint_at,
    checkpoints,
    files_in,
    manifest_of,
    read_manifest,
    step_of,
)
from i2i.translation.model_folder import Origin, save_model
from i2i.translation.state_files import load_state, save_state


class Checkpointing:
    """Saves at regular steps and at the end, and warns if a run looks lost."""

    def __init__(self, note: Callable[..., None]) -> None:
        self.note = note
        self.saved_step = -1
        self.soundness: Soundness
        self.data: str | None = None

    def run_started(self, run: Run) -> None:
        self.note(RULE, quiet=True)
        newest = manifest_of(checkpoints(run.out)[-1]) if run.step and run.out is not None else {}
        self.soundness = Soundness(run, newest.get("largest", {}))
        self.data = fingerprint_of(run.parts.dataset)
        if not newest.get("sound", True):
            self.note(f"warning: the run looked lost at step {run.step}. {self._way_back(run)}")

    def step_ended(self, run: Run) -> None:
        self.soundness.stepped(run)
        if run.step % run.recipe.checkpoint.every == 0:
            self._save(run)

    def run_ended(self, run: Run) -> None:
        if run.step > 0 and self.saved_step != run.step:
            self._save(run)

    def _save(self, run: Run) -> None:
        wrong = self.soundness.wrong(run)
        path = save(run, {"sound": not wrong, "largest": self.soundness.largest, "data": self.data})
        self.saved_step = run.step
        if wrong:
            self.note(f"warning: step {run.step}: the run looks lost: {'; '.join(wrong)}. {self._way_back(run)}")
        run.hook.checkpoint_saved(run=run, path=path)

    def _way_back(self, run: Run) -> str:
        assert run.out is not None
        sound = [path for path in checkpoints(run.out) if _is_sound(path)]
        if not sound:
            return "No checkpoint is healthy. Start with lower learning rates (train.generator.lr, train.discriminator.lr)."
        return (
            f"The last healthy checkpoint, which is kept, is {sound[-1]}. To go back to it, delete the later ones and "
            "resume with lower learning rates (train.generator.lr, train.discriminator.lr) or train.clip: 1."
        )


def save(run: Run, found: Mapping[str, Any]) -> Path:
    """Write ``checkpoints/step-XXXXXXXX`` and the model folder; every process takes part. *found* goes into the manifest.

    A checkpoint's folder appears whole or not at all, and older ones go only after it is in place: all but the last
    ``keep_last`` sound ones, those at multiples of ``keep_every``, and that of the best model.

    Raises:
        UserError: the disk is full, or cannot be written to; earlier checkpoints are as they were.
    """
    assert run.out is not None
    folder = checkpoint_at(run.out, run.step)
    partial = partial_path(folder)
    main, wait = run.accelerator.is_main_process, run.accelerator.wait_for_everyone
    try:
        if main:
            partial_of(folder)
        wait()
        own = partial / f"process-{run.accelerator.process_index}"
        own.mkdir()
        save_state(own, run.own_state())
        wait()
        if main:
            save_state(partial, run.shared_state())
            _write_manifest(run, partial, found)
            put_in_place(partial, folder)
            write_model(run, run.out / "model")
            _remove_old(run)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        if is_full(error):
            raise DiskFullError(folder) from error
        raise UserError(
            f"{folder}: the checkpoint cannot be written ({error}). Earlier checkpoints are complete: continue with --resume."
        ) from error
    wait()
    return folder


def _write_manifest(run: Run, partial: Path, found: Mapping[str, Any]) -> None:
    manifest = {
        "format": FORMAT,
        "step": run.step,
        "processes": run.accelerator.num_processes,
        **found,
        "shapes": _shapes(run),
        "files": {name: sha256(partial / name) for name in files_in(partial)},
    }
    (partial / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def _remove_old(run: Run) -> None:
    assert run.out is not None
    settings, found = run.recipe.checkpoint, checkpoints(run.out)
    best = manifest_of(present(run.out / "best"), BEST).get("step")
    kept = {found[-1], *[path for path in found if _is_sound(path)][-settings.keep_last :]}
    for old in found:
        multiple = settings.keep_every is not None and step_of(old) % settings.keep_every == 0
        if old not in kept and not multiple and step_of(old) != best:
            shutil.rmtree(old)


def _is_sound(path: Path) -> bool:
    """What was saved before there was such a verdict, or cannot be read now, counts as sound."""
    return bool(manifest_of(path).get("sound", True))


def write_model(run: Run, folder: Path) -> None:
    """The generator in use (averaged where EMA is on) as a model folder that rebuilds itself."""
    origins = {}
    for place, component in run.recipe.components("generator").items():
        entry = run.registry.get("generator", component.name)
        origins["".join(map(str, place))] = Origin(
            component.name, entry.plugin, entry.version, component.options, entry.distribution
        )
    save_model(
        folder,
        run.model,
        origins,
        domains=run.parts.domains,
        directions=run.parts.needs.directions,
        extra={
            "step": run.step,
            "ema": run.recipe.train.ema,
            "sizes": run.parts.sizes,
            "recipe": run.recipe.model_dump(mode="json"),
            "left_out": left_out(run.model),
        },
    )


def restore(run: Run, path: Path | None = None, *, settings: Train | None = None) -> Path:
    """Load the newest checkpoint of ``run.out``, or the one given, into the run.

    *settings* are those that the run had, for a checkpoint of an earlier version, which does not name them; by default the
    run's own.

    Raises:
        UserError: there is none, a file is missing, foreign or damaged, it belongs to other networks, or the run's settings
            cannot be changed so.
    """
    assert run.out is not None
    found = [path] if path is not None else checkpoints(run.out)
    if not found:
        raise UserError(f"{run.out} holds no checkpoint to resume from. Start again without --resume, in another folder.")
    path = found[-1]
    manifest = read_manifest(path)
    process = run.accelerator.process_index
    try:
        _check_shapes(path, manifest["shapes"], _shapes(run))
        state = {**load_state(path), **load_state(path / f"process-{process % manifest['processes']}")}
        state.setdefault("settings", at_start(settings or run.recipe.train))
        run.load_state_dict(state, fresh_randomness=process >= manifest["processes"])
    except UserError:
        raise
    except (*UNREADABLE, RuntimeError, SafetensorError) as error:
        raise UserError(f"{path} cannot be restored ({type(error).__name__}: {error}). {BEFORE_IT}") from error
    return path


def _check_shapes(path: Path, then: dict[str, dict[str, list[int]]], now: dict[str, dict[str, list[int]]]) -> None:
    for role in {**then, **now}:
        before, today = then.get(role, {}), now.get(role, {})
        for name in {**before, **today}:
            if before.get(name) != today.get(name):
                raise UserError(
                    f"{path} holds different networks from those in the recipe: {role} {name} is {before.get(name, 'missing')} "
                    f"there and {today.get(name, 'missing')} here. Resume with the recipe of that run."
                )


def _shapes(run: Run) -> dict[str, dict[str, list[int]]]:
    """What must agree for a resume: every entry of the networks, and a loss's parameters. Its other state may grow."""
    parameters = {name for name, _ in run.loss.named_parameters()}
    own = {name: tensor for name, tensor in run.loss.state_dict().items() if name in parameters}
    states = {"generator": run.bare_generator.state_dict(), "loss": renamed(run.loss, own)}
    if run.discriminator is not None:
        states["discriminator"] = run.accelerator.unwrap_model(run.discriminator).state_dict()
    return {role: {name: list(tensor.shape) for name, tensor in state.items()} for role, state in states.items()}
