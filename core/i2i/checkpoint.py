"""Checkpoints: complete, written under a temporary name and renamed, never unpickled beyond tensors and plain values."""

import json
import os
import shutil
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING

import torch

from i2i.errors import UserError
from i2i.model_folder import Origin, save_model
from i2i.registry import hookimpl

if TYPE_CHECKING:
    from i2i.state import Run

FORMAT = 1


class Checkpointing:
    """Saves every so many steps and at the end; keeps the newest few."""

    def __init__(self) -> None:
        self.saved_step = -1

    @hookimpl(trylast=True)
    def step_ended(self, run: "Run") -> None:
        if run.step % run.recipe.checkpoint.every == 0:
            self._save(run)

    @hookimpl(tryfirst=True)
    def run_ended(self, run: "Run") -> None:
        if run.step > 0 and self.saved_step != run.step:
            self._save(run)

    def _save(self, run: "Run") -> None:
        path = save(run)
        self.saved_step = run.step
        run.hook.checkpoint_saved(run=run, path=path)


def save(run: "Run") -> Path:
    """Write ``checkpoints/step-XXXXXXXX`` and the model folder; the older checkpoints beyond ``keep_last`` go.

    A checkpoint's folder appears whole or not at all, and the last good one is removed only after the new one is in place.
    """
    assert run.out is not None
    folder = run.out / "checkpoints" / f"step-{run.step:08d}"
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    state = run.state_dict()
    with (partial / "state.pt").open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    manifest = {"format": FORMAT, "step": run.step, "shapes": _shapes(run)}
    (partial / "manifest.json").write_text(json.dumps(manifest, indent=1))
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)
    write_model(run, run.out / "model")
    for old in checkpoints(run.out)[: -run.recipe.checkpoint.keep_last]:
        shutil.rmtree(old)
    return folder


def write_model(run: "Run", folder: Path) -> None:
    """The generator in use (averaged where EMA is on) as a model folder that rebuilds itself."""
    origins = {}
    for place, component in run.recipe.components("generator").items():
        entry = run.registry.get("generator", component.name)
        origins["".join(map(str, place))] = Origin(component.name, entry.plugin, entry.version, component.options)
    save_model(
        folder,
        run.model,
        origins,
        domains=run.parts.domains,
        directions=run.parts.needs.directions,
        extra={"step": run.step, "ema": run.recipe.train.ema, "recipe": run.recipe.model_dump(mode="json")},
    )


def checkpoints(out: Path) -> list[Path]:
    """The complete checkpoints of a run folder, oldest first."""
    return sorted(p for p in (out / "checkpoints").glob("step-*") if (p / "manifest.json").is_file())


def restore(run: "Run") -> Path:
    """Load the newest checkpoint of ``run.out`` into the run.

    Raises:
        UserError: there is none, it cannot be read, or it belongs to other networks.
    """
    assert run.out is not None
    found = checkpoints(run.out)
    if not found:
        raise UserError(f"{run.out} holds no checkpoint to resume from. Start again without --resume, in another folder.")
    path = found[-1]
    try:
        manifest = json.loads((path / "manifest.json").read_text())
        state = torch.load(path / "state.pt", map_location="cpu", weights_only=True)
    except (OSError, ValueError, RuntimeError, EOFError, UnpicklingError) as error:
        reason = type(error).__name__
        raise UserError(f"{path} cannot be read ({reason}). Delete it to resume from the checkpoint before it.") from error
    if manifest["format"] != FORMAT:
        raise UserError(f"{path} has the checkpoint format {manifest['format']}; this version of i2i reads {FORMAT}.")
    if manifest["shapes"] != _shapes(run):
        raise UserError(f"{path} holds other networks than the recipe describes. Resume with the recipe of that run.")
    run.load_state_dict(state)
    return path


def _shapes(run: "Run") -> dict[str, dict[str, list[int]]]:
    """What must agree for a resume: every entry of the networks, and a loss's parameters. Its other state may grow."""
    states = {"generator": run.bare_generator.state_dict(), "loss": dict(run.loss.named_parameters())}
    if run.discriminator is not None:
        states["discriminator"] = run.accelerator.unwrap_model(run.discriminator).state_dict()
    return {role: {name: list(tensor.shape) for name, tensor in state.items()} for role, state in states.items()}
