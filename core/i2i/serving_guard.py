"""What the server of ``i2i serve`` refuses before anything is read: large bodies, too many uploads, foreign addresses."""

import re
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from i2i.serving import Limits

ROOM = 2**16
"""Bytes of a request beside the file in it."""

_ELSEWHERE = re.compile(r"/(file|proxy)=.*:/", re.IGNORECASE)
_UPLOAD = "/gradio_api/upload"


class Guard:
    """Wraps the application. ``prune`` is called before each upload."""

    def __init__(self, app: ASGIApp, limits: Limits, prune: Callable[[], None]) -> None:
        self.app, self.limits, self.prune = app, limits, prune
        self.uploads = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif refusal := self._refusal(scope):
            await refusal(scope, receive, send)
        elif scope["path"].rstrip("/") == _UPLOAD:
            await self._upload(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        if _ELSEWHERE.search(scope["path"]):  # the page's framework would fetch it
            return _answer(403, "files of other servers are not fetched.")
        if scope["method"] not in ("POST", "PUT", "PATCH"):
            return None
        length = Headers(scope=scope).get("content-length", "")
        if not length.isdecimal():
            return _answer(411, "the request does not say its length.")
        if int(length) > self.limits.megabytes * 10**6 + ROOM:
            return _answer(413, f"the file is larger than {self.limits.megabytes} MB. Give a smaller one.")
        return None

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.uploads >= self.limits.waiting:
            refusal = _answer(503, f"{self.uploads} uploads are under way, and no more at once. Try again in a moment.")
            await refusal(scope, receive, send)
            return
        self.uploads += 1
        try:
            self.prune()
            await self.app(scope, receive, send)
        finally:
            self.uploads -= 1


def _answer(status: int, message: str) -> JSONResponse:
    return JSONResponse({"detail": message}, status, {"connection": "close"})
