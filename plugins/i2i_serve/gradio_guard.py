"""What is refused before Gradio sees it: other routes than its clients need, large bodies, and files from elsewhere.

If a request has an address in place of an uploaded file, Gradio downloads it; if it has a path on this machine, and Gradio was
not started by ``launch``, Gradio copies that file. Both are refused here, as are bodies that it would fail at with a traceback.
"""

import json
import re
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from i2i.errors import UserError
from i2i_serve.door import GRADIO, check_length, client_of
from i2i_serve.gradio_files import Files
from i2i_serve.limits import ROOM
from i2i_serve.refusals import RefusalError
from i2i_serve.transfers import ClientGoneError, Transfers

_ELSEWHERE = re.compile(r"/(file|proxy)=.*:/", re.IGNORECASE)
_API = f"{GRADIO}/gradio_api"
_UPLOAD = f"{_API}/upload"
_CALLS = (f"{_API}/call/translate", f"{_API}/call/translate/", f"{_API}/queue/join")
_OTHERS = (f"{_API}/cancel", f"{_API}/reset")
_BODIES = ("POST", "PUT", "PATCH", "DELETE")


class Guard:
    """Wraps Gradio's application, whose one endpoint takes so many *inputs*."""

    def __init__(self, app: ASGIApp, inputs: int, files: Files, transfers: Transfers) -> None:
        self.app, self.inputs, self.files, self.transfers = app, inputs, files, transfers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path, headers = scope["path"], Headers(scope=scope)
        if _ELSEWHERE.search(path):  # Gradio would fetch it
            raise RefusalError(403, "unknown", "files of other servers are not fetched.")
        if scope["method"] not in _BODIES:
            await self.app(scope, receive, send)
            return
        if path not in (*_CALLS, *_OTHERS, _UPLOAD):
            raise RefusalError(404, "unknown", "this address takes nothing. Upload a picture, and call /translate.")
        if not headers.get("content-length", "").isdecimal():
            raise RefusalError(411, "length", "the request does not say its length. Send it with a Content-Length.")
        most = self.transfers.limits.body if path == _UPLOAD else ROOM
        check_length(headers, most)
        with self.transfers.hold(client_of(scope)) as hold:
            try:
                body = await self.transfers.body(hold, receive, most)
            except ClientGoneError:
                return
            if path == _UPLOAD:
                self.files.added()
            else:
                self._check(body, path in _CALLS)
            await self.app(scope, _again(body, receive), send)

    def _check(self, body: bytes, call: bool) -> None:
        """Every ``path`` anywhere in the JSON is one of a file in the served folder; the last of two alike is not enough."""

        def check(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            for key, value in pairs:
                if key == "path" and value is not None:
                    self.files.own(value)
            return dict(pairs)

        try:
            found = json.loads(body, object_pairs_hook=check)
            if not isinstance(found, dict) or (
                call and not (isinstance(found.get("data"), list) and not found.get("fn_index"))
            ):
                raise ValueError
        except UserError as error:
            raise RefusalError(400, "input", str(error)) from error
        except (ValueError, RecursionError) as error:
            told = "the body is not a call of Gradio's. Send JSON with a list 'data', or ask /api/translate."
            raise RefusalError(400, "input", told) from error
        if call and len(found["data"]) != self.inputs:
            told = f"a call of this model has {self.inputs} values, and this one has {len(found['data'])}. See docs/serve.md."
            raise RefusalError(400, "input", told)


def _again(body: bytes, receive: Receive) -> Receive:
    """Gives a body that has been read, and then what is still to come."""
    whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return whole.pop() if whole else await receive()

    return again
