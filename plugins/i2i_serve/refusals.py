"""What the server answers to a request that it does not carry out: one sentence, a status, and a reason for the figures."""

from starlette.responses import JSONResponse

from i2i.errors import printable

CLOSE = 499
"""The status, in the figures only, of a request whose client has gone away."""


class RefusalError(Exception):
    """A request is not carried out. ``reason`` is a word from a closed list; ``seconds`` later it may be."""

    def __init__(self, status: int, reason: str, message: str, seconds: int = 0) -> None:
        super().__init__(message)
        self.status, self.reason, self.seconds = status, reason, seconds

    def answer(self) -> JSONResponse:
        """``{"detail": sentence}``."""
        headers = {"retry-after": str(self.seconds)} if self.seconds else {}
        if self.status == 401:
            headers["www-authenticate"] = 'Bearer realm="i2i"'
        return JSONResponse({"detail": printable(str(self))}, self.status, headers)
