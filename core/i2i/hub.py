"""The hub, asked quickly: where there is no network, a person is told so in seconds and not after minutes of retries."""

import os
import socket
from urllib.parse import urlsplit
from urllib.request import getproxies

from i2i.errors import UserError

_SECONDS = 3.0


def check_reachable(wanted: str, remedy: str) -> None:
    """Open and close one connection to the hub.

    Behind a proxy nothing is tried here. ``wanted`` says what is needed from there, ``remedy`` what to do without it.

    Raises:
        UserError: the hub is switched off by HF_HUB_OFFLINE, or does not answer within seconds.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE or os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        raise UserError(f"{wanted} would have to be downloaded, and HF_HUB_OFFLINE forbids it. {remedy}")
    if getproxies():
        return
    address = urlsplit(constants.ENDPOINT)
    try:
        socket.create_connection((address.hostname, address.port or 443), timeout=_SECONDS).close()
    except OSError as error:
        raise UserError(f"{wanted} would have to be downloaded, and the hub cannot be reached ({error}). {remedy}") from error
