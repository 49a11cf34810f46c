"""``POST /api/translate``: a picture in, a picture out."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers, QueryParams
from starlette.types import Receive, Scope, Send

from i2i.errors import UserError, nearest, one_line
from i2i_serve.door import LOG, check_length, client_of
from i2i_serve.forms import asked_of, check_type
from i2i_serve.limits import Limits
from i2i_serve.measures import Measures
from i2i_serve.refusals import RefusalError
from i2i_serve.service import Service
from i2i_serve.stopping import GoneError
from i2i_serve.transfers import ClientGoneError, Hold, Transfers
from i2i_serve.worker import Job, Worker, ending


@dataclass(frozen=True)
class Translate:
    """The route, an ASGI application of its own, so that memory is counted until the answer has gone."""

    services: Mapping[str, Service]
    limits: Limits
    worker: Worker
    transfers: Transfers
    measures: Measures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, client = Headers(scope=scope), client_of(scope)
        kind, query = headers.get("content-type", ""), dict(QueryParams(scope["query_string"]))
        check_type(kind)
        check_length(headers, self.limits.body)
        with self.transfers.hold(client) as hold:
            try:
                told, png = await self._computed(hold, receive, client, kind, query)
            except ClientGoneError:
                return
            told = {**told, "content-type": "image/png", "content-length": str(len(png))}
            raw = [(name.encode(), value.encode()) for name, value in told.items()]
            await send({"type": "http.response.start", "status": 200, "headers": raw})
            await self.transfers.answer(hold, send, png)

    async def _computed(self, hold: Hold, receive: Receive, client: str, kind: str, query: Mapping[str, str]) -> Any:
        """Reads the body and has it translated; the body is not kept any longer."""
        body = await self.transfers.body(hold, receive, self.limits.body)
        return await self._result(self.worker.submit(client, partial(self._made, body, kind, query)), receive)

    def _made(self, body: bytes, kind: str, query: Mapping[str, str]) -> tuple[dict[str, str], bytes]:
        """The worker's part: the answer's headers, and its PNG."""
        asked, name = asked_of(body, kind, query)
        service = self._service(name)
        made = service.translate(asked)
        self.measures.model.labels(service.id).observe(made.seconds)
        size = f"{made.before.width}x{made.before.height}"
        return {"x-i2i-seconds": f"{made.seconds:.4f}", "x-i2i-size": size}, service.png(made.after)

    def _service(self, name: str | None) -> Service:
        if name is None and len(self.services) == 1:
            return next(iter(self.services.values()))
        if name is None or name not in self.services:
            told = "say which." if name is None else f"there is no '{one_line(name, 100)}'."
            close = nearest(name or "", list(self.services))
            status, kind = (400, "input") if name is None else (404, "unknown")
            raise RefusalError(status, kind, f"model: {told}{close} Choose one of {', '.join(self.services)}.")
        return self.services[name]

    async def _result(self, job: Job, receive: Receive) -> Any:
        """What the job gives; it is given up if the client goes away.

        Raises:
            ClientGoneError: that happened.
            RefusalError: it failed, in words for the client.
        """
        done = asyncio.wrap_future(job.future)
        gone = asyncio.ensure_future(_disconnect(receive))
        try:
            await asyncio.wait((done, gone), return_when=asyncio.FIRST_COMPLETED)
            if not done.done():
                raise ClientGoneError
            return done.result()
        except (GoneError, CancelledError, asyncio.CancelledError) as error:
            if not done.done():
                raise
            raise ending() from error
        except UserError as error:
            raise RefusalError(400, "input", str(error)) from error
        except (RefusalError, ClientGoneError):
            raise
        except Exception as error:
            LOG.error("translation: %s", _place(error))
            told = f"the model failed on this picture ({type(error).__name__}: {one_line(error)}). Try another."
            raise RefusalError(500, "error", told) from error
        finally:
            done.cancel()  # what the worker still says of it is of no interest to anybody
            self.worker.give_up(job)
            gone.cancel()


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _place(error: BaseException) -> str:
    """An error and where it comes from, on one line."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    where = f" ({Path(last.tb_frame.f_code.co_filename).name}:{last.tb_lineno})" if last is not None else ""
    return f"{type(error).__name__}: {one_line(error)}{where}"
