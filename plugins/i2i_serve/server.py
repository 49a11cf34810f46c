"""The server of ``i2i serve``, for a listening socket. Needs the extra ``serve``."""

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import uvicorn
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

import i2i_page
from i2i.errors import UserError
from i2i_serve.api import Api
from i2i_serve.door import GRADIO, LOOPBACK, Door, Rules
from i2i_serve.limits import Limits
from i2i_serve.log import brief_log
from i2i_serve.measures import Measures
from i2i_serve.protocol import protocol
from i2i_serve.service import Service
from i2i_serve.stopping import Deadline
from i2i_serve.transfers import Transfers
from i2i_serve.translating import Translate
from i2i_serve.worker import Worker

NONE: Mapping[str, Path] = MappingProxyType({})

More = Callable[[Worker, Transfers], ASGIApp]
"""Makes what answers below /gradio; it computes in the same worker, and its bodies count in the same memory."""


def listening(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 means any free port.

    Raises:
        UserError: the port is taken, or this machine does not have that address.
    """
    try:
        family, kind, protocol_, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, protocol_)
    except OSError as error:
        raise UserError(f"{host}: i2i cannot serve on this address ({error.strerror}). Use 127.0.0.1.") from error
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(128)
    except OSError as error:
        found.close()
        raise UserError(f"{host}:{port}: i2i cannot serve there ({error.strerror}). Choose another --port.") from error
    return found


@contextmanager
def server(
    services: Sequence[Service],
    place: socket.socket,
    limits: Limits,
    *,
    paths: Mapping[str, Path] = NONE,
    token: str = "",
    more: More | None = None,
) -> Iterator[uvicorn.Server]:
    """The server for a listening socket, ready to ``run(sockets=[place])``. The services share one deadline.

    ``paths`` are the models' folders by their ids, where their cards lie.
    """
    host, port = place.getsockname()[:2]
    hosts = LOOPBACK if host in LOOPBACK else ()  # a page elsewhere may give this address a name of its own
    deadline: Deadline = services[0].deadline
    worker, transfers = Worker(deadline, limits.waiting), Transfers(limits)
    measures = Measures(lambda: worker.waiting, lambda: transfers.held)
    named = {service.id: service for service in services}
    translate = Translate(named, limits, worker, transfers, measures)
    routes = Api(named, limits, measures, translate, paths, bool(token)).routes()
    router: ASGIApp = Router(routes, redirect_slashes=False)
    if more is not None:
        router = _Beside(router, more(worker, transfers))
    app = Door(router, Rules(hosts, token, frozenset(i2i_page.files())), measures)
    # Uvicorn's own setting of the logging would close what other libraries' handlers write to.
    config = uvicorn.Config(
        app, host=host, port=port, log_config=None, log_level="error", access_log=False, timeout_graceful_shutdown=1,
        ws="none", http=protocol(limits), lifespan="on" if more else "off", proxy_headers=False, server_header=False,
    )  # fmt: skip
    try:
        with place, brief_log():
            yield _Server(config, worker)
    finally:
        worker.close()
        worker.join()


class _Server(uvicorn.Server):
    """Stops what is being computed before it waits for the answers."""

    def __init__(self, config: uvicorn.Config, worker: Worker) -> None:
        super().__init__(config)
        self.worker = worker

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.worker.close()
        await super().shutdown(sockets)


class _Beside:
    """The routes, and another application below /gradio, which is also told of the start and the end."""

    def __init__(self, router: ASGIApp, gradio: ASGIApp) -> None:
        self.router, self.gradio = router, gradio

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        below = scope["type"] == "lifespan" or f"{scope['path']}/".startswith(f"{GRADIO}/")
        await (self.gradio if below else self.router)(scope, receive, send)
