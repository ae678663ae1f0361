"""Tools that are described by a JSON Schema: those of MCP servers, and any other function's.

What a person says is copied and understood in code (`values.py`); choices are chosen; the rest obeys its schema.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection, Mapping
from typing import Any

from metier.topics.errors import InvalidTeam

from . import values
from .base import Missing, Offer, Request
from .function import builtins, signature, words_of

_DESCRIPTION_LIMIT = 80

#: JSON Schema types whose values are words of the request, understood in code.
_SPOKEN: dict[tuple[str, str | None], type] = {
    ("string", None): str,
    ("string", "date"): dt.date,
    ("integer", None): int,
    ("number", None): float,
}


class Described:
    """A tool by its name, its input schema and what it is for, as it is offered and understood.

    Raises InvalidTeam for a schema that refers to itself.
    """

    def __init__(self, name: str, schema: Mapping[str, Any], description: str | None = None) -> None:
        whole = inlined(dict(schema), name)
        self.name = name
        self.properties: dict[str, Any] = {key: _sole(kind) for key, kind in whole.get("properties", {}).items()}
        self.required: Collection[str] = frozenset(whole.get("required", ()))
        self._brief = signature(name, {key: key not in self.required for key in self.properties}) + _summary(
            description
        )

    def offer(self, request: Request) -> Offer:
        """Signature and first sentence; texts, numbers and dates are words of the request."""
        return Offer(
            name=self.name,
            brief=self._brief,
            schema={
                "type": "object",
                "properties": {name: _offered(kind, request) for name, kind in self.properties.items()},
                "required": list(self.properties),
                "additionalProperties": False,
            },
        )

    def understand(self, said: Mapping[str, Any], request: Request) -> dict[str, Any]:
        """The arguments that were said, as values of their schema. Raises Missing or InvalidValue."""
        heard = {name: said[name] for name in self.properties if said.get(name) is not None}
        if missing := [name for name in self.properties if name in self.required and name not in heard]:
            raise Missing(*missing)
        return {name: _understood(self.properties[name], words, request) for name, words in heard.items()}


def _spoken(schema: dict[str, Any]) -> type | None:
    """The kind of value a schema asks for, if the asker's words can be read as one."""
    kind = schema.get("type")
    if not isinstance(kind, str) or schema.keys() & {"enum", "const", "pattern"}:
        return None
    return _SPOKEN.get((kind, schema.get("format")))


def _offered(schema: dict[str, Any], request: Request) -> dict[str, Any]:
    """A property as the model may fill it; null where the asker did not say it."""
    if _spoken(schema):
        return words_of(request)
    if "enum" in schema:
        return {"enum": [None, *(value for value in schema["enum"] if value is not None)]}
    return {"anyOf": [{"type": "null"}, schema]}


def _understood(schema: dict[str, Any], said: Any, request: Request) -> Any:
    kind = _spoken(schema)
    return said if kind is None else builtins(values.understand(kind, said, request))


def _sole(schema: dict[str, Any]) -> dict[str, Any]:
    """T for "T or null", which the offer adds anyway."""
    parts = [part for part in schema.get("anyOf", ()) if part != {"type": "null"}]
    return parts[0] if len(parts) == 1 else schema


def _summary(description: str | None) -> str:
    sentence = re.split(r"(?<=[.!?])\s|\n", (description or "").strip(), maxsplit=1)[0]
    return f" - {sentence[:_DESCRIPTION_LIMIT].rstrip()}" if sentence else ""


def inlined(schema: dict[str, Any], tool: str) -> dict[str, Any]:
    """The schema without references: it may be set inside another. Raises InvalidTeam for a recursive one."""

    def resolved(node: Any, inside: tuple[str, ...]) -> Any:
        if isinstance(node, list):
            return [resolved(item, inside) for item in node]
        if not isinstance(node, dict):
            return node
        if (reference := node.get("$ref")) is not None:
            if reference in inside:
                raise InvalidTeam(path=tool, reason=f"its input schema is recursive ({reference})")
            return resolved(_at(schema, reference, tool), (*inside, reference))
        return {key: resolved(item, inside) for key, item in node.items() if key != "$defs"}

    return resolved(schema, ())  # type: ignore[no-any-return]


def _at(schema: dict[str, Any], reference: str, tool: str) -> Any:
    node: Any = schema
    for key in reference.removeprefix("#/").split("/"):
        if not isinstance(node, dict) or key not in node:
            raise InvalidTeam(path=tool, reason=f"its input schema refers to {reference}, which is not in it")
        node = node[key]
    return node
