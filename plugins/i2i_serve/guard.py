"""What the server of ``i2i serve`` refuses before Gradio sees it: large bodies, too many uploads, files from elsewhere.

If a request has an address in place of an uploaded file, Gradio downloads it; if it has a path on this machine, and Gradio
was not started by ``launch``, Gradio copies that file. Both are refused here.
"""

import json
import re
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from i2i.errors import UserError, printable
from i2i_serve.service import Service

ROOM = 2**16
"""Bytes of a request in addition to its file."""

_ELSEWHERE = re.compile(r"/(file|proxy)=.*:/", re.IGNORECASE)
_UPLOAD = "/gradio_api/upload"
_BODIES = ("POST", "PUT", "PATCH")


class Guard:
    """Wraps the application."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app, self.service, self.limits = app, service, service.limits
        self.uploads = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif refusal := self._refusal(scope):
            await refusal(scope, receive, send)
        elif scope["path"].rstrip("/") == _UPLOAD:
            await self._upload(scope, receive, send)
        elif scope["method"] in _BODIES:
            await self._call(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        if _ELSEWHERE.search(scope["path"]):  # the page's framework would fetch it
            return _answer(403, "files of other servers are not fetched.")
        if scope["method"] not in _BODIES:
            return None
        length = Headers(scope=scope).get("content-length", "")
        if not length.isdecimal():
            return _answer(411, "the request does not say its length.")
        if int(length) > self.limits.megabytes * 10**6 + ROOM:
            return _answer(413, f"the file is larger than {self.limits.megabytes} MB. Give a smaller one.")
        return None

    async def _call(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        try:
            self._check(bytes(body))
        except (UserError, RecursionError) as error:
            await _answer(400, str(error))(scope, receive, send)
            return
        whole: list[Message] = [{"type": "http.request", "body": bytes(body)}]

        async def again() -> Message:
            return whole.pop() if whole else await receive()

        await self.app(scope, again, send)

    def _check(self, body: bytes) -> None:
        """Every ``path`` anywhere in a JSON body is one of a file in the served folder; the last of two alike is not enough."""

        def check(pairs: list[tuple[str, Any]]) -> None:
            for key, value in pairs:
                if key == "path" and value is not None:
                    self.service.own(value)

        try:
            json.loads(body, object_pairs_hook=check)
        except UserError:
            raise
        except ValueError:
            return  # no JSON: the application says so

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.uploads >= self.limits.waiting:
            refusal = _answer(503, f"{self.uploads} uploads are under way, and no more at once. Try again in a moment.")
            await refusal(scope, receive, send)
            return
        self.uploads += 1
        try:
            self.service.prune()
            await self.app(scope, receive, send)
        finally:
            self.uploads -= 1


def _answer(status: int, message: str) -> JSONResponse:
    return JSONResponse({"detail": printable(message)}, status, {"connection": "close"})
