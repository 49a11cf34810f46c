"""HTTP/1.1 as uvicorn speaks it, but for clients that keep a connection and do not say what they want."""

import asyncio
from functools import partial
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from i2i_serve.limits import Limits


class Timed(H11Protocol):
    """Closes connections whose next headers are not there in time, and those whose client takes no answer.

    Where there are too many, the oldest without a request gives way, and else the oldest whose body is not there yet.
    """

    def __init__(self, limits: Limits, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.limits = limits
        self._hurry: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self.began = self.loop.time()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_headers()
        open_now = [one for one in self.connections if isinstance(one, Timed) and not one.transport.is_closing()]
        if len(open_now) > self.limits.connections:
            min(open_now, key=lambda other: (other.use, other.began)).transport.abort()

    @property
    def use(self) -> int:
        """How far its request is: 0 none, 1 without its body, 2 with it."""
        if self.cycle is None or self.cycle.response_complete:
            return 0
        return 1 if self.cycle.more_body else 2

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            _cancel(self._hurry)
            self._hurry = None
        elif self._hurry is None:  # the first bytes of another request
            self._await_headers()

    def _await_headers(self) -> None:
        self._hurry = self.loop.call_later(self.limits.header_seconds, self.transport.abort)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self._stalled or self.loop.call_later(self.limits.body_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        _cancel(self._stalled)
        self._stalled = None

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._hurry)
        _cancel(self._stalled)
        super().connection_lost(exc)


def _cancel(handle: asyncio.TimerHandle | None) -> None:
    if handle is not None:
        handle.cancel()


def protocol(limits: Limits) -> Any:
    """What uvicorn calls for every connection."""
    return partial(Timed, limits)
