"""The limits of ``i2i serve``, some of which its ``--help`` shows: this module imports nothing."""

from dataclasses import dataclass

ROOM = 2**16
"""Bytes of a request in addition to its files, and all bytes of a request without any."""


@dataclass(frozen=True)
class Limits:
    """Limits for one request, for all of one client, and for all; all are above 0.

    ``megabytes`` of a request's files together (10**6 bytes), ``pixels`` of a picture, ``seconds`` in the model, ``waiting``
    translations. A request's headers must be there within ``header_seconds``, its body and its answer must be over the network
    within ``body_seconds``. At most ``transfers`` bodies and answers are on their way, and at most ``connections`` are open.
    Three quarters of the places are the most that one client gets.
    """

    megabytes: int = 20
    pixels: int = 2**24
    seconds: float = 120.0
    waiting: int = 16
    header_seconds: float = 10.0
    body_seconds: float = 120.0
    transfers: int = 16
    connections: int = 400

    @property
    def body(self) -> int:
        """The most bytes of a request with files."""
        return self.megabytes * 10**6 + ROOM

    @property
    def held(self) -> int:
        """The most bytes of bodies and answers that are in memory at a time."""
        return max(256 * 10**6, 4 * self.body)


def share(places: int) -> int:
    """The most of these places that one client gets."""
    return max(1, places * 3 // 4)
