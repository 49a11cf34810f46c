"""The hub: whether it can be reached, asked quickly, and models that are fetched from there by their names.

Where there is no network, a person is told so in seconds and not after minutes of retries.
"""

import os
import re
import socket
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from i2i.errors import UserError, first_line

SECONDS = 4.0
"""So long is waited for a connection."""

_NAME = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9_][\w.-]*)(?:@(\S+))?")


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids to ask the hub."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE) or os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")


def connect(url: str) -> None:
    """Open and close one connection to the host of *url*; behind a proxy, which may know the way, nothing is tried.

    Raises:
        OSError: there is no connection within ``SECONDS``, the time for looking up the host's name included.
    """
    address = urlsplit(url)
    if getproxies().keys() & {address.scheme, "all"}:
        return
    place = (address.hostname or "", address.port or (80 if address.scheme == "http" else 443))
    outcome: Queue[OSError | None] = Queue()

    def attempt() -> None:
        try:
            socket.create_connection(place, timeout=SECONDS).close()
        except OSError as error:
            outcome.put(error)
        else:
            outcome.put(None)

    Thread(target=attempt, daemon=True).start()  # looking up a name knows no time limit of its own
    try:
        error = outcome.get(timeout=SECONDS)
    except Empty:
        raise TimeoutError(f"no answer within {SECONDS:g} seconds") from None
    if error is not None:
        raise error


def unreachable() -> str:
    """Why nothing can be asked of the hub, as half a sentence; empty if it answers within ``SECONDS``."""
    from huggingface_hub import constants

    if is_offline():
        return "HF_HUB_OFFLINE forbids it"
    try:
        connect(constants.ENDPOINT)
    except OSError as error:
        return f"the hub cannot be reached ({error})"
    return ""


def check_reachable(wanted: str, remedy: str) -> None:
    """``wanted`` says what has to be fetched from the hub, ``remedy`` what to do without it.

    Raises:
        UserError: the hub is switched off by HF_HUB_OFFLINE, or does not answer within ``SECONDS``.
    """
    if why := unreachable():
        raise UserError(f"{wanted} would have to be downloaded, and {why}. {remedy}")


def split_name(text: str) -> tuple[str, str | None] | None:
    """``owner/name`` or ``owner/name@revision`` as (``owner/name``, revision); None for anything else."""
    found = _NAME.fullmatch(text)
    return (found[1], found[2]) if found else None


def download_model(text: str) -> Path:
    """The folder of a model on the hub, ``owner/name`` or ``owner/name@revision``, in the hub's cache.

    Only our own files are fetched, the weights last. Without a network the cache alone is asked.

    Raises:
        UserError: it is neither there nor in the cache, or is no model of ours.
    """
    from huggingface_hub import snapshot_download

    from i2i.model_config import CONFIG, WEIGHTS

    parts = split_name(text)
    assert parts is not None
    repo, revision = parts
    why = unreachable()
    try:
        options: dict[str, Any] = {"local_files_only": bool(why)}
        head = Path(snapshot_download(repo, revision=revision, allow_patterns=[CONFIG, "README.md"], **options))
        if not (head / CONFIG).is_file():
            raise UserError(f"{text}: this repository of the hub holds no {CONFIG}, so it is not a model that i2i has made.")
        # The folder is called after its commit, so both calls give files of one.
        return Path(snapshot_download(repo, revision=head.name, allow_patterns=[WEIGHTS], **options))
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
