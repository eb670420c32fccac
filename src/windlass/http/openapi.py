"""The route table as an OpenAPI 3.1 document. Adds nothing that the table and the shapes do not say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, get_args

import msgspec

from windlass.core.access import AccessScope
from windlass.http.route import NoQuery, Response, Route
from windlass.wire.problems import MEDIA_TYPE, STATUSES, Problem, ShortError

Document = dict[str, Any]

_REF: Final = "#/components/schemas/{name}"
_CONVERTER = re.compile(r"\{(\w+):\w+\}")
_PATH_PARAMETERS: Final = {
    "id": "The task's id, or its number",
    "name": "The file's name, as the list of files has it",
    "queue": "The queue's name",
    "key_id": "The key's id, the part between its first two underscores",
}
_DESCRIPTION: Final = (
    "Takes long work, keeps it safely, runs it on a bounded pool of workers, and says at any moment how it stands. "
    "Instants are RFC 3339 in UTC; durations are seconds, on input also strings like `90s`, `5m`, `1h30m`."
)

_JSON: Final = "application/json"
_LINES: Final = {"schema": {"type": "string", "description": "The same items, one JSON document a line"}}
_TAGS: Final = {"/v1/tasks": "tasks", "/v1/bulk": "tasks", "/v1/queues": "queues", "/v1/keys": "keys"}
_KEY: Final = "key"
_KEY_SCHEME: Final = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "wl_<id>_<secret>",
    "description": "A key with the scope that the operation names, or a wider one: read, submit, operate, admin. "
    "Programs on the server's own machine need none as long as there are no keys.",
}


def build_openapi(routes: Sequence[Route], *, version: str) -> Document:
    """Describe `routes`."""
    schemas = _schemas(routes)
    paths: dict[str, Document] = {}
    for route in routes:
        paths.setdefault(plain_path(route.path), {})[route.method.lower()] = _operation(route, schemas)
    for route in routes:
        if route.query is not None:
            schemas.pop(route.query.__name__, None)  # spelled out as parameters
    return {
        "openapi": "3.1.0",
        "info": {"title": "windlass", "version": version, "description": _DESCRIPTION},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {_KEY: _KEY_SCHEME}},
    }


def plain_path(path: str) -> str:
    """Spell a path as OpenAPI does, without the router's converters.

    >>> plain_path("/v1/tasks/{id}/files/{name:path}")
    '/v1/tasks/{id}/files/{name}'
    """
    return _CONVERTER.sub(r"{\1}", path)


def _shapes(routes: Iterable[Route]) -> Iterable[Any]:
    yield Problem
    if any(route.dialect is not None for route in routes):
        yield ShortError
    for route in routes:
        yield from (shape for shape in (route.request, route.query) if shape is not None)
        shapes = (_item(response.shape) or response.shape for response in route.responses.values())
        yield from (shape for shape in shapes if shape not in (None, str))


def _item(shape: Any) -> Any:
    """Give what a list is of; None where the shape is no list."""
    items = get_args(shape)
    return items[0] if items else None


def _schemas(routes: Sequence[Route]) -> Document:
    _, schemas = msgspec.json.schema_components(list(dict.fromkeys(_shapes(routes))), ref_template=_REF)
    return schemas


def _operation(route: Route, schemas: Mapping[str, Any]) -> Document:
    operation: Document = {
        "operationId": "_".join([route.method.lower(), *re.findall(r"\w+", plain_path(route.path))]),
        "summary": route.summary,
        "tags": [_tag(route)],
        "x-scope": route.scope.value,
        "security": [] if route.scope is AccessScope.PUBLIC else [{_KEY: [route.scope.value]}],
        "parameters": [*_path_parameters(route), *_query_parameters(route, schemas), *_header_parameters(route)],
        "responses": {
            **{str(status): _response(response) for status, response in route.responses.items()},
            **{str(status): _problem(status, route) for status in _problem_statuses(route)},
        },
    }
    if route.request is not None:
        content: Document = {"schema": {"$ref": _REF.format(name=route.request.__name__)}}
        if route.examples:
            content["examples"] = {name: {"value": value} for name, value in route.examples.items()}
        bodies = {media: content if media == _JSON else _LINES for media in route.media}
        operation["requestBody"] = {"required": not route.may_be_empty, "content": bodies}
    return operation


def _tag(route: Route) -> str:
    return route.dialect or next((tag for path, tag in _TAGS.items() if route.path.startswith(path)), "system")


def _path_parameters(route: Route) -> Iterable[Document]:
    for name in re.findall(r"\{(\w+)", route.path):
        description = _PATH_PARAMETERS[name] if route.dialect is None else "The task's id, as it was given"
        yield {"name": name, "in": "path", "required": True, "description": description, "schema": {"type": "string"}}


def _query_parameters(route: Route, schemas: Mapping[str, Any]) -> Iterable[Document]:
    if route.query is None or route.query is NoQuery:
        return
    for name, schema in schemas[route.query.__name__]["properties"].items():
        yield {"name": name, "in": "query", "schema": _without_null(schema)}


def _without_null(schema: Document) -> Document:
    """A parameter that is left out is not null: it is not there."""
    variants = [variant for variant in schema.get("anyOf", []) if variant.get("type") != "null"]
    return variants[0] if len(variants) == 1 else schema


def _header_parameters(route: Route) -> Iterable[Document]:
    for header in route.headers:
        said = {"description": header.summary, "example": header.example}
        yield {"name": header.name, "in": "header", "schema": {"type": "string"}, **said}


def _response(response: Response) -> Document:
    document: Document = {"description": response.summary}
    if response.media:
        document["content"] = {response.media: {"schema": _schema(response)}}
    return document


def _schema(response: Response) -> Document:
    if response.media == "application/octet-stream":
        return {}
    if response.shape is str:
        return {"type": "string"}
    if (item := _item(response.shape)) is not None:
        return {"type": "array", "items": {"$ref": _REF.format(name=item.__name__)}}
    return {} if response.shape is None else {"$ref": _REF.format(name=response.shape.__name__)}


def _problem_statuses(route: Route) -> list[int]:
    """Say which errors follow from what a route takes, besides those that only it has."""
    statuses = {421, 500, *route.problems}
    if route.scope is not AccessScope.PUBLIC:
        statuses |= {401, 403, 429}
    if route.request is not None:
        statuses |= {400, 408, 413, 415, 422}
    if route.query is not None:
        statuses.add(422)
    if "{" in route.path:
        statuses.add(404)
    if route.path.startswith("/v1/tasks/{id}"):
        statuses.add(410)
    if route.dialect is not None:
        statuses -= {410, 422}  # to its clients these are 404 and 400
    return sorted(statuses - route.responses.keys())


def _problem(status: int, route: Route) -> Document:
    if route.dialect is not None:
        description = f"{HTTPStatus(status).phrase}: a sentence that says what is wrong"
        return {"description": description, "content": {_JSON: {"schema": {"$ref": _REF.format(name="ShortError")}}}}
    codes = [f"`{code}`" for code, (known, _) in STATUSES.items() if known == status]
    description = f"{HTTPStatus(status).phrase}: {', '.join(codes)}"
    return {"description": description, "content": {MEDIA_TYPE: {"schema": {"$ref": _REF.format(name="Problem")}}}}
