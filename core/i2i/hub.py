"""The Hugging Face hub: a quick check whether it can be reached, and names of models and data there.

Without a network, users get a message within seconds, not after minutes of retries.
"""

import os
import re
import socket
from queue import Empty, Queue
from threading import Thread
from urllib.parse import urlsplit
from urllib.request import getproxies

from i2i.errors import UserError

SECONDS = 4.0
"""The time limit for a connection."""

_NAME = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9_][\w.-]*)(?:@(\S+))?")


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids access to the hub."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE) or os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")


def connect(url: str) -> None:
    """Open and close a connection to the host of *url*; behind a proxy, which may reach it, nothing is tried.

    Raises:
        OSError: there is no connection within ``SECONDS``, including the time to look up the host's name.
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
    """Why the hub cannot be used, as a clause; empty if it answers within ``SECONDS``."""
    from huggingface_hub import constants

    if is_offline():
        return "HF_HUB_OFFLINE forbids it"
    try:
        connect(constants.ENDPOINT)
    except OSError as error:
        return f"the hub cannot be reached ({error})"
    return ""


def check_reachable(wanted: str, remedy: str) -> None:
    """Check the hub: ``wanted`` says what must be downloaded from it, ``remedy`` what to do otherwise.

    Raises:
        UserError: the hub is switched off by HF_HUB_OFFLINE, or does not answer within ``SECONDS``.
    """
    if why := unreachable():
        raise UserError(f"{wanted} would have to be downloaded, but {why}. {remedy}")


def split_name(text: str) -> tuple[str, str | None] | None:
    """``owner/name`` or ``owner/name@revision`` as (``owner/name``, revision); None for anything else."""
    found = _NAME.fullmatch(text)
    return (found[1], found[2]) if found else None
