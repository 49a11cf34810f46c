"""A run's checkpoints as files: which there are, and that each is what was written."""

import re
from pathlib import Path
from typing import Any

from i2i.errors import UserError
from i2i.files import UNREADABLE, present, read_json, sha256

FORMAT = 2
MANIFEST, BEST = "manifest.json", "best.json"

_OURS = re.compile(r"step-[0-9]{8,}")


def step_of(folder: Path) -> int:
    """The step of a checkpoint's folder."""
    return int(folder.name.removeprefix("step-"))


def checkpoint_at(out: Path, step: int) -> Path:
    """The folder of a step's checkpoint."""
    return out / "checkpoints" / f"step-{step:08d}"


def kept(out: Path) -> list[Path]:
    """The checkpoints of a run folder, oldest first. What has another name than we give (a copy) is somebody else's."""
    found = (out / "checkpoints").glob("step-*")
    return sorted((path for path in found if _OURS.fullmatch(path.name) and path.is_dir()), key=step_of)


def checkpoints(out: Path) -> list[Path]:
    """The same for the run itself, which puts back what lay aside when its process ended between two renames."""
    for aside in (out / "checkpoints").glob(".step-*.previous"):
        place = aside.with_name(aside.name[1:].removesuffix(".previous"))
        if _OURS.fullmatch(place.name):
            present(place).rename(place)
    return kept(out)


def files_in(folder: Path) -> list[str]:
    """The files of a checkpoint but its manifest, by their paths in it."""
    found = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file())
    return [name for name in found if name != MANIFEST]


def manifest_of(path: Path, name: str = MANIFEST) -> dict[str, Any]:
    """The manifest, or the file *name*, or nothing if it cannot be read; no hash is compared here."""
    try:
        manifest = read_json(path / name)
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) and isinstance(manifest.get("files", {}), dict) else {}


BEFORE_IT = "Delete it to resume from the checkpoint before it."


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a checkpoint, after every file has been compared with its hash.

    Raises:
        UserError: it is damaged, incomplete, holds foreign files, or is of a newer version.
    """
    try:
        manifest: dict[str, Any] = read_json(path / MANIFEST)
        written, step = int(manifest["format"]), int(manifest["step"])
        if written == FORMAT:
            files, there = dict(manifest["files"]), set(files_in(path))
            wrong = [name for name in files if name not in there or sha256(path / name) != files[name]]
            foreign = sorted(there - set(files))
    except UNREADABLE as error:
        raise UserError(f"{path} cannot be read ({type(error).__name__}: {error}). {BEFORE_IT}") from error
    if written != FORMAT or step != step_of(path):
        raise UserError(f"{path} is a checkpoint of format {written}, step {step}; this version of i2i reads format {FORMAT}.")
    if wrong:
        raise UserError(f"{path}: {wrong[0]} is missing or damaged. {BEFORE_IT}")
    if foreign:
        raise UserError(f"{path}: {foreign[0]} is not part of this checkpoint. Remove the file, or the whole checkpoint.")
    return manifest
