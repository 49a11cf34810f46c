"""Models that are fetched from the hub by their names."""

from pathlib import Path
from typing import Any

from i2i.errors import UserError, first_line
from i2i.hub import unreachable
from i2i.translation.model_config import CONFIG, WEIGHTS


def download_model(text: str, repo: str, revision: str | None, also: tuple[str, ...] = ()) -> Path:
    """The folder of a model on the hub in the hub's cache; *text* is what its user calls it, which ``split_name`` has split.

    Only our own files are fetched and those *also* named, the weights last. Without a network the cache alone is asked.

    Raises:
        UserError: it is neither there nor in the cache, or is not an i2i model.
    """
    from huggingface_hub import snapshot_download

    why = unreachable()
    try:
        options: dict[str, Any] = {"local_files_only": bool(why)}
        head = Path(snapshot_download(repo, revision=revision, allow_patterns=[CONFIG, "README.md"], **options))
        if not (head / CONFIG).is_file():
            raise UserError(f"{text}: this repository on the hub has no {CONFIG}, so it is not an i2i model.")
        # The folder is called after its commit, so both calls give files of one.
        return Path(snapshot_download(repo, revision=head.name, allow_patterns=[WEIGHTS, *also], **options))
    except (OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{text}: {_told(error, why)}") from error


def _told(error: Exception, why: str) -> str:
    """What went wrong with a download, and what to do."""
    from huggingface_hub import errors

    if why:
        return f"there is no such folder here. On the hub it could be a model, but {why}. Check the path or the network."
    if isinstance(error, errors.RevisionNotFoundError):
        return "the hub has this model, but not this revision. Leave out what follows the @ for the newest."
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            "there is no such folder here, and no such model on the hub that you may read. Check the name; if it is private "
            "or asks for your consent, log in: hf auth login."
        )
    reason = first_line(error)
    return f"the model cannot be downloaded ({reason}). Try again, or give a local folder."
