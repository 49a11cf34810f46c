"""``GET /api/openapi.json``: the description of the API, for programs that make clients of it."""

from collections.abc import Mapping, Sequence
from typing import Any

from i2i.translation.model_folder import own_version
from i2i_serve.limits import Limits

_ERRORS = {
    400: "A value or a picture is wrong.",
    401: "There is no token, or it is wrong.",
    403: "The request comes from a page of another site.",
    404: "There is no such model or sample.",
    408: "The body took too long, or gave way to others.",
    413: "The request is too large.",
    415: "The body is neither a form nor a picture.",
    421: "The server has another name.",
    500: "The model failed.",
    503: "Too many requests wait. Retry-After says in how many seconds to try again.",
}
_FILES = {
    "image": "The picture.",
    "style": "A picture of the target domain whose style the result gets, for a model that takes one.",
    "style2": "A second one, to be mixed with the first, for a model that mixes styles.",
}
_VALUES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "model": ("The model's id; may be left out if there is one.", {"type": "string"}),
    "direction": ("The direction's id, such as a:b; may be left out if there is one.", {"type": "string"}),
    "to": ("Instead of a direction: the target domain's name or key.", {"type": "string"}),
    "source": ("The source domain's name or key, where several lead to the target.", {"type": "string"}),
    "seed": ("What is drawn at random is drawn from it.", {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}),
    "mix": ("The share of the second style.", {"type": "number", "minimum": 0, "maximum": 1}),
    "own_size": ("Keep the picture's own size, where the data set scaled its pictures.", {"type": "boolean"}),
}


def document(limits: Limits, token: bool) -> dict[str, Any]:
    """The OpenAPI description of the routes that programs use, and of no others."""
    guard: Mapping[str, Any] = {"security": [{"token": []}]} if token else {}
    refused = [401] if token else []
    sample = [_path("model", "string"), _path("number", "integer")]
    return {
        "openapi": "3.1.0",
        "info": {"title": "i2i", "version": own_version() or "0", "description": "Image-to-image translation."},
        "paths": {
            "/api/translate": {"post": {**_translate(limits), **guard}},
            "/api/model": {"get": {**_get("model", "The models and the limits.", _json({"$ref": _MODELS}), refused), **guard}},
            "/api/samples/{model}/{number}.png": {
                "get": {**_get("sample", "A sample of a run.", _PNG, [404, *refused]), "parameters": sample, **guard}
            },
            "/health": {"get": _get("health", "Whether the server answers.", _json(_STATUS), [])},
            "/metrics": {"get": {**_get("metrics", "Figures for Prometheus.", _TEXT, refused), **guard}},
            "/api/openapi.json": {"get": _get("openapi", "This description.", _json({"type": "object"}), [])},
        },
        "components": {"schemas": _SCHEMAS, **({"securitySchemes": {"token": _BEARER}} if token else {})},
    }


_BEARER = {"type": "http", "scheme": "bearer"}
_MODELS = "#/components/schemas/Models"
_STATUS = {"type": "object", "properties": {"status": {"const": "ok"}}, "required": ["status"]}
_PNG = {"image/png": {"schema": {"type": "string", "format": "binary"}}}
_TEXT = {"text/plain": {"schema": {"type": "string"}}}
_SCHEMAS = {
    "Error": {"type": "object", "properties": {"detail": {"type": "string"}}, "required": ["detail"]},
    "Models": {
        "type": "object",
        "properties": {
            "engine": {"const": "server"},
            "version": {"type": "string"},
            "limits": {"type": "object", "properties": {"megabytes": {"type": "integer"}, "pixels": {"type": "integer"}}},
            "token": {"type": "boolean"},
            "models": {"type": "array", "items": {"$ref": "#/components/schemas/Model"}},
        },
        "required": ["engine", "version", "limits", "token", "models"],
    },
    "Model": {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "title": {"type": "string"},
            "directions": {"type": "array", "items": {"type": "object"}},
            "domains": {"type": "object"},
        },
        "required": ["id", "title", "directions", "domains"],
    },
}


def _translate(limits: Limits) -> dict[str, Any]:
    files = {name: {"type": "string", "format": "binary", "description": text} for name, text in _FILES.items()}
    values = {name: {**schema, "description": text} for name, (text, schema) in _VALUES.items()}
    form = {"type": "object", "properties": {**files, **values}, "required": ["image"]}
    told = f"At most {limits.megabytes} MB in all, and {limits.pixels} pixels a picture."
    headers = {
        "X-I2I-Seconds": {"schema": {"type": "number"}, "description": "Seconds of the translation."},
        "X-I2I-Size": {"schema": {"type": "string"}, "description": "The size of the picture as the model saw it: 24x16."},
    }
    return {
        "operationId": "translate",
        "summary": "Translate a picture.",
        "description": f"The body is a form, or the picture itself with all other values in the address. {told}",
        "parameters": [
            {"name": name, "in": "query", "description": text, "schema": schema} for name, (text, schema) in _VALUES.items()
        ],
        "requestBody": {
            "required": True,
            "content": {"multipart/form-data": {"schema": form}, **dict.fromkeys(_RAW, _PNG["image/png"])},
        },
        "responses": {"200": {"description": "The translation.", "headers": headers, "content": _PNG}, **_errors(_ERRORS)},
    }


_RAW = ("image/*", "application/octet-stream")


def _get(name: str, summary: str, content: Mapping[str, Any], errors: Sequence[int]) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "responses": {"200": {"description": summary, "content": content}, **_errors(errors)},
    }


def _errors(statuses: Sequence[int] | Mapping[int, str]) -> dict[str, Any]:
    content = _json({"$ref": "#/components/schemas/Error"})
    return {str(status): {"description": _ERRORS[status], "content": content} for status in statuses}


def _json(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _path(name: str, kind: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": kind}}
