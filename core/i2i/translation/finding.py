"""The model that is meant: ``runs/night``, ``runs/night@600``, a model folder, ``owner/name``."""

import atexit
import json
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

from safetensors import SafetensorError

from i2i.errors import UserError, nearest
from i2i.files import UNREADABLE, present, sha256
from i2i.hub import split_name
from i2i.translation.checkpoints import BEST, checkpoint_at, kept, manifest_of, step_of
from i2i.translation.from_hub import download_model
from i2i.translation.model_config import CONFIG, WEIGHTS, read_description
from i2i.translation.model_folder import has_model, save_tensors
from i2i.translation.state_files import SHAPE, load_state


def find_model(path: Path, also: tuple[str, ...] = ()) -> Path:
    """The model folder that is meant: a run's best or else its last, that of ``RUN@STEP``, ``RUN@best`` or ``RUN@last``, the
    folder itself, or a copy of a model on the hub, whose files *also* are fetched too.

    Raises:
        UserError: there is none.
    """
    if parts := split_run(path):
        return _model_of(*parts)
    for folder in (*([path / "best"] if has_best(path) else []), path / "model", path):
        if has_model(folder):
            return folder
    if not path.exists():
        name = path.as_posix()
        if (named := split_name(name)) and ("@" in name or not path.parent.is_dir()):
            return download_model(name, *named, also)
        beside = [other.name for other in path.parent.iterdir() if other.is_dir()] if path.parent.is_dir() else []
        raise UserError(f"{path}: there is no such run folder.{nearest(path.name, beside)} Check the path.")
    if not path.is_dir():
        raise UserError(f"{path}: this is a file. Give the run folder, or the model folder in it.")
    if path in kept(path.parent.parent):
        raise UserError(f"{path}: this is a checkpoint. As a model it is called {path.parent.parent}@{step_of(path)}.")
    raise UserError(
        f"{path}: there is no model here (neither model/config.json nor config.json). "
        "Give the folder of a run that has saved its model at least once."
    )


def split_run(path: Path) -> tuple[Path, str] | None:
    """``RUN@WORD`` as the folder and the word, where RUN exists and nothing is called by the whole name."""
    before, _, word = str(path).rpartition("@")
    return (Path(before), word) if before and not path.exists() and Path(before).exists() else None


def has_best(run: Path) -> bool:
    """Whether a run keeps the best of its models."""
    return has_model(run / "best") and (present(run / "best") / BEST).is_file()


def _model_of(run: Path, word: str) -> Path:
    if has_model(run):
        raise UserError(f"{run}@{word}: {run} is a model folder, which holds only one model. Leave out @{word}.")
    if word == "last" or (word == "best" and has_best(run)):
        return find_model(run / ("best" if word == "best" else "model"))
    if word == "best":
        raise UserError(f"{run}@best: this run keeps no best model (evaluate.keep_best in its recipe). Take {run}@last.")
    steps = [step_of(path) for path in kept(run)]
    if not word.isdecimal():
        raise UserError(
            f"{run}@{word}: {run} is a folder here, so a step, best or last follows the @.{nearest(word, ['best', 'last'])}"
        )
    step = int(word)
    if step not in steps:
        near = [*[s for s in steps if s < step][-1:], *[s for s in steps if s > step][:1]]
        told = f"The nearest that are kept: {', '.join(f'{run}@{s}' for s in near)}." if near else "None is kept."
        raise UserError(f"{run}@{word}: there is no checkpoint of this step. {told} checkpoint.keep_every keeps more.")
    place = checkpoint_at(run, step)
    return _rebuilt(place, (place.stat().st_ino, place.stat().st_mtime_ns))


@lru_cache
def _rebuilt(place: Path, _state: tuple[int, int]) -> Path:
    """A model folder, for as long as this process lives, of a checkpoint: its averaged weights, if there are such."""
    told, files = read_description(present(place.parents[1] / "model") / CONFIG), manifest_of(place).get("files", {})
    part = "ema" if "ema.safetensors" in files else "generator"
    try:
        for name in (SHAPE, f"{part}.safetensors"):
            if sha256(place / name) != files.get(name):
                raise ValueError(f"{name} is not what its manifest records")
        state = load_state(place, (part, "settings"))
        average, weights = state["settings"][-1][1]["ema"], state[part]
        if part == "ema":  # as torch's AveragedModel names them
            weights = {name.removeprefix("module."): x for name, x in weights.items() if name.startswith("module.")}
        folder = Path(tempfile.mkdtemp(prefix="i2i-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        save_tensors(weights, folder / WEIGHTS)
    except (*UNREADABLE, SafetensorError) as error:
        raise UserError(f"{place} cannot be read ({type(error).__name__}: {error}). Take another step.") from error
    extra = {**told.config["extra"], "step": step_of(place), "ema": average}
    config = {**told.config, "weights_sha256": sha256(folder / WEIGHTS), "extra": extra}
    (folder / CONFIG).write_text(json.dumps(config, indent=1, ensure_ascii=False), encoding="utf-8")
    return folder
