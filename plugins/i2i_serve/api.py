"""The routes of ``i2i serve``: the page's files, the models, translations, and what machines ask for."""

import hashlib
import mimetypes
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

import i2i_page
from i2i.translation.model_folder import own_version
from i2i_serve.limits import Limits
from i2i_serve.measures import Measures
from i2i_serve.openapi import document
from i2i_serve.refusals import RefusalError
from i2i_serve.service import Service

_ENGINE = re.compile(rb'(<meta name="i2i-engine" content=")[^"]*(")')


@dataclass(frozen=True)
class Api:
    """What the routes need. ``paths`` are the models' folders, by the models' names; their cards lie there."""

    services: Mapping[str, Service]
    limits: Limits
    measures: Measures
    translate: ASGIApp
    paths: Mapping[str, Path]
    token: bool = False

    def routes(self) -> list[Route]:
        """The API's, and one for every file of the page."""
        api = [
            Route("/api/translate", self.translate, methods=["POST"]),
            Route("/api/model", _plain(self.model()), methods=["GET"]),
            Route("/api/samples/{model}/{number:int}.png", self.sample, methods=["GET"]),
            Route("/api/openapi.json", _plain(document(self.limits, self.token)), methods=["GET"]),
            Route("/health", _plain({"status": "ok"}), methods=["GET"]),
            Route("/metrics", self.metrics, methods=["GET"]),
        ]
        return [*api, *page_routes(i2i_page.files())]

    def model(self) -> dict[str, Any]:
        """What ``GET /api/model`` answers."""
        told = {"megabytes": self.limits.megabytes, "pixels": self.limits.pixels}
        models = [service.described(self.paths.get(name)) for name, service in self.services.items()]
        return {"engine": "server", "version": own_version(), "limits": told, "token": self.token, "models": models}

    async def sample(self, request: Request) -> Response:
        service, number = self.services.get(request.path_params["model"]), request.path_params["number"]
        if service is None or number >= len(service.pictures):
            raise RefusalError(404, "unknown", "there is no such sample. GET /api/model lists them.")
        return Response(service.pictures[number], media_type="image/png")

    async def metrics(self, request: Request) -> Response:
        return Response(self.measures.text(), media_type=self.measures.type)


def _plain(content: Any) -> Callable[[Request], Awaitable[Response]]:
    """A route that always answers the same."""
    body = JSONResponse(content).body

    async def answer(request: Request) -> Response:
        return Response(bytes(body), media_type="application/json")

    return answer


def page_routes(files: Mapping[str, bytes]) -> Sequence[Route]:
    """The page's files at the top, index.html at / too; browsers ask whether what they keep is still the same."""
    found = {f"/{name}": (name, content) for name, content in files.items()}
    if "index.html" in files:
        content = _ENGINE.sub(rb"\g<1>server\g<2>", files["index.html"])
        found["/"] = found["/index.html"] = ("index.html", content)
    return [Route(path, _static(*file), methods=["GET"]) for path, file in found.items()]


def _static(name: str, content: bytes) -> Callable[[Request], Awaitable[Response]]:
    kind = "text/javascript" if name.endswith((".js", ".mjs")) else mimetypes.guess_type(name)[0] or "application/octet-stream"
    headers = {"cache-control": "no-cache", "etag": f'"{hashlib.sha256(content).hexdigest()[:20]}"'}

    async def answer(request: Request) -> Response:
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(None, 304, headers)
        return Response(content, 200, headers, kind)

    return answer
