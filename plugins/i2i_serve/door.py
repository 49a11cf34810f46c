"""What every request passes before and after the application: hosts, origins, the token, headers, figures."""

import asyncio
import hmac
import logging
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from i2i.errors import one_line
from i2i_serve.limits import ROOM
from i2i_serve.measures import Measures
from i2i_serve.refusals import CLOSE, RefusalError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
LOG = logging.getLogger("i2i_serve")
GRADIO = "/gradio"

_OPEN = ("/health", "/api/openapi.json")
_READING = ("GET", "HEAD", "OPTIONS")
_ALWAYS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; connect-src 'self' blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_DEVICES = "camera=(self), microphone=(), geolocation=()"
_LINGER_SECONDS, _LINGER_BYTES = 2.0, 2**26
"""How much of a refused body is read and thrown away, as many clients hear no answer before they have sent all."""


@dataclass(frozen=True)
class Rules:
    """Who may ask: only for *hosts* if there are any, and only with the *token* if there is one. ``files`` are the page's."""

    hosts: tuple[str, ...] = ()
    token: str = ""
    files: frozenset[str] = frozenset()


class Door:
    """Wraps the application."""

    def __init__(self, app: ASGIApp, rules: Rules, measures: Measures) -> None:
        self.app, self.rules, self.measures = app, rules, measures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        with self.measures.request(route := self.route(scope["path"])):
            exchange = _Exchange(scope, receive, send)
            try:
                self._check(scope)
                scope["app"] = self.app  # without it the router answers 404 and 405 in its own words
                await self.app(scope, exchange.receive, exchange.send)
            except RefusalError as refusal:
                await self._refuse(refusal, exchange)
            except HTTPException as error:
                told = {404: "there is nothing at this address.", 405: "this address does not take this method."}
                said = f"{told.get(error.status_code, error.detail)} GET /api/openapi.json says what there is."
                await self._refuse(RefusalError(error.status_code, "unknown", said), exchange)
            except Exception as error:
                LOG.error("%s %s: %s: %s", scope["method"], route, type(error).__name__, one_line(error))
                await self._refuse(RefusalError(500, "error", "the server failed; its log says more."), exchange)
            self.measures.requests.labels(route, exchange.status or CLOSE).inc()

    async def _refuse(self, refusal: RefusalError, exchange: "_Exchange") -> None:
        self.measures.refused.labels(refusal.reason).inc()
        if not exchange.status:
            await refusal.answer()(exchange.scope, exchange.receive, exchange.send)

    def route(self, path: str) -> str:
        """What the figures call a path."""
        if path in (*_OPEN, "/api/translate", "/api/model", "/metrics"):
            return path
        if path.startswith("/api/samples/"):
            return "/api/samples"
        if path == GRADIO or path.startswith(f"{GRADIO}/"):
            return GRADIO
        return "page" if path == "/" or path[1:] in self.rules.files else "other"

    def _check(self, scope: Scope) -> None:
        """Raises RefusalError for a request that may not be answered, whatever it asks for."""
        headers, path = Headers(scope=scope), scope["path"]
        host = headers.get("host", "")
        if self.rules.hosts and _host(host) not in self.rules.hosts:
            told = f"this server is not called '{one_line(host, 100)}'. Ask for it by {' or '.join(self.rules.hosts)}."
            raise RefusalError(421, "host", told)
        if scope["method"] not in _READING and not _same_site(headers):
            raise RefusalError(403, "origin", "a page of another site may not ask this server. Open this server's own page.")
        guarded = path.startswith(("/api/", GRADIO)) or path == "/metrics"
        if self.rules.token and guarded and path not in _OPEN:
            _check_token(headers.get("authorization", ""), self.rules.token)


class _Exchange:
    """A request and its answer, as they pass: what has been read of the one and said of the other."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope, self._receive, self._send = scope, receive, send
        self.status, self.more = 0, scope["method"] not in _READING
        self.expects = Headers(scope=scope).get("expect", "").lower() == "100-continue"

    async def receive(self) -> Message:
        self.expects = False
        message = await self._receive()
        self.more = message["type"] == "http.request" and message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            _protect(headers, self.scope["path"])
            if self.more:
                headers["connection"] = "close"
                await self._linger()
        await self._send(message)

    async def _linger(self) -> None:
        """Read on for a moment, except where the client waits for a word, or is too slow already."""
        read = 0
        try:
            async with asyncio.timeout(_LINGER_SECONDS):
                while self.more and not self.expects and self.status != 408 and read < _LINGER_BYTES:
                    read += len((await self.receive()).get("body", b""))
        except TimeoutError:
            pass


def _protect(headers: MutableHeaders, path: str) -> None:
    for name, value in _ALWAYS.items():
        headers[name] = value
    for name in [name for name in headers if name.startswith("access-control-")]:  # Gradio's, for pages of other sites
        del headers[name]
    if path.startswith(GRADIO):  # its page has scripts in its text
        headers["content-security-policy"] = "frame-ancestors 'none'"
        return
    headers["content-security-policy"], headers["permissions-policy"] = _POLICY, _DEVICES
    if "cache-control" not in headers:
        headers["cache-control"] = "no-store"


def check_length(headers: Headers, most: int = ROOM) -> None:
    """Raises RefusalError for a body whose length is said, and larger than *most* bytes."""
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > most:
        raise RefusalError(413, "size", too_large(most))


def too_large(most: int) -> str:
    """The sentence for a body of more than *most* bytes."""
    size = f"{most // 10**6} MB" if most >= 10**6 else f"{most // 1000} kB"
    return f"the request has more than {size}. Give smaller files."


def _host(said: str) -> str:
    """The host in a Host header, without its port."""
    try:
        return (urlsplit(f"//{said}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _same_site(headers: Headers) -> bool:
    """Whether the request comes from no page, or from a page of this very server. Browsers let no page write these headers."""
    if site := headers.get("sec-fetch-site"):
        return site in ("same-origin", "none")
    origin, own = headers.get("origin"), headers.get("host", "").lower()
    return origin is None or origin.lower() in (f"http://{own}", f"https://{own}")


def _check_token(said: str, token: str) -> None:
    kind, _, given = said.partition(" ")
    if kind.lower() != "bearer" or not given:
        raise RefusalError(401, "token", "this server wants a token. Send the header 'Authorization: Bearer TOKEN'.")
    if not hmac.compare_digest(given.strip().encode(), token.encode()):
        raise RefusalError(401, "token", "the token is not this server's. Ask whoever runs it.")


def client_of(scope: Scope) -> str:
    """Whose request it is: the address, or its network of 64 bits where one machine has many addresses."""
    host = (scope.get("client") or ("",))[0]
    try:
        address = ip_address(host)
    except ValueError:
        return str(host)
    if isinstance(address, IPv4Address):
        return str(address)
    return str(address.ipv4_mapped or IPv6Address(int(address) >> 64 << 64))
