"""Published weights: from torch's cache, or downloaded once; without a network it fails within seconds, with a message."""

import os
import re
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit

import torch

from i2i.errors import UserError
from i2i.hub import connect

_HASH = re.compile(r"-([0-9a-f]{8,})\.")


def published(url: str, wanted: str, remedy: str) -> Path:
    """The file of that address in torch's cache; if missing, it is downloaded and checked against the hash in its name.

    Raises:
        UserError: it is not in the cache and cannot be fetched. *wanted* says what it is, *remedy* what to do without it.
    """
    name = Path(urlsplit(url).path).name
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if path.is_file():
        return path
    remedy = f"Put the file {name} into {path.parent}, or {remedy}"
    try:
        connect(url)
    except OSError as error:
        host = urlsplit(url).hostname
        raise UserError(f"{wanted} would have to be downloaded, but {host} cannot be reached ({error}). {remedy}") from error
    found = _HASH.search(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, os.fspath(path), found[1] if found else None, progress=False)
    except (OSError, RuntimeError, URLError) as error:
        raise UserError(f"{wanted} cannot be downloaded ({error}). {remedy}") from error
    return path
