"""The limits of ``i2i serve``, which its ``--help`` shows: this module imports nothing."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits for one request, and for the number of requests that wait; all are above 0.

    ``megabytes`` of an upload (10**6 bytes), ``pixels`` of a picture, ``seconds`` in the model, ``waiting`` requests.
    """

    megabytes: int = 20
    pixels: int = 2**24
    seconds: float = 120.0
    waiting: int = 16
