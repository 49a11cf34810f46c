"""Bodies and answers on their way over the network: how many there may be, how much memory they may take, and who gives way.

What is slow gives way, so that slow clients shut nobody out: where places or memory are short, the slowest transfer of the
client that has most of them ends. One that has only begun is not judged by its first bytes, which say nothing. A body that
came with its headers, as small pictures do, needs no place.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from starlette.types import Receive, Send

from i2i_serve.door import too_large
from i2i_serve.limits import Limits, share
from i2i_serve.refusals import RefusalError

CHUNK = 2**16
"""Bytes of an answer that are handed to the network at a time."""
GRACE = 1.0
"""Seconds in which a transfer is not yet slow."""


class Hold:
    """What the request of a client has in memory (bytes), and whether it is on its way, since when and how far."""

    def __init__(self, client: str) -> None:
        self.client, self.bytes = client, 0
        self.moving, self.evicted, self.moved, self.began = False, False, 0, 0.0
        self.limit: asyncio.Timeout | None = None

    def speed(self, now: float) -> float:
        """Bytes per second, with a second's grace for those that have only begun."""
        return self.moved / (now - self.began + 1)

    def worth(self, now: float) -> tuple[bool, float]:
        """The least gives way: the slowest of those that had their grace, and else the oldest."""
        age = now - self.began
        return (False, self.speed(now)) if age >= GRACE else (True, -age)


class Transfers:
    """All of a server; one event loop's only."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.holds: set[Hold] = set()

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return sum(hold.bytes for hold in self.holds)

    @contextmanager
    def hold(self, client: str) -> Iterator[Hold]:
        """A hold for as long as a request lasts."""
        hold = Hold(client)
        self.holds.add(hold)
        try:
            yield hold
        finally:
            self.holds.discard(hold)

    async def body(self, hold: Hold, receive: Receive, most: int) -> bytes:
        """The whole body of a request.

        Raises:
            RefusalError: it has more than *most* bytes, takes too long, or gave way.
            ClientGoneError: the client has closed the connection.
        """
        found = bytearray()

        async def read() -> None:
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGoneError
                more = message.get("more_body", False)
                found.extend(chunk := message.get("body", b""))
                if len(found) > most:
                    raise RefusalError(413, "size", too_large(most))
                self._moved(hold, len(chunk), len(chunk), more)

        await self._within(hold, read, "body")
        return bytes(found)

    async def answer(self, hold: Hold, send: Send, body: bytes) -> None:
        """Send the body of an answer; a client that does not take it is left alone.

        Raises:
            RefusalError: it takes too long, or gave way; nothing can be said to the client any more.
        """
        hold.bytes = len(body)

        async def write() -> None:
            for start in range(0, len(body), CHUNK) or [0]:
                part = body[start : start + CHUNK]
                more = start + CHUNK < len(body)
                await send({"type": "http.response.body", "body": part, "more_body": more})
                if more:
                    self._moved(hold, len(part), 0, more)

        await self._within(hold, write, "answer")

    async def _within(self, hold: Hold, move: Callable[[], Awaitable[None]], what: str) -> None:
        hold.moved, hold.began = 0, time.monotonic()
        try:
            async with asyncio.timeout(self.limits.body_seconds) as hold.limit:
                await move()
        except TimeoutError as error:
            if hold.evicted:
                told = f"the server has too many slow transfers, and this {what} was the slowest. Try again."
                raise RefusalError(408, "slow", told, 1) from error
            seconds = self.limits.body_seconds
            raise RefusalError(408, "time", f"the {what} took longer than {seconds:g} s. Send less.") from error
        finally:
            hold.moving, hold.limit = False, None

    def _moved(self, hold: Hold, count: int, kept: int, more: bool) -> None:
        """So many bytes more have passed, of which so many stay in memory: whoever must give way for them does."""
        hold.moved += count
        hold.bytes += kept
        hold.moving = more
        while self.held > self.limits.held:
            if not self._evict(Counter({one: one.bytes for one in self.holds})):
                raise RefusalError(503, "memory", "the server has as many pictures in memory as it may. Try again in 2 s.", 2)
        if more:
            self._make_room(hold)

    def _make_room(self, hold: Hold) -> None:
        while True:
            taken = Counter(one.client for one in self.holds if one.moving)
            crowded = taken[hold.client] > share(self.limits.transfers)
            if not crowded and taken.total() <= self.limits.transfers:
                return
            places = {one: 1 for one in self.holds if one.moving and (one.client == hold.client or not crowded)}
            if not self._evict(Counter(places)):
                return

    def _evict(self, shares: "Counter[Hold]") -> bool:
        """End the slowest transfer of the client that has most of what these holds have; False if none can be ended."""
        by_client: Counter[str] = Counter()
        for hold, count in shares.items():
            by_client[hold.client] += count if hold.moving else 0
        client, count = max(by_client.items(), key=lambda pair: pair[1], default=("", 0))
        if not count:
            return False
        now = time.monotonic()
        slowest = min((h for h in shares if h.moving and h.client == client and shares[h]), key=lambda h: h.worth(now))
        slowest.moving, slowest.evicted, slowest.bytes = False, True, 0
        if slowest.limit is not None:
            slowest.limit.reschedule(0)
        return True


class ClientGoneError(Exception):
    """The client has closed the connection."""
