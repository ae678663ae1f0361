"""The OpenAPI 3.1 document, made from the operations and their structs."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

import msgspec

from . import problems
from .calls import Operation, Parameter

_SCHEMAS = "#/components/schemas/{name}"
#: What any operation may meet.
_ALWAYS = (421, 500, 503)


def document(operations: Sequence[Operation], *, keys: bool) -> dict[str, Any]:
    """The whole document; `keys`: whether requests need one."""
    kinds = [kind for operation in operations for kind in _kinds(operation)]
    _, schemas = msgspec.json.schema_components([*kinds, problems.Details], ref_template=_SCHEMAS)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        path = operation.path.replace(":path}", "}")
        paths.setdefault(path, {})[operation.method.lower()] = _operation(operation, keys=keys)
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Metier",
            "version": version("metier"),
            "summary": "Ask a team of small language models, and watch it work.",
        },
        "paths": paths,
        "components": {"schemas": schemas},
    }
    if keys:
        found["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return found


def _kinds(operation: Operation) -> list[Any]:
    given = [each for kinds in operation.gives.values() for each in _each(kinds)]
    return [kind for kind in (operation.body, *given) if kind is not None and not isinstance(kind, str)]


def _each(kinds: Any) -> tuple[Any, ...]:
    return kinds if isinstance(kinds, tuple) else (kinds,)


def _operation(operation: Operation, *, keys: bool) -> dict[str, Any]:
    responses = {str(status): _response(status, kinds) for status, kinds in operation.gives.items()}
    locked = keys and not operation.public
    for status in (*operation.problems, *_ALWAYS, *((401,) if locked else ())):
        responses.setdefault(str(status), _response(status, problems.Details, problems.MEDIA_TYPE))
    found: dict[str, Any] = {"summary": operation.about, "operationId": _name(operation), "responses": responses}
    if operation.parameters:
        found["parameters"] = [_parameter(parameter) for parameter in operation.parameters]
    if operation.body is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref(operation.body)}}}
    if locked:
        found["security"] = [{"key": []}]
    return found


def _name(operation: Operation) -> str:
    return f"{operation.method.lower()}_{operation.handle.__name__.removeprefix(operation.method.lower())}".strip("_")


def _response(status: int, kinds: Any, media_type: str = "application/json") -> dict[str, Any]:
    content: dict[str, Any] = {}
    for kind in _each(kinds):
        if isinstance(kind, str):
            content[kind] = {}  # this version of OpenAPI has no words for a stream's items
        elif kind is not None:
            content[media_type] = {"schema": _ref(kind)}
    described = HTTPStatus(status).phrase
    return {"description": described, "content": content} if content else {"description": described}


def _ref(kind: Any) -> dict[str, Any]:
    (found,), _ = msgspec.json.schema_components([kind], ref_template=_SCHEMAS)
    return found


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "description": parameter.about,
        "schema": {"type": "string", **parameter.schema},
    }
